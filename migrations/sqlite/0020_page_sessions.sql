-- Who is signed in to the pages, and the single-use links that sign people in. Only hashes of the
-- secrets are kept.

CREATE TABLE page_sessions (
    secret_hash BLOB NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    stage TEXT NOT NULL CHECK (stage IN ('link', 'session')),
    holder_kind TEXT NOT NULL CHECK (holder_kind IN ('subject', 'verification', 'key')),
    holder TEXT NOT NULL,
    api_key TEXT NOT NULL REFERENCES api_keys (id),
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX page_sessions_expires ON page_sessions (expires_ms);
