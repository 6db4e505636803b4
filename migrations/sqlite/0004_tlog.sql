-- The transparency log for others: the newest signed checkpoint, those that were published with
-- their cosignatures, what this service witnessed of other logs, and disclosures.

-- Kept in the transaction that moves the head.
CREATE TABLE log_checkpoint (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0),
    note BLOB NOT NULL
) STRICT;

CREATE TRIGGER log_checkpoint_grows BEFORE UPDATE ON log_checkpoint
WHEN NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'log_checkpoint: the log never shrinks'); END;

-- Checkpoints that were shown to the world. The note gains cosignatures.
CREATE TABLE log_published (
    size INTEGER NOT NULL PRIMARY KEY CHECK (size > 0),
    note BLOB NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- How many entries each witness has cosigned.
CREATE TABLE log_witnesses (
    name TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    at_ms INTEGER NOT NULL
) STRICT;

-- As a witness: the newest checkpoint of another log that was cosigned here.
CREATE TABLE witnessed (
    origin TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    at_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER witnessed_grows BEFORE UPDATE ON witnessed
WHEN NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'witnessed: a log never shrinks'); END;

-- Requests to open one person's entries to an auditor: one asks, another one approves.
CREATE TABLE disclosures (
    id TEXT NOT NULL PRIMARY KEY,
    case_number TEXT NOT NULL,
    subject_ref BLOB NOT NULL CHECK (length(subject_ref) = 16),
    asked_by TEXT NOT NULL REFERENCES api_keys (id),
    asked_ms INTEGER NOT NULL,
    approved_by TEXT REFERENCES api_keys (id),
    approved_ms INTEGER,
    until_ms INTEGER,
    CHECK ((approved_by IS NULL) = (approved_ms IS NULL)),
    CHECK ((approved_by IS NULL) = (until_ms IS NULL)),
    CHECK (approved_by <> asked_by)
) STRICT;

CREATE INDEX disclosures_asked_by ON disclosures (asked_by);
CREATE INDEX disclosures_approved_by ON disclosures (approved_by);
