-- Who is signed in to the pages, and the single-use links that sign people in. Only hashes of the
-- secrets are kept.

CREATE TABLE page_sessions (
    secret_hash BYTEA NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    stage TEXT COLLATE "C" NOT NULL CHECK (stage IN ('link', 'session')),
    holder_kind TEXT COLLATE "C" NOT NULL CHECK (holder_kind IN ('subject', 'verification', 'key')),
    holder TEXT COLLATE "C" NOT NULL,
    api_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    expires_ms BIGINT NOT NULL
);

CREATE INDEX page_sessions_expires ON page_sessions (expires_ms);
