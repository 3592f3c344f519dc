PRAGMA application_id = 1111577678;
PRAGMA user_version = 3;
CREATE TABLE shards (
  shard TEXT NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL,
  telemetry_cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE definitions (
  version TEXT NOT NULL PRIMARY KEY,
  workflow TEXT NOT NULL,
  document BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE TABLE current_definitions (
  workflow TEXT NOT NULL PRIMARY KEY,
  version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
  state BLOB NOT NULL, parent TEXT NOT NULL DEFAULT '', waiting TEXT NOT NULL DEFAULT ''
  CHECK (waiting IN ('', 'event', 'person', 'time', 'child', 'parent', 'slot')), group_name TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 5,
  CHECK ((ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'compensated', 'cancelled'))),
  CHECK (ended_at IS NULL OR wake_at IS NULL)
) STRICT;
CREATE UNIQUE INDEX runs_live_key ON runs (workflow, key) WHERE ended_at IS NULL AND key <> '';
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_status ON runs (status);
CREATE INDEX runs_workflow_status ON runs (workflow, status);
CREATE INDEX runs_key ON runs (key) WHERE key <> '';
CREATE TABLE run_heads (
  num INTEGER PRIMARY KEY,
  head BLOB NOT NULL
) STRICT;
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
CREATE TABLE agents (
  name TEXT NOT NULL PRIMARY KEY,
  shard TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  presence BLOB NOT NULL
, instance_id TEXT NOT NULL DEFAULT '', first_seen_at INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX runs_parent ON runs (parent) WHERE parent <> '';
CREATE TABLE signals (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  to_run TEXT NOT NULL,
  at INTEGER NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX signals_to ON signals (to_run);
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
CREATE TABLE kept_events (
  num INTEGER PRIMARY KEY,
  shard TEXT NOT NULL,
  topic TEXT NOT NULL,
  value TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  event BLOB NOT NULL
) STRICT;
CREATE INDEX kept_for ON kept_events (topic, value);
CREATE TABLE "inbox" (
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
CREATE UNIQUE INDEX inbox_event ON inbox (source, id) WHERE kind = 'event';
CREATE INDEX inbox_outcome ON inbox (outcome);
CREATE INDEX runs_group ON runs (group_name) WHERE group_name <> '' AND ended_at IS NULL;
CREATE TABLE schedules (
  workflow TEXT NOT NULL,
  number INTEGER NOT NULL,
  shard TEXT NOT NULL,
  cron TEXT NOT NULL,
  timezone TEXT NOT NULL,
  next_at INTEGER NOT NULL,
  PRIMARY KEY (workflow, number)
) STRICT, WITHOUT ROWID;
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
INSERT INTO shards VALUES ('0', 1, 3);
INSERT INTO definitions VALUES ('f83a1026abc7bbabba5bbe4061508561911905dfb3398131b158bf92f175128d', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"b","action":"do.b","target":"host-1","with":{"n":"${{ steps.a.output.n + input.n }}"},"compensate":{"action":"undo.b"}},{"id":"c","action":"do.c","target":"host-1","compensate":{"action":"undo.c"}}],"output":"${{ steps.c.output.n }}"}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('3a85ec643a3bd672d4206bba7966051da9e908e0def8b0dc806fe86b209e5568', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"b","action":"do.b","target":"host-1","needs":["a"],"compensate":{"action":"undo.b"}},{"id":"c","action":"do.c","target":"host-1","needs":["a"]},{"id":"d","action":"do.d","target":"host-1","needs":["b","c"],"compensate":{"action":"undo.d"}},{"id":"e","action":"do.e","target":"host-1","compensate":{"action":"undo.e"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('6d3ea62204649461b156249125c949cba38442d0b152122e75950113f55cfd9f', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('fcacf02ce73b5ec2cd50ab7e1fb3dcfafaa15ac48415b18badc25b067ae0c5e0', 'test', CAST('{"workflow":"test","steps":[{"id":"s","action":"do.s","target":{"labels":{"role":"web"},"all":true},"rollout":{"batch":"50%","pause":"2m","max_failures":1},"with":{"me":"${{ host.name }}"},"compensate":{"action":"undo.s"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('b15add9bafa9b784820848e565a5257eb7e839963a2144ceca20741920fb97b5', 'test', CAST('{"workflow":"test","steps":[{"id":"s","action":"do.s","target":"host-1","foreach":"input.list","max_parallel":2,"with":{"n":"${{ item }}"},"compensate":{"action":"undo.s"}},{"id":"t","action":"do.t","target":"host-1","compensate":{"action":"undo.t"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('8aebd9a9473e166f1026c6f4f98a71e5f3816ccd1478d87f112544a967cc5d9a', 'test', CAST('{"workflow":"test","steps":[{"id":"w","wait_for":{"event":"paid","correlate":{"from":"event.data.order","expect":"input.order"},"if":"event.data.ok","timeout":"1h"}},{"id":"b","action":"do.b","target":"host-1","compensate":{"action":"undo.b"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('1ffde8e599c9210e75451b708205ecd0094e27614983c408d800bdb2ea3899ce', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"call","workflow":"inner","with":{"n":1}},{"id":"z","action":"do.z","target":"host-1","compensate":{"action":"undo.z"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('d8668d1ebcf0dd64a6c8ddafc82140e9b1ddb99404ab31f48b9ac9775fce4167', 'test', CAST('{"workflow":"test","steps":[{"id":"x","action":"do.x","target":"host-1","compensate":{"action":"undo.x"}}],"output":{"n":1}}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('0bc2f93dbbded9004ca45646469057694cf670a3bf518335a92dbe9d61bd5384', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}}],"timeout":"5m","priority":7}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('0f631deee1001227ecb1c565bc9a0168d1abd24b88a8277f56924e38022a3c63', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"b","action":"do.b","target":"host-1","retry":{"attempts":3,"delay":"1h","max_delay":"1h"},"compensate":{"action":"undo.b"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('b1df8ffa5a689947a21441f65a0e1ef16aa1bfaa24840f3a28be57b30cbaf709', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"p","action":"do.p","target":"host-1","compensate":{"action":"undo.p"},"pivot":true},{"id":"c","action":"do.c","target":"host-1","compensate":{"action":"undo.c"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('2cc034c1eb561a0431561767087556899c5d9d7a36cdb3f7907a4e1495622e35', 'test', CAST('{"workflow":"test","steps":[{"id":"a","action":"do.a","target":"host-1","compensate":{"action":"undo.a"}},{"id":"b","action":"do.b","target":"host-1","needs":["a"],"compensate":{"action":"undo.b"}},{"id":"c","action":"do.c","target":"host-1","needs":["a"],"compensate":{"action":"undo.c"}},{"id":"d","action":"do.d","target":"host-1","compensate":{"action":"undo.d"}}]}' AS BLOB), 1700000000000000);
INSERT INTO definitions VALUES ('ac96b47873fcd2aa134a41e2e291ab09b980684ef17c5dac8fafac500b02637c', 'test', CAST('{"workflow":"test","steps":[{"id":"p","approve":{"by":["ann"],"message":"go to ${{ input.v }}?"}},{"id":"q","approve":{"timeout":"1h","on_timeout":"approve"}},{"id":"r","approve":{}}]}' AS BLOB), 1700000000000000);
INSERT INTO current_definitions VALUES ('test', 'ac96b47873fcd2aa134a41e2e291ab09b980684ef17c5dac8fafac500b02637c');
INSERT INTO runs VALUES (1, '0', 'linear', 'test', 'f83a1026abc7bbabba5bbe4061508561911905dfb3398131b158bf92f175128d', 'key of linear', 'abababababababababababababababab', 1700000000000000, 'succeeded', '', 1700000000000000, NULL, 8, CAST('{"steps":{"a":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":2}}],"b":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":2}}],"c":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":2}}]},"seq":8,"output":2,"ended":"succeeded","ended_at":1700000000000000}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (2, '0', 'undo_of_a_diamond', 'test', '3a85ec643a3bd672d4206bba7966051da9e908e0def8b0dc806fe86b209e5568', 'key of undo_of_a_diamond', 'abababababababababababababababab', 1700000000000000, 'compensating', 'it broke', NULL, 1700000690000000, 15, CAST('{"steps":{"a":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}],"b":[{"status":"compensating","undoing":true,"attempt":1,"undo_attempt":1,"command_id":"run/b/0/1/compensate","target":"agent.host-1","agent":"host-1","effect_agent":"host-1","due":1700000690000000,"started_at":1700000000000000,"ended_at":1700000000000000,"undo_started_at":1700000000000000,"effect":true}],"c":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}],"d":[{"status":"compensated","undoing":true,"attempt":1,"undo_attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"undo_started_at":1700000000000000,"undo_ended_at":1700000000000000,"effect":true}],"e":[{"status":"failed","attempt":1,"target":"agent.host-1","agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"error":{"code":"no_space","message":"it broke"}}]},"seq":15,"failure":{"step":"e","code":"no_space","message":"it broke"},"reason":"it broke"}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (3, '0', 'in_doubt', 'test', '6d3ea62204649461b156249125c949cba38442d0b152122e75950113f55cfd9f', 'key of in_doubt', 'abababababababababababababababab', 1700000000000000, 'attention', '', NULL, 1700000820000000, 5, CAST('{"steps":{"a":[{"status":"in_doubt","attempt":1,"command_id":"run/a/0/1/execute","target":"agent.host-1","due":1700000820000000,"started_at":1700000000000000,"queries":2}]},"seq":5}' AS BLOB), '', 'person', '', 5);
INSERT INTO runs VALUES (4, '0', 'rollout', 'test', 'fcacf02ce73b5ec2cd50ab7e1fb3dcfafaa15ac48415b18badc25b067ae0c5e0', 'key of rollout', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, 1700000810000000, 10, CAST('{"steps":{"s":[{"status":"failed","attempt":1,"target":"agent.w0","agent":"w0","instance":"i0","part":true,"host":"w0","labels":{"role":"web"},"started_at":1700000000000000,"ended_at":1700000000000000,"tolerated":true,"error":{"code":"broken","message":"it broke"}},{"status":"succeeded","attempt":1,"target":"agent.w1","agent":"w1","effect_agent":"w1","instance":"i1","part":true,"host":"w1","labels":{"role":"web"},"started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":1}},{"status":"running","attempt":1,"command_id":"run/s/2/1/execute","target":"agent.w2","instance":"i2","part":true,"host":"w2","labels":{"role":"web"},"batch":1,"due":1700000810000000,"started_at":1700000120000000},{"status":"running","attempt":1,"command_id":"run/s/3/1/execute","target":"agent.w3","instance":"i3","part":true,"host":"w3","labels":{"role":"web"},"batch":1,"due":1700000810000000,"started_at":1700000120000000}]},"seq":10}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (5, '0', 'foreach', 'test', 'b15add9bafa9b784820848e565a5257eb7e839963a2144ceca20741920fb97b5', 'key of foreach', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, 1700000690000000, 6, CAST('{"steps":{"s":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","part":true,"item":1,"started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":0}},{"status":"running","attempt":1,"command_id":"run/s/1/1/execute","target":"agent.host-1","part":true,"item":2,"due":1700000690000000,"started_at":1700000000000000},{"status":"running","attempt":1,"command_id":"run/s/2/1/execute","target":"agent.host-1","part":true,"item":3,"due":1700000690000000,"started_at":1700000000000000}],"t":[{}]},"seq":6}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (6, '0', 'events', 'test', '8aebd9a9473e166f1026c6f4f98a71e5f3816ccd1478d87f112544a967cc5d9a', 'key of events', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, 1700003600000000, 2, CAST('{"steps":{"w":[{"status":"running","attempt":1,"wait":{"on":"event","topic":"paid\nevent.data.order","value":"7"},"due":1700003600000000,"started_at":1700000000000000}],"b":[{}]},"seq":2}' AS BLOB), '', 'event', '', 5);
INSERT INTO runs VALUES (7, '0', 'parent', 'test', '1ffde8e599c9210e75451b708205ecd0094e27614983c408d800bdb2ea3899ce', 'key of parent', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, 1700000690000000, 6, CAST('{"steps":{"a":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}],"call":[{"status":"succeeded","attempt":1,"child":"d366325f-c672-390e-e186-4b400872f3e7","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true,"output":{"n":2}}],"z":[{"status":"running","attempt":1,"command_id":"run/z/0/1/execute","target":"agent.host-1","due":1700000690000000,"started_at":1700000000000000}]},"seq":6}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (8, '0', 'child_released', 'test', 'd8668d1ebcf0dd64a6c8ddafc82140e9b1ddb99404ab31f48b9ac9775fce4167', 'key of child_released', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, NULL, 4, CAST('{"steps":{"x":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}]},"seq":4,"held":true,"output":{"n":1}}' AS BLOB), 'above', 'parent', '', 5);
INSERT INTO runs VALUES (9, '0', 'queued', 'test', '0bc2f93dbbded9004ca45646469057694cf670a3bf518335a92dbe9d61bd5384', 'key of queued', 'abababababababababababababababab', 1700000000000000, 'queued', 'waits for room in group ', NULL, NULL, 1, CAST('{"steps":{},"seq":1,"queued":true,"reason":"waits for room in group "}' AS BLOB), '', 'slot', '', 5);
INSERT INTO runs VALUES (10, '0', 'paused', 'test', '0f631deee1001227ecb1c565bc9a0168d1abd24b88a8277f56924e38022a3c63', 'key of paused', 'abababababababababababababababab', 1700000000000000, 'paused', '', NULL, 1700000690000000, 3, CAST('{"steps":{"a":[{"status":"running","attempt":1,"command_id":"run/a/0/1/execute","target":"agent.host-1","due":1700000690000000,"started_at":1700000000000000}],"b":[{}]},"seq":3,"paused":true}' AS BLOB), '', 'person', '', 5);
INSERT INTO runs VALUES (11, '0', 'past_the_pivot', 'test', 'b1df8ffa5a689947a21441f65a0e1ef16aa1bfaa24840f3a28be57b30cbaf709', 'key of past_the_pivot', 'abababababababababababababababab', 1700000000000000, 'attention', '', NULL, NULL, 9, CAST('{"steps":{"a":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}],"p":[{"status":"succeeded","attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"effect":true}],"c":[{"status":"failed","attempt":1,"target":"agent.host-1","agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"parked":true,"error":{"code":"broken","message":"it broke"}}]},"seq":9,"pivoted":true}' AS BLOB), '', 'person', '', 5);
INSERT INTO runs VALUES (12, '0', 'compensated', 'test', '2cc034c1eb561a0431561767087556899c5d9d7a36cdb3f7907a4e1495622e35', 'key of compensated', 'abababababababababababababababab', 1700000000000000, 'compensating', 'it broke', NULL, 1700000690000000, 13, CAST('{"steps":{"a":[{"status":"compensating","undoing":true,"attempt":1,"undo_attempt":1,"command_id":"run/a/0/1/compensate","target":"agent.host-1","agent":"host-1","effect_agent":"host-1","due":1700000690000000,"started_at":1700000000000000,"ended_at":1700000000000000,"undo_started_at":1700000000000000,"effect":true}],"b":[{"status":"failed","attempt":1,"target":"agent.host-1","agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"error":{"code":"broken","message":"it broke"}}],"c":[{"status":"compensated","undoing":true,"attempt":1,"undo_attempt":1,"target":"agent.host-1","agent":"host-1","effect_agent":"host-1","started_at":1700000000000000,"ended_at":1700000000000000,"undo_started_at":1700000000000000,"undo_ended_at":1700000000000000,"effect":true,"error":{"code":"cancelled","message":"the agent said ''cancelled''"}}],"d":[{"status":"cancelled","ended_at":1700000000000000}]},"seq":13,"failure":{"step":"b","code":"broken","message":"it broke"},"reason":"it broke"}' AS BLOB), '', '', '', 5);
INSERT INTO runs VALUES (13, '0', 'approvals', 'test', 'ac96b47873fcd2aa134a41e2e291ab09b980684ef17c5dac8fafac500b02637c', 'key of approvals', 'abababababababababababababababab', 1700000000000000, 'running', '', NULL, 1700604800000000, 2, CAST('{"steps":{"p":[{"status":"running","attempt":1,"wait":{"on":"approval","message":"go to 2?"},"due":1700604800000000,"started_at":1700000000000000}],"q":[{}],"r":[{}]},"seq":2}' AS BLOB), '', 'person', '', 5);
INSERT INTO run_heads VALUES (1, CAST('{"id":"linear","workflow":"test","version":"f83a1026abc7bbabba5bbe4061508561911905dfb3398131b158bf92f175128d","key":"key of linear","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{"n":1}}' AS BLOB));
INSERT INTO run_heads VALUES (2, CAST('{"id":"undo_of_a_diamond","workflow":"test","version":"3a85ec643a3bd672d4206bba7966051da9e908e0def8b0dc806fe86b209e5568","key":"key of undo_of_a_diamond","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (3, CAST('{"id":"in_doubt","workflow":"test","version":"6d3ea62204649461b156249125c949cba38442d0b152122e75950113f55cfd9f","key":"key of in_doubt","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (4, CAST('{"id":"rollout","workflow":"test","version":"fcacf02ce73b5ec2cd50ab7e1fb3dcfafaa15ac48415b18badc25b067ae0c5e0","key":"key of rollout","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (5, CAST('{"id":"foreach","workflow":"test","version":"b15add9bafa9b784820848e565a5257eb7e839963a2144ceca20741920fb97b5","key":"key of foreach","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{"list":[1,2,3]}}' AS BLOB));
INSERT INTO run_heads VALUES (6, CAST('{"id":"events","workflow":"test","version":"8aebd9a9473e166f1026c6f4f98a71e5f3816ccd1478d87f112544a967cc5d9a","key":"key of events","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{"order":7}}' AS BLOB));
INSERT INTO run_heads VALUES (7, CAST('{"id":"parent","workflow":"test","version":"1ffde8e599c9210e75451b708205ecd0094e27614983c408d800bdb2ea3899ce","key":"key of parent","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (8, CAST('{"id":"child_released","workflow":"test","version":"d8668d1ebcf0dd64a6c8ddafc82140e9b1ddb99404ab31f48b9ac9775fce4167","key":"key of child_released","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{},"parent":{"run_id":"above","step":"call","host_index":0,"attempt":1,"depth":1}}' AS BLOB));
INSERT INTO run_heads VALUES (9, CAST('{"id":"queued","workflow":"test","version":"0bc2f93dbbded9004ca45646469057694cf670a3bf518335a92dbe9d61bd5384","key":"key of queued","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (10, CAST('{"id":"paused","workflow":"test","version":"0f631deee1001227ecb1c565bc9a0168d1abd24b88a8277f56924e38022a3c63","key":"key of paused","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (11, CAST('{"id":"past_the_pivot","workflow":"test","version":"b1df8ffa5a689947a21441f65a0e1ef16aa1bfaa24840f3a28be57b30cbaf709","key":"key of past_the_pivot","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (12, CAST('{"id":"compensated","workflow":"test","version":"2cc034c1eb561a0431561767087556899c5d9d7a36cdb3f7907a4e1495622e35","key":"key of compensated","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{}}' AS BLOB));
INSERT INTO run_heads VALUES (13, CAST('{"id":"approvals","workflow":"test","version":"ac96b47873fcd2aa134a41e2e291ab09b980684ef17c5dac8fafac500b02637c","key":"key of approvals","created_at":1700000000000000,"trace":{"trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd"},"input":{"v":"2"}}' AS BLOB));
INSERT INTO history VALUES (1, '0', 'linear', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","b","c"]}' AS BLOB));
INSERT INTO history VALUES (2, '0', 'linear', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (3, '0', 'linear', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agent":"host-1","output":{"n":2},"started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (4, '0', 'linear', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"b","host_index":0,"undo":false,"attempt":1,"command_id":"run/b/0/1/execute","action":"do.b","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (5, '0', 'linear', 5, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"b","host_index":0,"command_id":"run/b/0/1/execute","agent":"host-1","output":{"n":2},"started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (6, '0', 'linear', 6, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"c","host_index":0,"undo":false,"attempt":1,"command_id":"run/c/0/1/execute","action":"do.c","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (7, '0', 'linear', 7, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/execute","agent":"host-1","output":{"n":2},"started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (8, '0', 'linear', 8, 1700000000000000, 'run_ended', CAST('{"fact":"run_ended","at":1700000000000000,"status":"succeeded","output":2}' AS BLOB));
INSERT INTO history VALUES (9, '0', 'undo_of_a_diamond', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","b","c","d","e"]}' AS BLOB));
INSERT INTO history VALUES (10, '0', 'undo_of_a_diamond', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (11, '0', 'undo_of_a_diamond', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (12, '0', 'undo_of_a_diamond', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"b","host_index":0,"undo":false,"attempt":1,"command_id":"run/b/0/1/execute","action":"do.b","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (13, '0', 'undo_of_a_diamond', 5, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"c","host_index":0,"undo":false,"attempt":1,"command_id":"run/c/0/1/execute","action":"do.c","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (14, '0', 'undo_of_a_diamond', 6, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"b","host_index":0,"command_id":"run/b/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (15, '0', 'undo_of_a_diamond', 7, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (16, '0', 'undo_of_a_diamond', 8, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"d","host_index":0,"undo":false,"attempt":1,"command_id":"run/d/0/1/execute","action":"do.d","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (17, '0', 'undo_of_a_diamond', 9, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"d","host_index":0,"command_id":"run/d/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (18, '0', 'undo_of_a_diamond', 10, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"e","host_index":0,"undo":false,"attempt":1,"command_id":"run/e/0/1/execute","action":"do.e","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (19, '0', 'undo_of_a_diamond', 11, 1700000000000000, 'attempt_failed', CAST('{"fact":"attempt_failed","at":1700000000000000,"step":"e","host_index":0,"command_id":"run/e/0/1/execute","status":"failed","error":{"code":"no_space","message":"it broke"},"agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (20, '0', 'undo_of_a_diamond', 12, 1700000000000000, 'run_going_back', CAST('{"fact":"run_going_back","at":1700000000000000,"failure":{"step":"e","code":"no_space","message":"it broke"}}' AS BLOB));
INSERT INTO history VALUES (21, '0', 'undo_of_a_diamond', 13, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"d","host_index":0,"undo":true,"attempt":1,"command_id":"run/d/0/1/compensate","action":"undo.d","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (22, '0', 'undo_of_a_diamond', 14, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"d","host_index":0,"command_id":"run/d/0/1/compensate","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (23, '0', 'undo_of_a_diamond', 15, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"b","host_index":0,"undo":true,"attempt":1,"command_id":"run/b/0/1/compensate","action":"undo.b","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (24, '0', 'in_doubt', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a"]}' AS BLOB));
INSERT INTO history VALUES (25, '0', 'in_doubt', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (26, '0', 'in_doubt', 3, 1700000700000000, 'task_in_doubt', CAST('{"fact":"task_in_doubt","at":1700000700000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","why":"no answer within its time limit"}' AS BLOB));
INSERT INTO history VALUES (27, '0', 'in_doubt', 4, 1700000700000000, 'query_sent', CAST('{"fact":"query_sent","at":1700000700000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agents":["host-1"],"due":1700000730000000}' AS BLOB));
INSERT INTO history VALUES (28, '0', 'in_doubt', 5, 1700000760000000, 'query_sent', CAST('{"fact":"query_sent","at":1700000760000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agents":["host-1"],"due":1700000820000000}' AS BLOB));
INSERT INTO history VALUES (29, '0', 'rollout', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["s"]}' AS BLOB));
INSERT INTO history VALUES (30, '0', 'rollout', 2, 1700000000000000, 'step_expanded', CAST('{"fact":"step_expanded","at":1700000000000000,"step":"s","hosts":[{"name":"w0","labels":{"role":"web"}},{"name":"w1","labels":{"role":"web"}},{"name":"w2","labels":{"role":"web"},"batch":1},{"name":"w3","labels":{"role":"web"},"batch":1}]}' AS BLOB));
INSERT INTO history VALUES (31, '0', 'rollout', 3, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"s","host_index":0,"undo":false,"attempt":1,"command_id":"run/s/0/1/execute","action":"do.s","target":"agent.w0","due":1700000690000000,"instance":"i0"}' AS BLOB));
INSERT INTO history VALUES (32, '0', 'rollout', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"s","host_index":1,"undo":false,"attempt":1,"command_id":"run/s/1/1/execute","action":"do.s","target":"agent.w1","due":1700000690000000,"instance":"i1"}' AS BLOB));
INSERT INTO history VALUES (33, '0', 'rollout', 5, 1700000000000000, 'attempt_failed', CAST('{"fact":"attempt_failed","at":1700000000000000,"step":"s","host_index":0,"command_id":"run/s/0/1/execute","status":"failed","error":{"code":"broken","message":"it broke"},"agent":"w0","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (34, '0', 'rollout', 6, 1700000000000000, 'failure_tolerated', CAST('{"fact":"failure_tolerated","at":1700000000000000,"step":"s","host_index":0}' AS BLOB));
INSERT INTO history VALUES (35, '0', 'rollout', 7, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"s","host_index":1,"command_id":"run/s/1/1/execute","agent":"w1","output":{"n":1},"started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (36, '0', 'rollout', 8, 1700000000000000, 'batch_paused', CAST('{"fact":"batch_paused","at":1700000000000000,"step":"s","batch":0,"until":1700000120000000}' AS BLOB));
INSERT INTO history VALUES (37, '0', 'rollout', 9, 1700000120000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000120000000,"step":"s","host_index":2,"undo":false,"attempt":1,"command_id":"run/s/2/1/execute","action":"do.s","target":"agent.w2","due":1700000810000000,"instance":"i2"}' AS BLOB));
INSERT INTO history VALUES (38, '0', 'rollout', 10, 1700000120000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000120000000,"step":"s","host_index":3,"undo":false,"attempt":1,"command_id":"run/s/3/1/execute","action":"do.s","target":"agent.w3","due":1700000810000000,"instance":"i3"}' AS BLOB));
INSERT INTO history VALUES (39, '0', 'foreach', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["s","t"]}' AS BLOB));
INSERT INTO history VALUES (40, '0', 'foreach', 2, 1700000000000000, 'step_expanded', CAST('{"fact":"step_expanded","at":1700000000000000,"step":"s","items":[1,2,3]}' AS BLOB));
INSERT INTO history VALUES (41, '0', 'foreach', 3, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"s","host_index":0,"undo":false,"attempt":1,"command_id":"run/s/0/1/execute","action":"do.s","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (42, '0', 'foreach', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"s","host_index":1,"undo":false,"attempt":1,"command_id":"run/s/1/1/execute","action":"do.s","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (43, '0', 'foreach', 5, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"s","host_index":0,"command_id":"run/s/0/1/execute","agent":"host-1","output":{"n":0},"started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (44, '0', 'foreach', 6, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"s","host_index":2,"undo":false,"attempt":1,"command_id":"run/s/2/1/execute","action":"do.s","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (45, '0', 'events', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["w","b"]}' AS BLOB));
INSERT INTO history VALUES (46, '0', 'events', 2, 1700000000000000, 'task_waiting', CAST('{"fact":"task_waiting","at":1700000000000000,"step":"w","host_index":0,"attempt":1,"wait":{"on":"event","topic":"paid\nevent.data.order","value":"7"},"due":1700003600000000}' AS BLOB));
INSERT INTO history VALUES (47, '0', 'parent', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","call","z"]}' AS BLOB));
INSERT INTO history VALUES (48, '0', 'parent', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (49, '0', 'parent', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (50, '0', 'parent', 4, 1700000000000000, 'task_waiting', CAST('{"fact":"task_waiting","at":1700000000000000,"step":"call","host_index":0,"attempt":1,"wait":{"on":"child","child":"d366325f-c672-390e-e186-4b400872f3e7"}}' AS BLOB));
INSERT INTO history VALUES (51, '0', 'parent', 5, 1700000000000000, 'task_done', CAST('{"fact":"task_done","at":1700000000000000,"step":"call","host_index":0,"output":{"n":2}}' AS BLOB));
INSERT INTO history VALUES (52, '0', 'parent', 6, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"z","host_index":0,"undo":false,"attempt":1,"command_id":"run/z/0/1/execute","action":"do.z","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (53, '0', 'child_released', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["x"]}' AS BLOB));
INSERT INTO history VALUES (54, '0', 'child_released', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"x","host_index":0,"undo":false,"attempt":1,"command_id":"run/x/0/1/execute","action":"do.x","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (55, '0', 'child_released', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"x","host_index":0,"command_id":"run/x/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (56, '0', 'child_released', 4, 1700000000000000, 'run_held', CAST('{"fact":"run_held","at":1700000000000000,"output":{"n":1}}' AS BLOB));
INSERT INTO history VALUES (57, '0', 'queued', 1, 1700000000000000, 'run_queued', CAST('{"fact":"run_queued","at":1700000000000000,"group":""}' AS BLOB));
INSERT INTO history VALUES (58, '0', 'paused', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","b"]}' AS BLOB));
INSERT INTO history VALUES (59, '0', 'paused', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (60, '0', 'paused', 3, 1700000000000000, 'run_paused', CAST('{"fact":"run_paused","at":1700000000000000,"who":"ann","why":"change freeze"}' AS BLOB));
INSERT INTO history VALUES (61, '0', 'past_the_pivot', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","p","c"]}' AS BLOB));
INSERT INTO history VALUES (62, '0', 'past_the_pivot', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (63, '0', 'past_the_pivot', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (64, '0', 'past_the_pivot', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"p","host_index":0,"undo":false,"attempt":1,"command_id":"run/p/0/1/execute","action":"do.p","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (65, '0', 'past_the_pivot', 5, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"p","host_index":0,"command_id":"run/p/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (66, '0', 'past_the_pivot', 6, 1700000000000000, 'pivot_passed', CAST('{"fact":"pivot_passed","at":1700000000000000,"step":"p"}' AS BLOB));
INSERT INTO history VALUES (67, '0', 'past_the_pivot', 7, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"c","host_index":0,"undo":false,"attempt":1,"command_id":"run/c/0/1/execute","action":"do.c","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (68, '0', 'past_the_pivot', 8, 1700000000000000, 'attempt_failed', CAST('{"fact":"attempt_failed","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/execute","status":"failed","error":{"code":"broken","message":"it broke"},"agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (69, '0', 'past_the_pivot', 9, 1700000000000000, 'task_parked', CAST('{"fact":"task_parked","at":1700000000000000,"step":"c","host_index":0,"why":"broken: it broke"}' AS BLOB));
INSERT INTO history VALUES (70, '0', 'compensated', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["a","b","c","d"]}' AS BLOB));
INSERT INTO history VALUES (71, '0', 'compensated', 2, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":false,"attempt":1,"command_id":"run/a/0/1/execute","action":"do.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (72, '0', 'compensated', 3, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"a","host_index":0,"command_id":"run/a/0/1/execute","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (73, '0', 'compensated', 4, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"b","host_index":0,"undo":false,"attempt":1,"command_id":"run/b/0/1/execute","action":"do.b","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (74, '0', 'compensated', 5, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"c","host_index":0,"undo":false,"attempt":1,"command_id":"run/c/0/1/execute","action":"do.c","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (75, '0', 'compensated', 6, 1700000000000000, 'attempt_failed', CAST('{"fact":"attempt_failed","at":1700000000000000,"step":"b","host_index":0,"command_id":"run/b/0/1/execute","status":"failed","error":{"code":"broken","message":"it broke"},"agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (76, '0', 'compensated', 7, 1700000000000000, 'run_going_back', CAST('{"fact":"run_going_back","at":1700000000000000,"failure":{"step":"b","code":"broken","message":"it broke"}}' AS BLOB));
INSERT INTO history VALUES (77, '0', 'compensated', 8, 1700000000000000, 'cancel_sent', CAST('{"fact":"cancel_sent","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/execute","agent":"host-1"}' AS BLOB));
INSERT INTO history VALUES (78, '0', 'compensated', 9, 1700000000000000, 'task_cancelled', CAST('{"fact":"task_cancelled","at":1700000000000000,"step":"d","host_index":0}' AS BLOB));
INSERT INTO history VALUES (79, '0', 'compensated', 10, 1700000000000000, 'attempt_failed', CAST('{"fact":"attempt_failed","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/execute","status":"cancelled","error":{"code":"cancelled","message":"the agent said ''cancelled''"},"effect":true,"outcome":"cancelled","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (80, '0', 'compensated', 11, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"c","host_index":0,"undo":true,"attempt":1,"command_id":"run/c/0/1/compensate","action":"undo.c","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (81, '0', 'compensated', 12, 1700000000000000, 'attempt_succeeded', CAST('{"fact":"attempt_succeeded","at":1700000000000000,"step":"c","host_index":0,"command_id":"run/c/0/1/compensate","agent":"host-1","started_at":1700000000000000}' AS BLOB));
INSERT INTO history VALUES (82, '0', 'compensated', 13, 1700000000000000, 'attempt_sent', CAST('{"fact":"attempt_sent","at":1700000000000000,"step":"a","host_index":0,"undo":true,"attempt":1,"command_id":"run/a/0/1/compensate","action":"undo.a","target":"agent.host-1","due":1700000690000000}' AS BLOB));
INSERT INTO history VALUES (83, '0', 'approvals', 1, 1700000000000000, 'run_started', CAST('{"fact":"run_started","at":1700000000000000,"steps":["p","q","r"]}' AS BLOB));
INSERT INTO history VALUES (84, '0', 'approvals', 2, 1700000000000000, 'task_waiting', CAST('{"fact":"task_waiting","at":1700000000000000,"step":"p","host_index":0,"attempt":1,"wait":{"on":"approval","message":"go to 2?"},"due":1700604800000000}' AS BLOB));
INSERT INTO outbox VALUES (1, '0', 'baton.commands', 'agent.w1', CAST('{"id": 1}' AS BLOB), '{"traceparent":"t"}', 'application/json', 1700000000000000, NULL, 0);
INSERT INTO agents VALUES ('w1', '0', 1700000000000000, CAST('{"name":"w1","instance_id":"i-1","version":"0.1","at":"2023-11-14T22:13:20Z","pools":["p"],"labels":{"role":"web"},"actions":[{"name":"do.it"}]}' AS BLOB), 'i-1', 1700000000000000);
INSERT INTO signals VALUES (1, '0', 'child/3/0', 'parent', 1700000000000000, CAST('{"type":"child_ended","step":"call","host_index":0,"run_id":"child","outcome":"done","status":null,"output":{"n":2},"code":"","message":""}' AS BLOB));
INSERT INTO signals VALUES (2, '0', 'above/9/0', 'child_released', 1700000000000000, CAST('{"type":"release"}' AS BLOB));
INSERT INTO waits VALUES ('events', 'w', 0, '0', 'paid
event.data.order', '7', 1700000000000000);
INSERT INTO kept_events VALUES (1, '0', 'paid
event.data.order', '7', 1700000060000000, CAST('{"id":"9","source":"/shop","type":"paid","data":{"text":"žluťoučký 🐎"}}' AS BLOB));
INSERT INTO inbox VALUES (1, '0', 'event', '/shop', '1', 'paid', 1700000000000000, 'started', '', '["linear"]');
INSERT INTO inbox VALUES (2, '0', 'result', 'w1', 'run/a/0/1/execute', '', 1700000000000000, 'rejected', 'of no run', '[]');
