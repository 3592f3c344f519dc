-- more: how many runs an event started, or was given to, besides those that runs names.
ALTER TABLE inbox ADD COLUMN more INTEGER NOT NULL DEFAULT 0;
