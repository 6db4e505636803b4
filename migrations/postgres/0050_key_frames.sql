-- Small pictures of a capture that a reviewer may ask for, sealed with the person's key. They are here only while the
-- attempt is in review.

CREATE TABLE key_frames (
    verification_id TEXT COLLATE "C" NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    n BIGINT NOT NULL CHECK (n BETWEEN 1 AND 4),
    view TEXT NOT NULL,
    t_ms BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    kept_ms BIGINT NOT NULL,
    PRIMARY KEY (verification_id, attempt, n)
);

CREATE INDEX key_frames_by_age ON key_frames (kept_ms);
