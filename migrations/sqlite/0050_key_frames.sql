-- Small pictures of a capture that a reviewer may ask for, sealed with the person's key. They are here only while the
-- attempt is in review.

CREATE TABLE key_frames (
    verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    n INTEGER NOT NULL CHECK (n BETWEEN 1 AND 4),
    view TEXT NOT NULL,
    t_ms INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    kept_ms INTEGER NOT NULL,
    PRIMARY KEY (verification_id, attempt, n)
) STRICT;

CREATE INDEX key_frames_by_age ON key_frames (kept_ms);
