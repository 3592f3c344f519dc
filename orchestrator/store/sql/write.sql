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
INSERT INTO inbox (shard, kind, source, id, type, at, outcome, reason, runs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_run
INSERT INTO runs (
  num, shard, id, workflow, version, key, trace_id, created_at, status, reason, ended_at, wake_at, seq, state
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_head
INSERT INTO run_heads (num, head) VALUES (?, ?);

-- name: move_run
-- A run that keeps its status; the indices by status are not touched.
UPDATE runs SET reason = ?2, wake_at = ?4, seq = ?5, state = ?6
WHERE id = ?7 AND seq = ?8 AND status = ?1 AND ended_at IS ?3;

-- name: change_run
-- A run that gets another status, and for that must be live: ends are final.
UPDATE runs SET status = ?1, reason = ?2, ended_at = ?3, wake_at = ?4, seq = ?5, state = ?6
WHERE id = ?7 AND seq = ?8 AND ended_at IS NULL;

-- name: add_fact
INSERT INTO history (id, shard, run_id, seq, at, kind, payload) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_outbox
INSERT INTO outbox (
  id, shard, exchange, routing_key, body, headers, content_type, at, expires_at, mandatory
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: remove_outbox
DELETE FROM outbox WHERE id = ?;

-- name: set_agent
INSERT INTO agents (name, shard, seen_at, presence) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET shard = excluded.shard, seen_at = excluded.seen_at, presence = excluded.presence;

-- name: set_telemetry_cursor
UPDATE shards SET telemetry_cursor = ? WHERE shard = ?;

-- name: prune_inbox
DELETE FROM inbox WHERE num IN (
  SELECT num FROM (SELECT num, at FROM inbox ORDER BY num LIMIT :limit) WHERE at < :before
);
