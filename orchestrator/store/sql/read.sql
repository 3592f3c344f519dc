-- name: shards
SELECT shard FROM shards;

-- name: epoch
SELECT epoch FROM shards WHERE shard = ?;

-- name: highest_ids
-- The telemetry cursor may be ahead of a history that was cleaned, and must never point at a fact to come.
SELECT
  (SELECT coalesce(max(num), 0) FROM runs) AS run,
  (SELECT max(coalesce(max(history.id), 0), (SELECT coalesce(max(telemetry_cursor), 0) FROM shards)) FROM history)
    AS fact,
  (SELECT coalesce(max(id), 0) FROM outbox) AS outbox;

-- name: run
SELECT head, state FROM runs JOIN run_heads USING (num) WHERE id = ?;

-- name: live_key
SELECT id FROM runs WHERE workflow = ? AND key = ? AND key <> '' AND ended_at IS NULL;

-- name: live_retry
SELECT id FROM runs WHERE retry_of = ? AND retry_of <> '' AND ended_at IS NULL;

-- name: seen_event
SELECT source, id, outcome, at, kind, type, reason, runs, more FROM inbox
WHERE source = ? AND id = ? AND kind = 'event';

-- name: unsent
SELECT id, exchange, routing_key, body, at, headers, content_type, expires_at, mandatory FROM outbox
WHERE id > ? ORDER BY id LIMIT ?;

-- name: wakes
SELECT id, wake_at FROM runs WHERE wake_at <= ? ORDER BY wake_at LIMIT ?;

-- name: in_motion
SELECT id FROM runs WHERE status IN ('running', 'paused', 'compensating', 'attention') AND waiting = '';

-- name: stranded
SELECT id FROM runs AS one
WHERE status IN ('running', 'paused', 'compensating', 'attention') AND wake_at IS NULL AND (
  waiting = ''
  OR waiting = 'child' AND NOT EXISTS (SELECT 1 FROM signals WHERE to_run = one.id) AND NOT EXISTS (
    SELECT 1 FROM runs AS child WHERE child.parent = one.id AND child.parent <> '' AND child.ended_at IS NULL
  )
  OR waiting = 'parent' AND NOT EXISTS (SELECT 1 FROM signals WHERE to_run = one.id) AND NOT EXISTS (
    SELECT 1 FROM runs AS parent WHERE parent.id = one.parent AND parent.ended_at IS NULL
  )
)
LIMIT ?;

-- name: signals
SELECT id, to_run, payload, at FROM signals ORDER BY num;

-- name: waiting_at
SELECT run_id, step, host_index, topic, value, since FROM waits WHERE topic = ? AND value = ?
ORDER BY since;

-- name: kept_at
SELECT topic, value, event, expires_at, num FROM kept_events
WHERE topic = ? AND value = ? AND expires_at > ? AND num > ? ORDER BY num LIMIT ?;

-- name: waits_to_look_up
SELECT run_id, step, host_index, topic, value, since FROM waits
WHERE (topic, value) IN (SELECT topic, value FROM kept_events);

-- name: count_kept
SELECT count(*) FROM kept_events;

-- name: live_versions
SELECT DISTINCT version FROM runs WHERE status IN ('queued', 'running', 'paused', 'compensating', 'attention');

-- name: definition
SELECT workflow, version, document, at FROM definitions WHERE version = ?;

-- name: current_definition
SELECT workflow, version, document, at FROM current_definitions JOIN definitions USING (workflow, version)
WHERE workflow = ?;

-- name: current_definitions
SELECT workflow, version, document, at FROM current_definitions JOIN definitions USING (workflow, version)
ORDER BY workflow;

-- name: versions
SELECT version, at, version IS (SELECT version FROM current_definitions WHERE workflow = ?1), coalesce(live.runs, 0)
FROM definitions LEFT JOIN (
  SELECT version, count(*) AS runs FROM runs
  WHERE workflow = ?1 AND status IN ('queued', 'running', 'paused', 'compensating', 'attention') GROUP BY version
) AS live USING (version)
WHERE workflow = ?1 ORDER BY at DESC, definitions.rowid DESC;

-- name: agents
SELECT presence, seen_at, first_seen_at FROM agents ORDER BY name;

-- name: telemetry_cursor
SELECT telemetry_cursor FROM shards WHERE shard = ?;

-- name: facts_after
SELECT id, run_id, seq, payload FROM history WHERE id > ? ORDER BY id LIMIT ?;

-- name: doubts
SELECT payload FROM history WHERE run_id = ? AND kind = 'task_in_doubt' ORDER BY seq DESC LIMIT 1000;

-- name: asking
-- What tasks wait for stands in the state only; a payload may look alike, so whoever asks looks again.
SELECT num, head, state FROM runs JOIN run_heads USING (num)
WHERE status IN ('running', 'paused', 'attention') AND num < ? AND instr(state, CAST('"on":"approval"' AS BLOB)) > 0
ORDER BY num DESC LIMIT ?;

-- name: history
SELECT seq, payload FROM history WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: runs
-- Here and below, what is null does not narrow.
SELECT num, id, workflow, version, key, status, reason, trace_id, created_at, ended_at, parent FROM runs
WHERE num < :before AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
ORDER BY num DESC LIMIT :limit;

-- name: runs_of_status
SELECT num, id, workflow, version, key, status, reason, trace_id, created_at, ended_at, parent FROM runs
WHERE status = :status AND num < :before
  AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
ORDER BY num DESC LIMIT :limit;

-- name: runs_of_workflow_status
SELECT num, id, workflow, version, key, status, reason, trace_id, created_at, ended_at, parent FROM runs
WHERE workflow = :workflow AND status = :status AND num < :before
  AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
ORDER BY num DESC LIMIT :limit;

-- name: runs_of_key
-- :statuses are the wanted ones, each between spaces; empty for all.
SELECT num, id, workflow, version, key, status, reason, trace_id, created_at, ended_at, parent FROM runs
WHERE key = :key AND key <> '' AND (:workflow IS NULL OR workflow = :workflow)
  AND (:statuses = '' OR instr(:statuses, ' ' || status || ' ') > 0) AND num < :before
  AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
ORDER BY num DESC LIMIT :limit;

-- name: count_runs_of_status
SELECT workflow, count(*) FROM runs
WHERE status = :status AND (:workflow IS NULL OR workflow = :workflow) AND (:key IS NULL OR key = :key)
  AND (:parent IS NULL OR parent = :parent) AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
GROUP BY workflow ORDER BY workflow;

-- name: runs_of_parent
SELECT num, id, workflow, version, key, status, reason, trace_id, created_at, ended_at, parent FROM runs
WHERE parent = :parent AND parent <> '' AND (:workflow IS NULL OR workflow = :workflow)
  AND (:key IS NULL OR key = :key) AND (:statuses = '' OR instr(:statuses, ' ' || status || ' ') > 0)
  AND num < :before AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:version IS NULL OR version = :version)
ORDER BY num DESC LIMIT :limit;

-- name: inbox
SELECT num, source, id, outcome, at, kind, type, reason, runs, more FROM inbox
WHERE num < ? ORDER BY num DESC LIMIT ?;

-- name: inbox_of_outcome
SELECT num, source, id, outcome, at, kind, type, reason, runs, more FROM inbox
WHERE outcome = ? AND num < ? ORDER BY num DESC LIMIT ?;

-- name: count_runs
SELECT status, count(*) FROM runs GROUP BY status;

-- name: count_outbox
SELECT (SELECT count(*) FROM outbox), (SELECT at FROM outbox ORDER BY id LIMIT 1);

-- name: oldest_live
SELECT min(created_at) FROM runs WHERE status IN ('queued', 'running', 'paused', 'compensating', 'attention');

-- name: count_agents
SELECT count(*) FROM agents;
