-- One person, one identity: what changed for the search in memory, what it found, faces that nobody
-- may enrol, and the age that the app attests.

-- Counts every change to who is enrolled. It is given under the log's head, so its order is the
-- order of commits, and a reader that has seen n has seen all before.
ALTER TABLE cameos ADD COLUMN changed_seq INTEGER CHECK (changed_seq >= 1);
UPDATE cameos SET changed_seq = rowid;
CREATE UNIQUE INDEX cameos_changed ON cameos (changed_seq);

ALTER TABLE verifications ADD COLUMN attested_age INTEGER CHECK (attested_age BETWEEN 0 AND 150);

CREATE TABLE protected_faces (
    id TEXT NOT NULL PRIMARY KEY,
    wrapped_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- No reference to the verification or the cameo: a finding outlives the one, and goes with the other.
CREATE TABLE findings (
    verification_id TEXT NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('duplicate', 'protected')),
    matched TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (verification_id, attempt, matched)
) STRICT;

CREATE INDEX findings_matched ON findings (matched, at_ms);
