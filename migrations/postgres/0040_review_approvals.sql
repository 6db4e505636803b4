-- A first reviewer's approval of a case in which a check failed; another reviewer has to approve too.

CREATE TABLE review_approvals (
    verification_id TEXT COLLATE "C" NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    by_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    reason TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (verification_id, attempt)
);

CREATE INDEX review_approvals_by_key ON review_approvals (by_key);
