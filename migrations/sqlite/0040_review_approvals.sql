-- A first reviewer's approval of a case in which a check failed; another reviewer has to approve too.

CREATE TABLE review_approvals (
    verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    by_key TEXT NOT NULL REFERENCES api_keys (id),
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (verification_id, attempt)
) STRICT;

CREATE INDEX review_approvals_by_key ON review_approvals (by_key);
