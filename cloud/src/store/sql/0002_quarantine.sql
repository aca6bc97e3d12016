-- Highest session epoch in which the bridge was heard: every later Hello of the same state knows at least this one.
ALTER TABLE bridges ADD COLUMN epoch_heard INTEGER NOT NULL DEFAULT 0;

-- Suspicions that a bridge's state or identity exists twice or went back in time (rule H9), and who ended them.
CREATE TABLE quarantines (
    bridge_id TEXT NOT NULL REFERENCES bridges,
    incident INTEGER NOT NULL,         -- 1, 2, 3, ... per bridge
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    replay_through INTEGER NOT NULL,   -- deliveries up to here repeat what a lost part of the bridge's journal knew
    replay_before_ms INTEGER NOT NULL, -- interactive commands issued up to here may have been carried out
    released_at_ms INTEGER,            -- by the cloud's operator
    released_by TEXT NOT NULL DEFAULT '',
    confirmed_at_ms INTEGER,           -- when the bridge told that its site released it
    closed_at_ms INTEGER,              -- the bridge has left it, or a newer incident took its place
    PRIMARY KEY (bridge_id, incident)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX quarantines_open ON quarantines (bridge_id) WHERE closed_at_ms IS NULL;
