-- name: add_shard
INSERT INTO shards (shard, epoch, telemetry_cursor) VALUES (?, 0, 0) ON CONFLICT DO NOTHING;

-- name: raise_epoch
UPDATE shards SET epoch = epoch + 1 WHERE shard = ?;

-- name: add_definition
INSERT INTO definitions (workflow, version, document, at) VALUES (?, ?, ?, ?) ON CONFLICT (version) DO NOTHING;

-- name: set_current_definition
INSERT INTO current_definitions (workflow, version) VALUES (?, ?)
ON CONFLICT (workflow) DO UPDATE SET version = excluded.version;

-- name: add_inbox
INSERT INTO inbox (shard, kind, source, id, type, at, outcome, reason, runs, more)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_run
INSERT INTO runs (
  num, shard, id, workflow, key, parent, group_name, priority, retry_of, trace_id, created_at,
  status, reason, ended_at, wake_at, seq, waiting, version, state
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_head
INSERT INTO run_heads (num, head) VALUES (?, ?);

-- name: move_run
-- A run that keeps its status; the indices by status are not touched.
UPDATE runs SET reason = ?2, wake_at = ?4, seq = ?5, waiting = ?6, version = ?7, state = ?8
WHERE id = ?9 AND seq = ?10 AND status = ?1 AND ended_at IS ?3;

-- name: change_run
-- A run that gets another status, and for that must be live: ends are final.
UPDATE runs SET status = ?1, reason = ?2, ended_at = ?3, wake_at = ?4, seq = ?5, waiting = ?6, version = ?7, state = ?8
WHERE id = ?9 AND seq = ?10 AND ended_at IS NULL;

-- name: add_fact
INSERT INTO history (id, shard, run_id, seq, at, kind, payload) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_outbox
INSERT INTO outbox (
  id, shard, exchange, routing_key, body, headers, content_type, at, expires_at, mandatory
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: remove_outbox
DELETE FROM outbox WHERE id = ?;

-- name: set_agent
-- first_seen_at is that of the instance, so it stays while the instance does.
INSERT INTO agents (name, shard, seen_at, presence, instance_id, first_seen_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
  shard = excluded.shard, seen_at = excluded.seen_at, presence = excluded.presence,
  first_seen_at = iif(instance_id = excluded.instance_id, first_seen_at, excluded.first_seen_at),
  instance_id = excluded.instance_id;

-- name: add_signal
INSERT INTO signals (shard, id, to_run, at, payload) VALUES (?, ?, ?, ?, ?);

-- name: remove_signal
DELETE FROM signals WHERE id = ?;

-- name: set_wait
INSERT INTO waits (run_id, step, host_index, shard, topic, value, since) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, step, host_index) DO UPDATE SET
  topic = excluded.topic, value = excluded.value, since = excluded.since;

-- name: remove_wait
DELETE FROM waits WHERE run_id = ? AND step = ? AND host_index = ?;

-- name: add_kept
INSERT INTO kept_events (shard, topic, value, expires_at, event) VALUES (?, ?, ?, ?, ?);

-- name: bound_kept
DELETE FROM kept_events WHERE num <= (SELECT max(num) FROM kept_events) - ?;

-- name: prune_kept
DELETE FROM kept_events WHERE expires_at < ?;

-- name: set_telemetry_cursor
UPDATE shards SET telemetry_cursor = ? WHERE shard = ?;

-- name: prune_inbox
DELETE FROM inbox WHERE num IN (
  SELECT num FROM (SELECT num, at FROM inbox ORDER BY num LIMIT :limit) WHERE at < :before
);
