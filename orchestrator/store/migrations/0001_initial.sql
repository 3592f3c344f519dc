-- Times are integer microseconds since the epoch. Every row that belongs to a shard says so.

-- One row per shard that this database serves. The epoch fences: who does not hold the newest writes nothing.
CREATE TABLE shards (
  shard TEXT NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL,
  telemetry_cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Workflow documents by the hash of their content; shared by all shards.
CREATE TABLE definitions (
  version TEXT NOT NULL PRIMARY KEY,
  workflow TEXT NOT NULL,
  document BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT;

-- The document that new runs of a workflow take.
CREATE TABLE current_definitions (
  workflow TEXT NOT NULL PRIMARY KEY,
  version TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- num is the order in which runs came to be, and the order of every list: unlike a clock it never goes back.
-- wake_at is the run's timer; there is no other.
CREATE TABLE runs (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  workflow TEXT NOT NULL,
  version TEXT NOT NULL,
  key TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN (
    'queued', 'running', 'paused', 'compensating', 'attention',
    'succeeded', 'failed', 'compensated', 'cancelled'
  )),
  reason TEXT NOT NULL,
  ended_at INTEGER,
  wake_at INTEGER,
  seq INTEGER NOT NULL,
  state BLOB NOT NULL,
  CHECK ((ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'compensated', 'cancelled'))),
  CHECK (ended_at IS NULL OR wake_at IS NULL)
) STRICT;

-- Rule 1: one live run per (workflow, key). The empty key is no key.
CREATE UNIQUE INDEX runs_live_key ON runs (workflow, key) WHERE ended_at IS NULL AND key <> '';
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
-- An index entry ends with num, so each of these gives its runs in order.
CREATE INDEX runs_status ON runs (status);
CREATE INDEX runs_workflow_status ON runs (workflow, status);
CREATE INDEX runs_key ON runs (key) WHERE key <> '';

-- What is fixed when a run starts, apart from what changes: a change must not write it again.
CREATE TABLE run_heads (
  num INTEGER PRIMARY KEY,
  head BLOB NOT NULL
) STRICT;

-- The facts of all runs, in the order in which they were committed.
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  run_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (run_id, seq)
) STRICT;

-- Events that were taken in, with what became of them, and results that were refused.
CREATE TABLE inbox (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('event', 'result')),
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('started', 'duplicate', 'no_trigger', 'rejected')),
  reason TEXT NOT NULL,
  runs TEXT NOT NULL -- a JSON array of run ids
) STRICT;

-- Rule 1: one run per (source, id).
CREATE UNIQUE INDEX inbox_event ON inbox (source, id) WHERE kind = 'event';
CREATE INDEX inbox_outcome ON inbox (outcome);

-- Messages that are committed and not yet known to be with the broker.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  exchange TEXT NOT NULL,
  routing_key TEXT NOT NULL,
  body BLOB NOT NULL,
  headers TEXT NOT NULL, -- a JSON object
  content_type TEXT NOT NULL,
  at INTEGER NOT NULL,
  expires_at INTEGER,
  mandatory INTEGER NOT NULL CHECK (mandatory IN (0, 1))
) STRICT;

-- The last announcement of each agent.
CREATE TABLE agents (
  name TEXT NOT NULL PRIMARY KEY,
  shard TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  presence BLOB NOT NULL
) STRICT;
