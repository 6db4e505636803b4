-- Uses: generators' keys and webhooks, the status of tokens, what became of a use, take-downs, and
-- certificates of deletion. *_sealed columns hold secrets wrapped by the master key.

ALTER TABLE uses ADD COLUMN status_list BIGINT CHECK (status_list >= 0);
ALTER TABLE uses ADD COLUMN status_index BIGINT CHECK (status_index >= 0);
-- 0: valid, 1: revoked, 2: suspended.
ALTER TABLE uses ADD COLUMN token_status BIGINT NOT NULL DEFAULT 0 CHECK (token_status IN (0, 1, 2));

CREATE UNIQUE INDEX uses_status ON uses (status_list, status_index) WHERE status_list IS NOT NULL;
CREATE INDEX uses_not_valid ON uses (status_list, status_index) WHERE token_status <> 0;

-- How many places in status lists have been handed out, over all processes.
CREATE TABLE status_places (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    next BIGINT NOT NULL CHECK (next >= 0)
);

INSERT INTO status_places (id, next) VALUES (1, 0);

CREATE TABLE generator_keys (
    generator_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    kid TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
    not_before_ms BIGINT NOT NULL,
    retire_at_ms BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (generator_key, kid)
);

CREATE TABLE webhooks (
    generator_key TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES api_keys (id),
    url TEXT COLLATE "C" NOT NULL,
    secret_sealed BYTEA NOT NULL,
    old_secret_sealed BYTEA,
    old_until_ms BIGINT,
    disabled_ms BIGINT,
    created_ms BIGINT NOT NULL,
    CHECK ((old_secret_sealed IS NULL) = (old_until_ms IS NULL))
);

CREATE TABLE webhook_messages (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    generator_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    kind TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries BIGINT NOT NULL CHECK (tries >= 0),
    next_ms BIGINT NOT NULL,
    failure TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    settled_ms BIGINT,
    CHECK ((state = 'waiting') = (settled_ms IS NULL))
);

CREATE INDEX webhook_messages_due ON webhook_messages (next_ms) WHERE state = 'waiting';
CREATE INDEX webhook_messages_generator ON webhook_messages (generator_key, id);
CREATE INDEX webhook_messages_settled ON webhook_messages (settled_ms) WHERE state = 'delivered';

CREATE TABLE use_outcomes (
    use_id TEXT COLLATE "C" NOT NULL REFERENCES uses (id),
    seq BIGINT NOT NULL CHECK (seq >= 1),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('draft', 'published', 'deleted')),
    content_sha256 BYTEA CHECK (length(content_sha256) = 32),
    manifest TEXT COLLATE "C",
    at_ms BIGINT NOT NULL,
    log_index BIGINT NOT NULL UNIQUE REFERENCES log_entries (idx) DEFERRABLE,
    PRIMARY KEY (use_id, seq)
);

CREATE TABLE takedowns (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    use_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES uses (id),
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    generator_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'acknowledged', 'done', 'escalated')),
    reason TEXT COLLATE "C" NOT NULL CHECK (reason IN ('objection', 'withdrawn', 'deleted')),
    created_ms BIGINT NOT NULL,
    deadline_ms BIGINT NOT NULL,
    acknowledged_ms BIGINT,
    done_ms BIGINT,
    escalated_ms BIGINT
);

CREATE INDEX takedowns_cameo ON takedowns (cameo_id, id);
CREATE INDEX takedowns_generator ON takedowns (generator_key, id);
CREATE INDEX takedowns_due ON takedowns (deadline_ms) WHERE state = 'open';
CREATE INDEX takedowns_escalated ON takedowns (id) WHERE state = 'escalated';

CREATE TABLE deletions (
    cameo_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES cameos (id),
    reason TEXT COLLATE "C" NOT NULL CHECK (reason IN ('request', 'withdrawn', 'unused', 'inactive')),
    certificate BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    log_index BIGINT NOT NULL UNIQUE REFERENCES log_entries (idx) DEFERRABLE
);

-- For the retention sweep.
CREATE INDEX cameos_kept ON cameos (created_ms) WHERE state = 'active';
