-- Commands that a bridge acknowledged and lost with a damaged part of its journal: kept for the operator as long as commands.
CREATE TABLE lost_commands (
    command_id BLOB PRIMARY KEY,
    bridge_id TEXT NOT NULL REFERENCES bridges,
    delivery_sequence INTEGER NOT NULL,  -- under which it was sent
    kind TEXT NOT NULL,
    lock_system TEXT NOT NULL,
    lane TEXT NOT NULL,
    state INTEGER NOT NULL,              -- lockbridge.tunnel.v1.CommandState: 9 when its end was not known
    successor_id BLOB,                   -- the command that asks for the same anew
    lost_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lost_commands_by_age ON lost_commands (lost_at_ms);
