-- The first schema. The two engines' files say the same: ids are text compared byte by byte, times
-- are milliseconds since the epoch, blobs named *_sealed (and wrapped keys) are ciphertext.

CREATE TABLE meta (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE api_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('app', 'generator', 'auditor', 'reviewer', 'admin')),
    name TEXT COLLATE "C" NOT NULL,
    secret_hash BYTEA NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_ms IS NULL;

CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed_seed BYTEA NOT NULL,
    public_key BYTEA NOT NULL UNIQUE CHECK (length(public_key) = 32),
    not_before_ms BIGINT NOT NULL,
    retire_at_ms BIGINT,
    created_ms BIGINT NOT NULL
);

CREATE TABLE subjects (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject_ref BYTEA NOT NULL UNIQUE CHECK (length(subject_ref) = 16),
    wrapped_key BYTEA NOT NULL,
    key_version BIGINT NOT NULL CHECK (key_version >= 0),
    created_ms BIGINT NOT NULL
);

CREATE TABLE cameos (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'deleted')),
    template_version BIGINT NOT NULL CHECK (template_version >= 0),
    created_ms BIGINT NOT NULL,
    deleted_ms BIGINT,
    CHECK ((state = 'deleted') = (deleted_ms IS NOT NULL))
);

CREATE UNIQUE INDEX cameos_active ON cameos (subject) WHERE state = 'active';

CREATE TABLE verifications (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    app_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    locale TEXT COLLATE "C" NOT NULL,
    consent_text_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'processing', 'verified', 'rejected', 'review', 'expired', 'failed')),
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    challenge TEXT COLLATE "C" NOT NULL,
    client_token_hash BYTEA NOT NULL CHECK (length(client_token_hash) = 32),
    client_token_expires_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    capture_file TEXT COLLATE "C" UNIQUE,
    capture_sha256 BYTEA CHECK (length(capture_sha256) = 32),
    capture_bytes BIGINT CHECK (capture_bytes >= 0),
    capture_received_ms BIGINT,
    claimed_by TEXT COLLATE "C",
    claimed_until_ms BIGINT,
    tries BIGINT NOT NULL CHECK (tries >= 0),
    verdict TEXT COLLATE "C",
    quality TEXT COLLATE "C",
    timings TEXT COLLATE "C",
    cameo_id TEXT COLLATE "C" REFERENCES cameos (id),
    failure TEXT COLLATE "C",
    reviewed_by TEXT COLLATE "C" REFERENCES api_keys (id),
    reviewed_ms BIGINT,
    review_reason TEXT COLLATE "C",
    CHECK (state <> 'processing' OR capture_file IS NOT NULL),
    CHECK ((capture_sha256 IS NULL) = (capture_bytes IS NULL)),
    CHECK ((capture_sha256 IS NULL) = (capture_received_ms IS NULL)),
    CHECK ((claimed_by IS NULL) = (claimed_until_ms IS NULL)),
    CHECK (claimed_by IS NULL OR state = 'processing')
);

CREATE INDEX verifications_state ON verifications (state, id);
CREATE INDEX verifications_subject ON verifications (subject, id);
CREATE INDEX verifications_jobs ON verifications (capture_received_ms, id) WHERE state = 'processing';
CREATE INDEX verifications_pending ON verifications (expires_ms) WHERE state = 'pending';
CREATE INDEX verifications_app_key ON verifications (app_key);
CREATE INDEX verifications_cameo ON verifications (cameo_id) WHERE cameo_id IS NOT NULL;
CREATE INDEX verifications_reviewed_by ON verifications (reviewed_by) WHERE reviewed_by IS NOT NULL;
CREATE INDEX verifications_kept ON verifications (capture_received_ms) WHERE capture_file IS NOT NULL;

CREATE TABLE attempts (
    verification_id TEXT COLLATE "C" NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    challenge TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" CHECK (outcome IN ('verified', 'rejected', 'review', 'expired', 'failed')),
    verdict TEXT COLLATE "C",
    failure TEXT COLLATE "C",
    evidence_sealed BYTEA,
    candidate_sealed BYTEA,
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT,
    PRIMARY KEY (verification_id, attempt)
);

CREATE INDEX attempts_evidence ON attempts (closed_ms)
    WHERE evidence_sealed IS NOT NULL OR candidate_sealed IS NOT NULL;

CREATE TABLE failures (
    verification_id TEXT COLLATE "C" NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (verification_id, attempt)
);

CREATE INDEX failures_subject ON failures (subject, at_ms);
CREATE INDEX failures_at ON failures (at_ms);

CREATE TABLE lockouts (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
);

CREATE INDEX lockouts_until ON lockouts (until_ms);

CREATE TABLE captures_seen (
    sha256 BYTEA NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    verification_id TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL
);

CREATE INDEX captures_seen_at ON captures_seen (at_ms);

CREATE TABLE templates (
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    version BIGINT NOT NULL CHECK (version >= 1),
    verification_id TEXT COLLATE "C" NOT NULL REFERENCES verifications (id),
    sealed BYTEA NOT NULL,
    model_id TEXT COLLATE "C" NOT NULL,
    model_sha256 TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (cameo_id, version)
);

CREATE INDEX templates_verification ON templates (verification_id);

CREATE TABLE log_head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    frontier BYTEA NOT NULL
);

CREATE TABLE log_entries (
    idx BIGINT NOT NULL PRIMARY KEY CHECK (idx >= 0),
    at_ms BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    entry BYTEA NOT NULL CHECK (length(entry) <= 65535),
    leaf_hash BYTEA NOT NULL CHECK (length(leaf_hash) = 32)
);

CREATE TABLE log_salts (
    idx BIGINT NOT NULL REFERENCES log_entries (idx),
    subject_ref BYTEA NOT NULL CHECK (length(subject_ref) = 16),
    salt_sealed BYTEA NOT NULL,
    PRIMARY KEY (subject_ref, idx)
);

CREATE INDEX log_salts_idx ON log_salts (idx);

CREATE TABLE consents (
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    version BIGINT NOT NULL CHECK (version >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('given', 'changed', 'withdrawn')),
    permissions_sealed BYTEA,
    text_version TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    log_index BIGINT NOT NULL UNIQUE REFERENCES log_entries (idx),
    PRIMARY KEY (cameo_id, version),
    CHECK ((kind = 'withdrawn') = (permissions_sealed IS NULL))
);

CREATE TABLE uses (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cameo_id TEXT COLLATE "C" NOT NULL REFERENCES cameos (id),
    generator_key TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    purpose TEXT COLLATE "C" NOT NULL,
    requester_sealed BYTEA NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('allowed', 'denied')),
    rule TEXT COLLATE "C",
    consent_version BIGINT CHECK (consent_version >= 1),
    issued_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    kid TEXT COLLATE "C" REFERENCES signing_keys (kid),
    log_index BIGINT NOT NULL UNIQUE REFERENCES log_entries (idx),
    CHECK ((outcome = 'denied') = (rule IS NOT NULL)),
    CHECK ((outcome = 'allowed') = (expires_ms IS NOT NULL)),
    CHECK ((outcome = 'allowed') = (kid IS NOT NULL))
);

CREATE INDEX uses_cameo ON uses (cameo_id, log_index);
CREATE INDEX uses_generator ON uses (generator_key);
CREATE INDEX uses_kid ON uses (kid) WHERE kid IS NOT NULL;

CREATE TABLE idempotency (
    scope TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    request_hash BYTEA NOT NULL CHECK (length(request_hash) = 32),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('in_flight', 'done')),
    owner TEXT COLLATE "C" NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    status BIGINT CHECK (status BETWEEN 100 AND 599),
    content_type TEXT COLLATE "C",
    body BYTEA,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((state = 'done') = (status IS NOT NULL)),
    CHECK ((state = 'done') = (body IS NOT NULL)),
    CHECK ((state = 'done') = (content_type IS NOT NULL))
);

CREATE INDEX idempotency_created ON idempotency (created_ms);

-- The log only grows: no gap, no change, no deletion. These rules hold against the service's own
-- mistakes; an operator who drops them is found by the Merkle tree.

INSERT INTO log_head (id, size, frontier) VALUES (1, 0, '');

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION log_entries_gapless() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.idx <> (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_entries) THEN
        RAISE EXCEPTION 'log_entries: an index would leave a gap'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER log_entries_gapless BEFORE INSERT ON log_entries
    FOR EACH ROW EXECUTE FUNCTION log_entries_gapless();

CREATE TRIGGER log_entries_no_update BEFORE UPDATE ON log_entries
    FOR EACH ROW EXECUTE FUNCTION refuse('entries never change');

CREATE TRIGGER log_entries_no_delete BEFORE DELETE ON log_entries
    FOR EACH ROW EXECUTE FUNCTION refuse('entries are never deleted');

CREATE TRIGGER log_entries_no_truncate BEFORE TRUNCATE ON log_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse('entries are never deleted');

CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head
    FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION refuse('the log never shrinks');

CREATE TRIGGER log_head_stays BEFORE DELETE ON log_head
    FOR EACH ROW EXECUTE FUNCTION refuse('the head is never deleted');

CREATE TRIGGER log_head_no_truncate BEFORE TRUNCATE ON log_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse('the head is never deleted');

CREATE TRIGGER consents_no_update BEFORE UPDATE ON consents
    FOR EACH ROW EXECUTE FUNCTION refuse('versions never change');
