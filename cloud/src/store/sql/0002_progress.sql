-- How far an attempt at an encoder has come, as the bridge told last; only shown while the attempt is pending.
ALTER TABLE action_attempt ADD COLUMN stage TEXT;
ALTER TABLE action_attempt ADD COLUMN turn INTEGER;   -- 0: at the encoder; 1: the next one
