-- The agent's journal: what it was asked, what it started, what came of it.
-- Times are microseconds since the epoch.

CREATE TABLE journal (
  -- Made with the file; a new one tells the coordinator that what was known here is lost.
  instance_id TEXT NOT NULL
) STRICT;

CREATE TABLE commands (
  seq          INTEGER PRIMARY KEY,
  id           TEXT    NOT NULL UNIQUE,
  -- received -> started -> finished -> published. An idempotent action is never `started` here.
  state        TEXT    NOT NULL CHECK (state IN ('received', 'started', 'finished', 'published')),
  -- 1: asked about before it was ever seen, and therefore never to be started.
  tombstone    INTEGER NOT NULL DEFAULT 0 CHECK (tombstone IN (0, 1)),
  command      BLOB,               -- as it came; dropped once finished
  traceparent  TEXT    NOT NULL DEFAULT '',
  reply_to     TEXT    NOT NULL,   -- the shard to answer
  received_at  INTEGER NOT NULL,
  started_at   INTEGER,
  result       BLOB,
  CHECK ((result IS NOT NULL) = (state IN ('finished', 'published')))
) STRICT;

-- What a restart has to look at.
CREATE INDEX commands_unsettled ON commands (seq) WHERE state <> 'published';
