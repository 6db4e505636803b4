-- Permissions: grants to single people, requests for them, how often a grant was used, who follows
-- whom, and the texts that people were shown. A *_tag is a keyed hash that only finds its row.

ALTER TABLE cameos ADD COLUMN frozen_ms INTEGER;

ALTER TABLE uses ADD COLUMN grant_id TEXT;
ALTER TABLE uses ADD COLUMN parent_id TEXT;
ALTER TABLE uses ADD COLUMN scene_id TEXT;

CREATE INDEX uses_scene ON uses (scene_id) WHERE scene_id IS NOT NULL;

ALTER TABLE consents ADD COLUMN locale TEXT;
ALTER TABLE consents ADD COLUMN text_sha256 BLOB CHECK (length(text_sha256) = 32);

CREATE TABLE consent_texts (
    version TEXT NOT NULL,
    locale TEXT NOT NULL,
    body TEXT NOT NULL,
    purposes TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (version, locale)
) STRICT;

CREATE TABLE requests (
    id TEXT NOT NULL PRIMARY KEY,
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    requester_tag BLOB NOT NULL CHECK (length(requester_tag) = 32),
    asker_tag BLOB NOT NULL CHECK (length(asker_tag) = 32),
    wish_sealed BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'silent', 'approved', 'declined')),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    decided_ms INTEGER,
    CHECK ((state IN ('approved', 'declined')) = (decided_ms IS NOT NULL))
) STRICT;

CREATE INDEX requests_cameo ON requests (cameo_id, id);
CREATE INDEX requests_pair ON requests (cameo_id, requester_tag, created_ms);
CREATE INDEX requests_asker ON requests (asker_tag, created_ms);
CREATE INDEX requests_expired ON requests (expires_ms);

CREATE TABLE mutes (
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    -- Empty: everybody.
    requester_tag BLOB NOT NULL CHECK (length(requester_tag) IN (0, 32)),
    until_ms INTEGER,
    PRIMARY KEY (cameo_id, requester_tag)
) STRICT;

CREATE TABLE grants (
    id TEXT NOT NULL PRIMARY KEY,
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    grantee_tag BLOB NOT NULL CHECK (length(grantee_tag) = 32),
    grant_sealed BLOB NOT NULL,
    request_id TEXT REFERENCES requests (id),
    granted_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    log_index INTEGER NOT NULL UNIQUE REFERENCES log_entries (idx),
    revoked_log_index INTEGER UNIQUE REFERENCES log_entries (idx)
) STRICT;

CREATE INDEX grants_cameo ON grants (cameo_id, grantee_tag);
CREATE INDEX grants_request ON grants (request_id) WHERE request_id IS NOT NULL;

CREATE TABLE grant_uses (
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    grant_id TEXT NOT NULL,
    total INTEGER NOT NULL CHECK (total >= 0),
    day INTEGER NOT NULL,
    today INTEGER NOT NULL CHECK (today >= 0),
    PRIMARY KEY (cameo_id, grant_id)
) STRICT;

CREATE TABLE mutuals (
    one TEXT NOT NULL,
    other TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (one, other),
    CHECK (one < other)
) STRICT;

CREATE INDEX mutuals_other ON mutuals (other);
