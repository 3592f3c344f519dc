-- name: make_instance
INSERT INTO journal (instance_id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM journal);

-- name: instance
SELECT instance_id, forgotten FROM journal;

-- name: receive
INSERT INTO commands (id, state, tombstone, command, traceparent, reply_to, received_at, issued_at, result)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: find
SELECT state, tombstone, result, command, traceparent, started_at FROM commands WHERE id = ?;

-- name: reopen
UPDATE commands SET state = 'started', result = NULL
WHERE id = ? AND state IN ('finished', 'published') AND command IS NOT NULL;

-- name: start
UPDATE commands SET state = 'started', started_at = ? WHERE id = ? AND state = 'received';

-- name: finish
UPDATE commands SET state = 'finished', result = ?, command = NULL WHERE id = ? AND state IN ('received', 'started');

-- name: lose
UPDATE commands SET state = 'finished', result = ? WHERE id = ? AND state IN ('received', 'started');

-- name: publish
UPDATE commands SET state = 'published' WHERE id = ? AND state = 'finished';

-- name: unsettled
SELECT seq, id, state, command, traceparent, reply_to, started_at, result
FROM commands WHERE state <> 'published' AND seq > ? ORDER BY seq LIMIT ?;

-- name: prune
-- Looks at the oldest rows only, so that it costs the same however long the journal is. A result that nobody
-- has taken yet goes only when there are too many.
DELETE FROM commands WHERE seq IN (
  SELECT seq FROM (SELECT seq, state, received_at FROM commands ORDER BY seq LIMIT :batch)
  WHERE (state = 'published' AND received_at < :before)
    OR (state IN ('finished', 'published') AND seq <= (SELECT max(seq) FROM commands) - :keep)
) RETURNING issued_at;

-- name: forget
UPDATE journal SET forgotten = max(forgotten, ?);
