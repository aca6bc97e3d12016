-- The resource model. Times are milliseconds since the Unix epoch, identifiers UUID text, booleans 0 or 1.
-- `position` is the order of creation and what page cursors point at: each index ends with it by nature of SQLite,
-- so a list by workspace (or system, or person) reads just the rows it returns.

CREATE TABLE acs_system (
    position INTEGER PRIMARY KEY, acs_system_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    connected_account_id TEXT NOT NULL, bridge_id TEXT NOT NULL, lock_system TEXT NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, time_zone TEXT, created_at INTEGER NOT NULL, inventory_at INTEGER,
    was_connected INTEGER NOT NULL DEFAULT 0,
    UNIQUE (bridge_id, lock_system)
) STRICT;
CREATE INDEX acs_system_workspace ON acs_system (workspace_id);

CREATE TABLE acs_entrance (
    position INTEGER PRIMARY KEY, acs_entrance_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    acs_system_id TEXT NOT NULL, external_id TEXT NOT NULL, display_name TEXT NOT NULL, description TEXT NOT NULL,
    online INTEGER NOT NULL, with_card INTEGER NOT NULL, with_mobile_key INTEGER NOT NULL, remotely INTEGER NOT NULL,
    for_reservations INTEGER NOT NULL, audit_on_keys INTEGER NOT NULL, created_at INTEGER NOT NULL, removed_at INTEGER,
    UNIQUE (acs_system_id, external_id)
) STRICT;
CREATE INDEX acs_entrance_workspace ON acs_entrance (workspace_id);

CREATE TABLE acs_encoder (
    position INTEGER PRIMARY KEY, acs_encoder_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    acs_system_id TEXT NOT NULL, external_id TEXT NOT NULL, display_name TEXT NOT NULL, created_at INTEGER NOT NULL,
    removed_at INTEGER, UNIQUE (acs_system_id, external_id)
) STRICT;
CREATE INDEX acs_encoder_workspace ON acs_encoder (workspace_id);

CREATE TABLE acs_access_group (
    position INTEGER PRIMARY KEY, acs_access_group_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    acs_system_id TEXT NOT NULL, external_id TEXT NOT NULL, display_name TEXT NOT NULL, created_at INTEGER NOT NULL,
    removed_at INTEGER, UNIQUE (acs_system_id, external_id)
) STRICT;
CREATE INDEX acs_access_group_workspace ON acs_access_group (workspace_id);
CREATE TABLE acs_access_group_entrance (
    acs_access_group_id TEXT NOT NULL, entrance_external_id TEXT NOT NULL,
    PRIMARY KEY (acs_access_group_id, entrance_external_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_identity (
    position INTEGER PRIMARY KEY, user_identity_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    user_identity_key TEXT, email_address TEXT, phone_number TEXT, full_name TEXT, created_at INTEGER NOT NULL,
    UNIQUE (workspace_id, user_identity_key), UNIQUE (workspace_id, email_address), UNIQUE (workspace_id, phone_number)
) STRICT;

CREATE TABLE acs_user (
    position INTEGER PRIMARY KEY, acs_user_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    acs_system_id TEXT NOT NULL, external_id TEXT, user_identity_id TEXT, is_managed INTEGER NOT NULL,
    full_name TEXT NOT NULL, email_address TEXT, phone_number TEXT, starts_at INTEGER, ends_at INTEGER,
    is_suspended INTEGER NOT NULL DEFAULT 0, deleting INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0,
    membership_revision INTEGER NOT NULL DEFAULT 0,
    rights_revision INTEGER NOT NULL DEFAULT 0, -- grows with every change of what a card of this person should carry
    own_rights INTEGER NOT NULL DEFAULT 0, -- rights_revision of the newest change to groups or schedule
    card_at_server INTEGER NOT NULL DEFAULT 0, update_needed_at_server INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL, synced_at INTEGER, UNIQUE (acs_system_id, external_id)
) STRICT;
CREATE INDEX acs_user_workspace ON acs_user (workspace_id, is_managed);
CREATE INDEX acs_user_system ON acs_user (acs_system_id, is_managed);
CREATE INDEX acs_user_identity ON acs_user (user_identity_id) WHERE user_identity_id IS NOT NULL;
CREATE INDEX acs_user_email ON acs_user (acs_system_id, email_address) WHERE email_address IS NOT NULL;
CREATE INDEX acs_user_phone ON acs_user (acs_system_id, phone_number) WHERE phone_number IS NOT NULL;
CREATE TABLE acs_user_group (
    acs_user_id TEXT NOT NULL, acs_access_group_id TEXT NOT NULL, PRIMARY KEY (acs_user_id, acs_access_group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX acs_user_group_members ON acs_user_group (acs_access_group_id);

CREATE TABLE acs_credential (
    position INTEGER PRIMARY KEY, acs_credential_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    acs_system_id TEXT NOT NULL, acs_user_id TEXT, access_method TEXT NOT NULL, made_by_grant INTEGER NOT NULL,
    is_issued INTEGER NOT NULL DEFAULT 0, issued_at INTEGER, card_number TEXT, valid_until INTEGER,
    encoded_rights INTEGER NOT NULL DEFAULT 0, -- the person's rights_revision that the card carries
    revision INTEGER NOT NULL DEFAULT 0, synced_at INTEGER, deleting INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX acs_credential_workspace ON acs_credential (workspace_id);
CREATE INDEX acs_credential_user ON acs_credential (acs_user_id);

CREATE TABLE space (
    position INTEGER PRIMARY KEY, space_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL, space_key TEXT,
    name TEXT NOT NULL, customer_key TEXT, created_at INTEGER NOT NULL, UNIQUE (workspace_id, space_key)
) STRICT;
CREATE TABLE space_entrance (
    space_id TEXT NOT NULL, acs_entrance_id TEXT NOT NULL, PRIMARY KEY (space_id, acs_entrance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX space_entrance_entrance ON space_entrance (acs_entrance_id);

CREATE TABLE access_grant (
    position INTEGER PRIMARY KEY, access_grant_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    user_identity_id TEXT NOT NULL, access_grant_key TEXT, name TEXT, reservation_key TEXT, customer_key TEXT,
    starts_at INTEGER NOT NULL, ends_at INTEGER, revision INTEGER NOT NULL DEFAULT 0,
    deleting INTEGER NOT NULL DEFAULT 0, all_doors_told INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
    UNIQUE (workspace_id, access_grant_key)
) STRICT;
CREATE INDEX access_grant_workspace ON access_grant (workspace_id);
CREATE INDEX access_grant_identity ON access_grant (user_identity_id);
CREATE INDEX access_grant_reservation ON access_grant (reservation_key) WHERE reservation_key IS NOT NULL;
CREATE TABLE access_grant_target ( -- a space or an entrance, as asked for
    access_grant_id TEXT NOT NULL, kind TEXT NOT NULL, target_id TEXT NOT NULL,
    PRIMARY KEY (access_grant_id, kind, target_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_grant_target_target ON access_grant_target (target_id);
CREATE TABLE requested_method (
    access_grant_id TEXT NOT NULL, ordinal INTEGER NOT NULL, mode TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (access_grant_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE grant_door ( -- live doors of a grant, and lost ones until the lock system confirmed
    access_grant_id TEXT NOT NULL, acs_entrance_id TEXT NOT NULL, acs_system_id TEXT NOT NULL,
    granted_at INTEGER, missing INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (access_grant_id, acs_entrance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_door_entrance ON grant_door (acs_entrance_id);
CREATE TABLE grant_part ( -- the share of one lock system in a grant: what one PutGrant carries
    grant_part_id TEXT PRIMARY KEY, access_grant_id TEXT NOT NULL, acs_system_id TEXT NOT NULL,
    acs_user_id TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, synced_revision INTEGER NOT NULL DEFAULT 0,
    rights_revision INTEGER NOT NULL DEFAULT 0, synced_at INTEGER, digest BLOB, deleting INTEGER NOT NULL DEFAULT 0,
    UNIQUE (access_grant_id, acs_system_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_part_user ON grant_part (acs_user_id);

CREATE TABLE access_method (
    position INTEGER PRIMARY KEY, access_method_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    access_grant_id TEXT NOT NULL, acs_system_id TEXT NOT NULL, acs_user_id TEXT NOT NULL, acs_credential_id TEXT,
    ordinal INTEGER NOT NULL, mode TEXT NOT NULL, is_issued INTEGER NOT NULL DEFAULT 0, issued_at INTEGER,
    deleting INTEGER NOT NULL DEFAULT 0, encoding_told INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX access_method_workspace ON access_method (workspace_id);
CREATE INDEX access_method_grant ON access_method (access_grant_id);
CREATE INDEX access_method_credential ON access_method (acs_credential_id);

CREATE TABLE action_attempt (
    position INTEGER PRIMARY KEY, action_attempt_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL,
    action_type TEXT NOT NULL, status TEXT NOT NULL, result TEXT, error_type TEXT, error_message TEXT,
    acs_system_id TEXT NOT NULL, acs_credential_id TEXT, acs_entrance_id TEXT, rights_revision INTEGER NOT NULL DEFAULT 0,
    in_doubt INTEGER NOT NULL DEFAULT 0, deadline_at INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX action_attempt_workspace ON action_attempt (workspace_id);
CREATE INDEX action_attempt_pending ON action_attempt (deadline_at) WHERE status = 'pending';
CREATE INDEX action_attempt_credential ON action_attempt (acs_credential_id) WHERE status = 'pending';

CREATE TABLE issued_command ( -- commands whose end is not yet known, and what they were for
    command_id BLOB PRIMARY KEY, acs_system_id TEXT NOT NULL, purpose TEXT NOT NULL, resource_id TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pending_mutation (
    resource_id TEXT NOT NULL, code TEXT NOT NULL, acs_system_id TEXT NOT NULL, command_id BLOB NOT NULL,
    message TEXT NOT NULL, extra TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (resource_id, code, acs_system_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_mutation_command ON pending_mutation (command_id);
CREATE TABLE issue ( -- errors and warnings of any resource
    resource_id TEXT NOT NULL, severity TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, extra TEXT NOT NULL,
    until INTEGER, created_at INTEGER NOT NULL, PRIMARY KEY (resource_id, severity, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    position INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, workspace_id TEXT NOT NULL, event_type TEXT NOT NULL,
    occurred_at INTEGER NOT NULL, created_at INTEGER NOT NULL, payload TEXT NOT NULL,
    source TEXT UNIQUE -- the lock system's own event, so that one told twice is stored once
) STRICT;
CREATE INDEX event_time ON event (workspace_id, created_at);
