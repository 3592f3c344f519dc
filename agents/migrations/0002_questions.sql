-- What it takes to answer a question about a command that may have been here and was pruned since.

-- When the command was issued, by the coordinator's clock. Earlier rows have the nearest that is known.
ALTER TABLE commands ADD COLUMN issued_at INTEGER NOT NULL DEFAULT 0;
UPDATE commands SET issued_at = received_at;

-- The youngest `issued_at` that was pruned: of commands issued later, every one that came is still here.
ALTER TABLE journal ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
