-- The first schema. The two engines' files say the same: ids are text compared byte by byte, times
-- are milliseconds since the epoch, blobs named *_sealed (and wrapped keys) are ciphertext.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('app', 'generator', 'auditor', 'reviewer', 'admin')),
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_ms IS NULL;

CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    sealed_seed BLOB NOT NULL,
    public_key BLOB NOT NULL UNIQUE CHECK (length(public_key) = 32),
    not_before_ms INTEGER NOT NULL,
    retire_at_ms INTEGER,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE subjects (
    subject TEXT NOT NULL PRIMARY KEY,
    subject_ref BLOB NOT NULL UNIQUE CHECK (length(subject_ref) = 16),
    wrapped_key BLOB NOT NULL,
    key_version INTEGER NOT NULL CHECK (key_version >= 0),
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE cameos (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'deleted')),
    template_version INTEGER NOT NULL CHECK (template_version >= 0),
    created_ms INTEGER NOT NULL,
    deleted_ms INTEGER,
    CHECK ((state = 'deleted') = (deleted_ms IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX cameos_active ON cameos (subject) WHERE state = 'active';

CREATE TABLE verifications (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    app_key TEXT NOT NULL REFERENCES api_keys (id),
    locale TEXT NOT NULL,
    consent_text_version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'processing', 'verified', 'rejected', 'review', 'expired', 'failed')),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    challenge TEXT NOT NULL,
    client_token_hash BLOB NOT NULL CHECK (length(client_token_hash) = 32),
    client_token_expires_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    capture_file TEXT UNIQUE,
    capture_sha256 BLOB CHECK (length(capture_sha256) = 32),
    capture_bytes INTEGER CHECK (capture_bytes >= 0),
    capture_received_ms INTEGER,
    claimed_by TEXT,
    claimed_until_ms INTEGER,
    tries INTEGER NOT NULL CHECK (tries >= 0),
    verdict TEXT,
    quality TEXT,
    timings TEXT,
    cameo_id TEXT REFERENCES cameos (id),
    failure TEXT,
    reviewed_by TEXT REFERENCES api_keys (id),
    reviewed_ms INTEGER,
    review_reason TEXT,
    CHECK (state <> 'processing' OR capture_file IS NOT NULL),
    CHECK ((capture_sha256 IS NULL) = (capture_bytes IS NULL)),
    CHECK ((capture_sha256 IS NULL) = (capture_received_ms IS NULL)),
    CHECK ((claimed_by IS NULL) = (claimed_until_ms IS NULL)),
    CHECK (claimed_by IS NULL OR state = 'processing')
) STRICT;

CREATE INDEX verifications_state ON verifications (state, id);
CREATE INDEX verifications_subject ON verifications (subject, id);
CREATE INDEX verifications_jobs ON verifications (capture_received_ms, id) WHERE state = 'processing';
CREATE INDEX verifications_pending ON verifications (expires_ms) WHERE state = 'pending';
CREATE INDEX verifications_app_key ON verifications (app_key);
CREATE INDEX verifications_cameo ON verifications (cameo_id) WHERE cameo_id IS NOT NULL;
CREATE INDEX verifications_reviewed_by ON verifications (reviewed_by) WHERE reviewed_by IS NOT NULL;
CREATE INDEX verifications_kept ON verifications (capture_received_ms) WHERE capture_file IS NOT NULL;

CREATE TABLE attempts (
    verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    challenge TEXT NOT NULL,
    outcome TEXT CHECK (outcome IN ('verified', 'rejected', 'review', 'expired', 'failed')),
    verdict TEXT,
    failure TEXT,
    evidence_sealed BLOB,
    candidate_sealed BLOB,
    opened_ms INTEGER NOT NULL,
    closed_ms INTEGER,
    PRIMARY KEY (verification_id, attempt)
) STRICT;

CREATE INDEX attempts_evidence ON attempts (closed_ms)
    WHERE evidence_sealed IS NOT NULL OR candidate_sealed IS NOT NULL;

CREATE TABLE failures (
    verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    subject TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (verification_id, attempt)
) STRICT;

CREATE INDEX failures_subject ON failures (subject, at_ms);
CREATE INDEX failures_at ON failures (at_ms);

CREATE TABLE lockouts (
    subject TEXT NOT NULL PRIMARY KEY,
    until_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX lockouts_until ON lockouts (until_ms);

CREATE TABLE captures_seen (
    sha256 BLOB NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    verification_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX captures_seen_at ON captures_seen (at_ms);

CREATE TABLE templates (
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    verification_id TEXT NOT NULL REFERENCES verifications (id),
    sealed BLOB NOT NULL,
    model_id TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (cameo_id, version)
) STRICT;

CREATE INDEX templates_verification ON templates (verification_id);

CREATE TABLE log_head (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0),
    frontier BLOB NOT NULL
) STRICT;

CREATE TABLE log_entries (
    idx INTEGER NOT NULL PRIMARY KEY CHECK (idx >= 0),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    entry BLOB NOT NULL CHECK (length(entry) <= 65535),
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32)
) STRICT;

CREATE TABLE log_salts (
    idx INTEGER NOT NULL REFERENCES log_entries (idx),
    subject_ref BLOB NOT NULL CHECK (length(subject_ref) = 16),
    salt_sealed BLOB NOT NULL,
    PRIMARY KEY (subject_ref, idx)
) STRICT;

CREATE INDEX log_salts_idx ON log_salts (idx);

CREATE TABLE consents (
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('given', 'changed', 'withdrawn')),
    permissions_sealed BLOB,
    text_version TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    log_index INTEGER NOT NULL UNIQUE REFERENCES log_entries (idx),
    PRIMARY KEY (cameo_id, version),
    CHECK ((kind = 'withdrawn') = (permissions_sealed IS NULL))
) STRICT;

CREATE TABLE uses (
    id TEXT NOT NULL PRIMARY KEY,
    cameo_id TEXT NOT NULL REFERENCES cameos (id),
    generator_key TEXT NOT NULL REFERENCES api_keys (id),
    purpose TEXT NOT NULL,
    requester_sealed BLOB NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('allowed', 'denied')),
    rule TEXT,
    consent_version INTEGER CHECK (consent_version >= 1),
    issued_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    kid TEXT REFERENCES signing_keys (kid),
    log_index INTEGER NOT NULL UNIQUE REFERENCES log_entries (idx),
    CHECK ((outcome = 'denied') = (rule IS NOT NULL)),
    CHECK ((outcome = 'allowed') = (expires_ms IS NOT NULL)),
    CHECK ((outcome = 'allowed') = (kid IS NOT NULL))
) STRICT;

CREATE INDEX uses_cameo ON uses (cameo_id, log_index);
CREATE INDEX uses_generator ON uses (generator_key);
CREATE INDEX uses_kid ON uses (kid) WHERE kid IS NOT NULL;

CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    state TEXT NOT NULL CHECK (state IN ('in_flight', 'done')),
    owner TEXT NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    status INTEGER CHECK (status BETWEEN 100 AND 599),
    content_type TEXT,
    body BLOB,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((state = 'done') = (status IS NOT NULL)),
    CHECK ((state = 'done') = (body IS NOT NULL)),
    CHECK ((state = 'done') = (content_type IS NOT NULL))
) STRICT;

CREATE INDEX idempotency_created ON idempotency (created_ms);

-- The log only grows: no gap, no change, no deletion. These rules hold against the service's own
-- mistakes; an operator who drops them is found by the Merkle tree.

INSERT INTO log_head (id, size, frontier) VALUES (1, 0, x'');

CREATE TRIGGER log_entries_gapless BEFORE INSERT ON log_entries
WHEN NEW.idx <> (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_entries)
BEGIN SELECT RAISE(ABORT, 'log_entries: an index would leave a gap'); END;

CREATE TRIGGER log_entries_no_update BEFORE UPDATE ON log_entries
BEGIN SELECT RAISE(ABORT, 'log_entries: entries never change'); END;

CREATE TRIGGER log_entries_no_delete BEFORE DELETE ON log_entries
BEGIN SELECT RAISE(ABORT, 'log_entries: entries are never deleted'); END;

CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head
WHEN NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'log_head: the log never shrinks'); END;

CREATE TRIGGER log_head_stays BEFORE DELETE ON log_head
BEGIN SELECT RAISE(ABORT, 'log_head: the head is never deleted'); END;

CREATE TRIGGER consents_no_update BEFORE UPDATE ON consents
BEGIN SELECT RAISE(ABORT, 'consents: versions never change'); END;
