-- name: group_members
-- Told which index: to give the rows in order it would else go along all runs that ever were.
-- Of a child that queues also the head, which says who waits for it.
SELECT id, group_name, status = 'queued', priority, version,
  CASE WHEN status = 'queued' AND parent <> '' THEN (SELECT head FROM run_heads WHERE num = runs.num) END
FROM runs INDEXED BY runs_group
WHERE group_name <> '' AND ended_at IS NULL AND waiting <> 'parent' ORDER BY num;

-- name: schedules
SELECT workflow, number, cron, timezone, next_at FROM schedules ORDER BY workflow, number;

-- name: debounced_event
SELECT workflow, number, key, first_at, due_at, traceparent, input, event FROM debounced_events
WHERE workflow = ? AND number = ? AND key = ?;

-- name: due_debounced
SELECT workflow, number, key, first_at, due_at, traceparent, input, event FROM debounced_events
WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- name: next_debounced
SELECT min(due_at) FROM debounced_events;

-- name: throttled_starts
-- No further ahead than the throttle looks: the clock may have been set back since.
SELECT count(*) FROM throttled_starts
WHERE workflow = ?1 AND number = ?2 AND key = ?3 AND expires_at > ?5 AND expires_at <= ?5 + ?4;

-- name: remove_schedules
DELETE FROM schedules WHERE workflow = ?;

-- name: add_schedule
INSERT INTO schedules (workflow, number, shard, cron, timezone, next_at) VALUES (?, ?, ?, ?, ?, ?);

-- name: set_debounced_event
INSERT INTO debounced_events (workflow, number, key, shard, first_at, due_at, traceparent, input, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (workflow, number, key) DO UPDATE SET
  first_at = excluded.first_at, due_at = excluded.due_at, traceparent = excluded.traceparent,
  input = excluded.input, event = excluded.event;

-- name: remove_debounced_event
DELETE FROM debounced_events WHERE workflow = ? AND number = ? AND key = ?;

-- name: add_throttled_start
INSERT INTO throttled_starts (workflow, number, key, shard, expires_at) VALUES (?, ?, ?, ?, ?);

-- name: settle_event
-- One that the inbox has forgotten meanwhile stays forgotten.
UPDATE inbox SET outcome = ?, reason = ?, runs = ?, more = ?
WHERE source = ? AND id = ? AND kind = 'event';

-- name: prune_starts
DELETE FROM throttled_starts WHERE num IN (
  SELECT num FROM throttled_starts WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
);
