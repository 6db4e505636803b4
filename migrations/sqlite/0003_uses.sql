-- Uses: generators' keys and webhooks, the status of tokens, what became of a use, take-downs, and
-- certificates of deletion. *_sealed columns hold secrets wrapped by the master key.

ALTER TABLE uses ADD COLUMN status_list INTEGER CHECK (status_list >= 0);
ALTER TABLE uses ADD COLUMN status_index INTEGER CHECK (status_index >= 0);
-- 0: valid, 1: revoked, 2: suspended.
ALTER TABLE uses ADD COLUMN token_status INTEGER NOT NULL DEFAULT 0 CHECK (token_status IN (0, 1, 2));

CREATE UNIQUE INDEX uses_status ON uses (status_list, status_index) WHERE status_list IS NOT NULL;
CREATE INDEX uses_not_valid ON uses (status_list, status_index) WHERE token_status <> 0;

-- How many places in status lists have been handed out, over all processes.
CREATE TABLE status_places (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    next INTEGER NOT NULL CHECK (next >= 0)
) STRICT;

INSERT INTO status_places (id, next) VALUES (1, 0);

CREATE TABLE generator_keys (
    generator_key TEXT NOT NULL REFERENCES api_keys (id),
    kid TEXT NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    not_before_ms INTEGER NOT NULL,
    retire_at_ms INTEGER,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (generator_key, kid)
) STRICT;

CREATE TABLE webhooks (
    generator_key TEXT NOT NULL PRIMARY KEY REFERENCES api_keys (id),
    url TEXT NOT NULL,
    secret_sealed BLOB NOT NULL,
    old_secret_sealed BLOB,
    old_until_ms INTEGER,
    disabled_ms INTEGER,
    created_ms INTEGER NOT NULL,
    CHECK ((old_secret_sealed IS NULL) = (old_until_ms IS NULL))
) STRICT;

CREATE TABLE webhook_messages (
    id TEXT NOT NULL PRIMARY KEY,
    generator_key TEXT NOT NULL REFERENCES api_keys (id),
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries INTEGER NOT NULL CHECK (tries >= 0),
    next_ms INTEGER NOT NULL,
    failure TEXT,
    created_ms INTEGER NOT NULL,
    settled_ms INTEGER,
    CHECK ((state = 'waiting') = (settled_ms IS NULL))
) STRICT;

CREATE INDEX webhook_messages_due ON webhook_messages (next_ms) WHERE state = 'waiting';
CREATE INDEX webhook_messages_generator ON webhook_messages (generator_key, id);
CREATE INDEX webhook_messages_settled ON webhook_messages (settled_ms) WHERE state = 'delivered';

CREATE TABLE use_outcomes (
    use_id TEXT NOT NULL REFERENCES uses (id),
    seq INTEGER NOT NULL CHECK (seq >= 1),
    state TEXT NOT NULL CHECK (state IN ('draft', 'published', 'deleted')),
    content_sha256 BLOB CHECK (length(content_sha256) = 32),
    manifest TEXT,
    at_ms INTEGER NOT NULL,
    log_index INTEGER NOT NULL UNIQUE REFERENCES log_entries (idx),
    PRIMARY KEY (use_id, seq)
) STRICT;

CREATE TABLE takedowns (
    id TEXT NOT NULL PRIMARY KEY,
    use_id TEXT NOT NULL UNIQUE REFERENCES uses (id),
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    generator_key TEXT NOT NULL REFERENCES api_keys (id),
    state TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'done', 'escalated')),
    reason TEXT NOT NULL CHECK (reason IN ('objection', 'withdrawn', 'deleted')),
    created_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER,
    done_ms INTEGER,
    escalated_ms INTEGER
) STRICT;

CREATE INDEX takedowns_cameo ON takedowns (cameo_id, id);
CREATE INDEX takedowns_generator ON takedowns (generator_key, id);
CREATE INDEX takedowns_due ON takedowns (deadline_ms) WHERE state = 'open';
CREATE INDEX takedowns_escalated ON takedowns (id) WHERE state = 'escalated';

CREATE TABLE deletions (
    cameo_id TEXT NOT NULL PRIMARY KEY REFERENCES cameos (id),
    reason TEXT NOT NULL CHECK (reason IN ('request', 'withdrawn', 'unused', 'inactive')),
    certificate BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    log_index INTEGER NOT NULL UNIQUE REFERENCES log_entries (idx)
) STRICT;

-- For the retention sweep.
CREATE INDEX cameos_kept ON cameos (created_ms) WHERE state = 'active';
