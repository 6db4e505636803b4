-- Permissions: grants to single people, requests for them, how often a grant was used, who follows
-- whom, and the texts that people were shown. A *_tag is a keyed hash that only finds its row.

ALTER TABLE cameos ADD COLUMN frozen_ms BIGINT;

ALTER TABLE uses ADD COLUMN grant_id TEXT COLLATE "C";
ALTER TABLE uses ADD COLUMN parent_id TEXT COLLATE "C";
ALTER TABLE uses ADD COLUMN scene_id TEXT COLLATE "C";

CREATE INDEX uses_scene ON uses (scene_id) WHERE scene_id IS NOT NULL;

ALTER TABLE consents ADD COLUMN locale TEXT COLLATE "C";
ALTER TABLE consents ADD COLUMN text_sha256 BYTEA CHECK (length(text_sha256) = 32);

CREATE TABLE consent_texts (
    version TEXT COLLATE "C" NOT NULL,
    locale TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    purposes TEXT COLLATE "C" NOT NULL,
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (version, locale)
);

CREATE TABLE requests (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    requester_tag BYTEA NOT NULL CHECK (length(requester_tag) = 32),
    asker_tag BYTEA NOT NULL CHECK (length(asker_tag) = 32),
    wish_sealed BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'silent', 'approved', 'declined')),
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    decided_ms BIGINT,
    CHECK ((state IN ('approved', 'declined')) = (decided_ms IS NOT NULL))
);

CREATE INDEX requests_cameo ON requests (cameo_id, id);
CREATE INDEX requests_pair ON requests (cameo_id, requester_tag, created_ms);
CREATE INDEX requests_asker ON requests (asker_tag, created_ms);
CREATE INDEX requests_expired ON requests (expires_ms);

CREATE TABLE mutes (
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    -- Empty: everybody.
    requester_tag BYTEA NOT NULL CHECK (length(requester_tag) IN (0, 32)),
    until_ms BIGINT,
    PRIMARY KEY (cameo_id, requester_tag)
);

CREATE TABLE grants (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    grantee_tag BYTEA NOT NULL CHECK (length(grantee_tag) = 32),
    grant_sealed BYTEA NOT NULL,
    request_id TEXT COLLATE "C" REFERENCES requests (id),
    granted_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    log_index BIGINT NOT NULL UNIQUE REFERENCES log_entries (idx),
    revoked_log_index BIGINT UNIQUE REFERENCES log_entries (idx)
);

CREATE INDEX grants_cameo ON grants (cameo_id, grantee_tag);
CREATE INDEX grants_request ON grants (request_id) WHERE request_id IS NOT NULL;

CREATE TABLE grant_uses (
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    grant_id TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL CHECK (total >= 0),
    day BIGINT NOT NULL,
    today BIGINT NOT NULL CHECK (today >= 0),
    PRIMARY KEY (cameo_id, grant_id)
);

CREATE TABLE mutuals (
    one TEXT COLLATE "C" NOT NULL,
    other TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (one, other),
    CHECK (one < other)
);

CREATE INDEX mutuals_other ON mutuals (other);
