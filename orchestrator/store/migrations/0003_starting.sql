-- group_name: the run's concurrency group, or empty.
ALTER TABLE runs ADD COLUMN group_name TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 5;
CREATE INDEX runs_group ON runs (group_name) WHERE group_name <> '' AND ended_at IS NULL;

-- The schedule triggers of the current definitions; number counts a workflow's triggers from 1.
CREATE TABLE schedules (
  workflow TEXT NOT NULL,
  number INTEGER NOT NULL,
  shard TEXT NOT NULL,
  cron TEXT NOT NULL,
  timezone TEXT NOT NULL,
  next_at INTEGER NOT NULL,
  PRIMARY KEY (workflow, number)
) STRICT, WITHOUT ROWID;

-- Of each (trigger, key) of a debounce the last event, until it is due.
CREATE TABLE debounced_events (
  num INTEGER PRIMARY KEY,
  workflow TEXT NOT NULL,
  number INTEGER NOT NULL,
  key TEXT NOT NULL,
  shard TEXT NOT NULL,
  first_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  traceparent TEXT NOT NULL,
  input BLOB NOT NULL,
  event BLOB NOT NULL,
  UNIQUE (workflow, number, key)
) STRICT;
CREATE INDEX debounced_due ON debounced_events (due_at);

-- The runs that throttled triggers started, each for as long as it counts.
CREATE TABLE throttled_starts (
  num INTEGER PRIMARY KEY,
  workflow TEXT NOT NULL,
  number INTEGER NOT NULL,
  key TEXT NOT NULL,
  shard TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX throttled_by ON throttled_starts (workflow, number, key, expires_at);
CREATE INDEX throttled_expire ON throttled_starts (expires_at);
