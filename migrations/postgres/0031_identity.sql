-- One person, one identity: what changed for the search in memory, what it found, faces that nobody
-- may enrol, and the age that the app attests.

-- Counts every change to who is enrolled. It is given under the log's head, so its order is the
-- order of commits, and a reader that has seen n has seen all before.
ALTER TABLE cameos ADD COLUMN changed_seq BIGINT CHECK (changed_seq >= 1);
UPDATE cameos SET changed_seq = numbered.n
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM cameos) numbered
    WHERE numbered.id = cameos.id;
CREATE UNIQUE INDEX cameos_changed ON cameos (changed_seq);

ALTER TABLE verifications ADD COLUMN attested_age BIGINT CHECK (attested_age BETWEEN 0 AND 150);

CREATE TABLE protected_faces (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    wrapped_key BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

-- No reference to the verification or the cameo: a finding outlives the one, and goes with the other.
CREATE TABLE findings (
    verification_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('duplicate', 'protected')),
    matched TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (verification_id, attempt, matched)
);

CREATE INDEX findings_matched ON findings (matched, at_ms);
