-- retry_of: the ended run whose results the run goes on from, or empty. One live run at a time does so.
ALTER TABLE runs ADD COLUMN retry_of TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX runs_live_retry ON runs (retry_of) WHERE retry_of <> '' AND ended_at IS NULL;
