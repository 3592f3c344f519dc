-- parent: the id of the run that a child run is for, or empty. waiting: what a live run waits for without an
-- agent; empty while an attempt is under way or due.
ALTER TABLE runs ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN waiting TEXT NOT NULL DEFAULT ''
  CHECK (waiting IN ('', 'event', 'person', 'time', 'child', 'parent', 'slot'));
UPDATE runs SET waiting = 'person' WHERE status IN ('attention', 'paused');
CREATE INDEX runs_parent ON runs (parent) WHERE parent <> '';

-- What a run's move has to tell another run, until that one has been told. num is their order.
CREATE TABLE signals (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  to_run TEXT NOT NULL,
  at INTEGER NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX signals_to ON signals (to_run);

-- The tasks that wait for an event, as their runs say too; here so that an event finds them.
CREATE TABLE waits (
  run_id TEXT NOT NULL,
  step TEXT NOT NULL,
  host_index INTEGER NOT NULL,
  shard TEXT NOT NULL,
  topic TEXT NOT NULL,
  value TEXT NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (run_id, step, host_index)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_for ON waits (topic, value, since);

-- Events that some task may yet come to wait for, once for each (topic, value) that they fit.
CREATE TABLE kept_events (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  topic TEXT NOT NULL,
  value TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  event BLOB NOT NULL
) STRICT;
CREATE INDEX kept_for ON kept_events (topic, value);

-- When an agent's present instance was first heard of: its journal is no older.
ALTER TABLE agents ADD COLUMN instance_id TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN first_seen_at INTEGER NOT NULL DEFAULT 0;
UPDATE agents SET instance_id = json_extract(CAST(presence AS TEXT), '$.instance_id'), first_seen_at = seen_at;

-- More can become of an event.
CREATE TABLE new_inbox (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('event', 'result')),
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN (
    'started', 'delivered', 'duplicate', 'throttled', 'debounced', 'no_trigger', 'rejected'
  )),
  reason TEXT NOT NULL,
  runs TEXT NOT NULL -- a JSON array of run ids
) STRICT;
INSERT INTO new_inbox SELECT num, shard, kind, source, id, type, at, outcome, reason, runs FROM inbox;
DROP TABLE inbox;
ALTER TABLE new_inbox RENAME TO inbox;
CREATE UNIQUE INDEX inbox_event ON inbox (source, id) WHERE kind = 'event';
CREATE INDEX inbox_outcome ON inbox (outcome);
