-- Times are milliseconds since the Unix epoch. Unsigned 64-bit counters are stored as INTEGER; none comes near 2^63.

CREATE TABLE workspaces (
    workspace_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a key is kept: a stolen database opens no API.
CREATE TABLE api_keys (
    api_key_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces,
    key_hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sites (
    site_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces,
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (workspace_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE bridges (
    bridge_id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces,
    site_id TEXT NOT NULL REFERENCES sites,
    display_name TEXT NOT NULL,
    software_version TEXT NOT NULL,
    audit_key BLOB NOT NULL,           -- P-256, uncompressed point
    generation INTEGER NOT NULL,       -- of the newest certificate
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,             -- no session since then
    epoch INTEGER NOT NULL DEFAULT 0,  -- of the newest session
    link_up INTEGER NOT NULL DEFAULT 0,
    link_changed_at_ms INTEGER,
    last_seen_at_ms INTEGER,
    store_id BLOB,                     -- the journal this bridge lives on; the first Hello sets it
    delivered_last INTEGER NOT NULL DEFAULT 0,    -- highest delivery sequence given out
    commands_durable_through INTEGER NOT NULL DEFAULT 0,
    reports_durable_through INTEGER NOT NULL DEFAULT 0,
    health BLOB                        -- last HealthReport as it came
) STRICT, WITHOUT ROWID;
CREATE INDEX bridges_by_workspace ON bridges (workspace_id);
CREATE INDEX bridges_revoked ON bridges (bridge_id) WHERE revoked_at_ms IS NOT NULL;

-- Every journal a bridge ever showed, and how far it was: one that is shorter now was put back (rule F9).
CREATE TABLE journals (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    store_id BLOB NOT NULL,
    highest_sequence INTEGER NOT NULL,
    PRIMARY KEY (bridge_id, store_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrollment_tokens (
    public_key BLOB PRIMARY KEY,       -- Ed25519; the secret half exists only in the token the admin carries
    workspace_id TEXT NOT NULL REFERENCES workspaces,
    site_id TEXT NOT NULL REFERENCES sites,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_by_key BLOB,                  -- identity key (P-256, uncompressed point) that burnt the token
    used_at_ms INTEGER,
    bridge_id TEXT REFERENCES bridges,
    activated_at_ms INTEGER            -- first session of that bridge: from here on the token is dead for everyone
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    generation INTEGER NOT NULL,
    serial BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,          -- P-256, uncompressed point
    der BLOB NOT NULL,
    not_after_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (bridge_id, generation)
) STRICT, WITHOUT ROWID;

-- What should never happen and a person must see: a token used by two keys, one identity twice, a journal put back.
CREATE TABLE alarms (
    alarm_id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    bridge_id TEXT,
    code TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;

-- Lock systems as their bridge announced them.
CREATE TABLE lock_systems (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    display_name TEXT NOT NULL,
    time_zone TEXT NOT NULL,           -- IANA name; empty when unknown
    announced INTEGER NOT NULL,        -- in the last Hello
    reachable INTEGER NOT NULL DEFAULT 0,
    logged_in INTEGER NOT NULL DEFAULT 0,
    reason_code TEXT NOT NULL DEFAULT '',
    reason_message TEXT NOT NULL DEFAULT '',
    reason_since_ms INTEGER,
    inventory_at_ms INTEGER,
    PRIMARY KEY (bridge_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    lock_system TEXT NOT NULL,
    lane TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    PRIMARY KEY (bridge_id, lock_system, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    command_row INTEGER PRIMARY KEY,   -- order of issue
    command_id BLOB NOT NULL UNIQUE,
    bridge_id TEXT NOT NULL REFERENCES bridges,
    lock_system TEXT NOT NULL,
    lane TEXT NOT NULL,
    lane_sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL,         -- lockbridge.tunnel.v1.Priority: 1 is the most urgent
    urgency INTEGER NOT NULL,          -- priority, or that of an interactive command of the lane that waits for this one
    mode INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    signed BLOB NOT NULL,              -- lockbridge.tunnel.v1.Signed, exact bytes
    hash BLOB NOT NULL,                -- SHA-256 of the signed payload
    state INTEGER NOT NULL DEFAULT 0,  -- lockbridge.tunnel.v1.CommandState; 0 until a report tells
    delivery_sequence INTEGER,         -- set when first sent
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    UNIQUE (bridge_id, lock_system, lane, lane_sequence)
) STRICT;
CREATE UNIQUE INDEX commands_delivered ON commands (bridge_id, delivery_sequence) WHERE delivery_sequence IS NOT NULL;
CREATE INDEX commands_waiting ON commands (bridge_id, priority, urgency, command_row) WHERE delivery_sequence IS NULL;
CREATE INDEX commands_by_age ON commands (created_at_ms);

-- Reports as they were signed: the evidence behind everything the resource model says about a site.
CREATE TABLE reports (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    sequence INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL,
    signed BLOB NOT NULL,              -- lockbridge.tunnel.v1.Signed
    PRIMARY KEY (bridge_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX reports_by_age ON reports (received_at_ms);

-- Last audit checkpoint countersigned for a journal: what a shorter or different chain is compared with.
CREATE TABLE witnessed_checkpoints (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    store_id BLOB NOT NULL,
    journal_sequence INTEGER NOT NULL,
    chain_head BLOB NOT NULL,
    report_sequence INTEGER NOT NULL,
    witnessed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (bridge_id, store_id)
) STRICT, WITHOUT ROWID;
