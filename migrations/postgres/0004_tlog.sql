-- The transparency log for others: the newest signed checkpoint, those that were published with
-- their cosignatures, what this service witnessed of other logs, and disclosures.

-- Kept in the transaction that moves the head.
CREATE TABLE log_checkpoint (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    note BYTEA NOT NULL
);

CREATE TRIGGER log_checkpoint_grows BEFORE UPDATE ON log_checkpoint
    FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION refuse('the log never shrinks');

-- Checkpoints that were shown to the world. The note gains cosignatures.
CREATE TABLE log_published (
    size BIGINT NOT NULL PRIMARY KEY CHECK (size > 0),
    note BYTEA NOT NULL,
    at_ms BIGINT NOT NULL
);

-- How many entries each witness has cosigned.
CREATE TABLE log_witnesses (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL CHECK (size >= 0),
    at_ms BIGINT NOT NULL
);

-- As a witness: the newest checkpoint of another log that was cosigned here.
CREATE TABLE witnessed (
    origin TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL CHECK (size >= 0),
    root BYTEA NOT NULL CHECK (length(root) = 32),
    at_ms BIGINT NOT NULL
);

CREATE TRIGGER witnessed_grows BEFORE UPDATE ON witnessed
    FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION refuse('a log never shrinks');

-- Requests to open one person's entries to an auditor: one asks, another one approves.
CREATE TABLE disclosures (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    case_number TEXT COLLATE "C" NOT NULL,
    subject_ref BYTEA NOT NULL CHECK (length(subject_ref) = 16),
    asked_by TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    asked_ms BIGINT NOT NULL,
    approved_by TEXT COLLATE "C" REFERENCES api_keys (id),
    approved_ms BIGINT,
    until_ms BIGINT,
    CHECK ((approved_by IS NULL) = (approved_ms IS NULL)),
    CHECK ((approved_by IS NULL) = (until_ms IS NULL)),
    CHECK (approved_by <> asked_by)
);

CREATE INDEX disclosures_asked_by ON disclosures (asked_by);
CREATE INDEX disclosures_approved_by ON disclosures (approved_by);

-- A group commit writes the log's entries at its end, after the rows that refer to them.
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT conrelid::regclass AS tab, conname FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'log_entries'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE', r.tab, r.conname);
    END LOOP;
END $$;
