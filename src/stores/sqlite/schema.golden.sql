CREATE INDEX attempts_of_row ON attempts (run, ordinal, submission);

CREATE INDEX events_of_run ON events (run, number);

CREATE INDEX flawed_attempts ON attempts (run) WHERE outcome = 'succeeded'
  AND (stop_reason IN ('refusal', 'max_tokens', 'model_context_window_exceeded', 'pause_turn') OR schema_valid = 0);

CREATE INDEX open_submissions ON submissions (row_count)
  WHERE kind <> 'realtime' AND state IN ('planned', 'submitting', 'in_progress', 'canceling');

CREATE INDEX pending_rows ON row_states (lane, ordinal) WHERE state = 'pending';

CREATE INDEX runs_by_fingerprint ON runs (fingerprint);

CREATE INDEX waiting_rows ON row_states (run, not_before) WHERE state = 'pending' AND not_before IS NOT NULL;

CREATE TABLE attempts (
  number         INTEGER PRIMARY KEY,
  run            INTEGER NOT NULL,
  submission     INTEGER NOT NULL,
  ordinal        INTEGER NOT NULL,
  custom_id      TEXT NOT NULL,
  at             INTEGER NOT NULL,
  outcome        TEXT NOT NULL CHECK (outcome IN ('succeeded', 'errored', 'canceled', 'expired', 'invalid')),
  stop_reason    TEXT,
  error_type     TEXT,
  error_message  TEXT,
  result_file    INTEGER,
  result_offset  INTEGER,
  result_length  INTEGER,
  result_digest  TEXT NOT NULL,
  schema_valid   INTEGER CHECK (schema_valid IN (0, 1)),
  schema_problem TEXT,
  score          REAL,
  UNIQUE (run, submission, ordinal),
  FOREIGN KEY (run, submission, ordinal) REFERENCES submission_rows (run, submission, ordinal)
) STRICT;

CREATE TABLE blocks (
  run    INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  hash   TEXT NOT NULL,
  file   INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  PRIMARY KEY (run, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
  attempt               INTEGER PRIMARY KEY REFERENCES attempts (number),
  upstream_batch_id     TEXT,
  custom_id             TEXT NOT NULL,
  at                    INTEGER NOT NULL,
  model                 TEXT NOT NULL,
  input_tokens          INTEGER NOT NULL,
  cache_write_5m_tokens INTEGER NOT NULL,
  cache_write_1h_tokens INTEGER NOT NULL,
  cache_read_tokens     INTEGER NOT NULL,
  output_tokens         INTEGER NOT NULL,
  web_search_requests   INTEGER NOT NULL,
  service_tier          TEXT NOT NULL,
  inference_geo         TEXT,
  speed                 TEXT NOT NULL,
  cost_pico_usd         INTEGER,        -- NULL: unpriced, never zero
  realtime_pico_usd     INTEGER,
  certainty             TEXT NOT NULL CHECK (certainty IN ('measured', 'simulated', 'assumed')),
  price_book            TEXT NOT NULL,
  kind                  TEXT NOT NULL CHECK (kind IN ('paid', 'duplicate'))
) STRICT;

CREATE TABLE events (
  number     INTEGER PRIMARY KEY,
  run        INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  at         INTEGER NOT NULL,
  submission INTEGER NOT NULL,          -- 0 for events of the whole run
  kind       TEXT NOT NULL,
  detail     TEXT NOT NULL
) STRICT;

CREATE TABLE input_rows (
  run                INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  ordinal            INTEGER NOT NULL,
  user_id            TEXT NOT NULL,
  line               INTEGER,
  request_file       INTEGER NOT NULL,
  request_offset     INTEGER NOT NULL,
  request_length     INTEGER NOT NULL,
  params_bytes       INTEGER NOT NULL,
  columns_file       INTEGER NOT NULL,
  columns_offset     INTEGER NOT NULL,
  columns_length     INTEGER NOT NULL,
  prompt_tokens      INTEGER NOT NULL,
  prompt_tokens_high INTEGER NOT NULL,
  max_tokens         INTEGER NOT NULL,
  expected_json      TEXT,
  invalid_problem    TEXT,
  prefixes_json      TEXT NOT NULL, web_searches_max INTEGER DEFAULT 0, inference_geo TEXT, speed TEXT NOT NULL DEFAULT 'standard', own_mark_ttl TEXT DEFAULT '1h',
  PRIMARY KEY (run, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
  lane         INTEGER PRIMARY KEY,
  run          INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  variant      TEXT NOT NULL,
  model        TEXT NOT NULL,
  prefix_group TEXT NOT NULL,           -- '' for rows that share nothing
  UNIQUE (run, variant, model, prefix_group)
) STRICT;

CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT;

CREATE TABLE "row_states" (
  run           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  lane          INTEGER NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('pending', 'submitted', 'done')),
  attempts      INTEGER NOT NULL,
  not_before    INTEGER,
  submission    INTEGER,                  -- submitted: the one that holds it; done: the one that decided it
  outcome       TEXT CHECK (outcome IN ('succeeded', 'errored', 'canceled', 'expired', 'invalid', 'unretrievable')),
  revision_json TEXT, attempts_before INTEGER NOT NULL DEFAULT 0,                     -- how the next attempt differs from the row as rendered
  PRIMARY KEY (run, ordinal),
  FOREIGN KEY (run, ordinal) REFERENCES input_rows (run, ordinal) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  number          INTEGER PRIMARY KEY,  -- stands for the id in every other table, which would carry it a million times
  id              TEXT NOT NULL UNIQUE,
  state           TEXT NOT NULL CHECK (state IN ('preparing', 'running', 'stopped', 'finished', 'canceled')),
  fence           INTEGER NOT NULL DEFAULT 0,
  lease_holder    TEXT,
  lease_until     INTEGER,
  fingerprint     TEXT NOT NULL,
  name            TEXT NOT NULL,
  job_path        TEXT,
  created_at      INTEGER NOT NULL,     -- every instant: epoch milliseconds
  finished_at     INTEGER,
  stop_reason     TEXT,
  upstream        TEXT NOT NULL,
  upstream_kind   TEXT NOT NULL CHECK (upstream_kind IN ('local', 'anthropic')),
  organization_id TEXT,
  workspace_id    TEXT,
  row_count       INTEGER NOT NULL,
  settings_json   TEXT NOT NULL,
  plan_json       TEXT NOT NULL
, forgotten_at INTEGER) STRICT;

CREATE TABLE submission_rows (
  run        INTEGER NOT NULL,
  submission INTEGER NOT NULL,
  ordinal    INTEGER NOT NULL,
  PRIMARY KEY (run, submission, ordinal),
  FOREIGN KEY (run, submission) REFERENCES submissions (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE submissions (
  run               INTEGER NOT NULL REFERENCES runs (number),
  number            INTEGER NOT NULL,
  wave              INTEGER NOT NULL,
  kind              TEXT NOT NULL CHECK (kind IN ('primer', 'probe', 'bulk', 'retry', 'realtime')),
  variant           TEXT NOT NULL,
  state             TEXT NOT NULL CHECK (state IN ('planned', 'submitting', 'in_progress', 'canceling', 'ended',
                                                   'ingested', 'refused', 'lost')),
  row_count         INTEGER NOT NULL,
  ingested_rows     INTEGER NOT NULL DEFAULT 0,
  size_bytes        INTEGER NOT NULL,
  fingerprint       TEXT,
  intent_at         INTEGER,
  newest_id_before  TEXT,
  upstream_batch_id TEXT,
  created_at        INTEGER,
  ended_at          INTEGER,
  expires_at        INTEGER,
  next_poll_at      INTEGER,
  because           TEXT,
  marks_json        TEXT NOT NULL, server_intent_at INTEGER, organization_id TEXT, workspace_id TEXT, cancel_initiated_at INTEGER, counts_json TEXT, is_duplicate INTEGER NOT NULL DEFAULT 0 CHECK (is_duplicate IN (0, 1)), answers_for INTEGER, deleted_at INTEGER,
  PRIMARY KEY (run, number)
) STRICT;

CREATE VIEW v_ledger AS
SELECT
  runs.id AS run,
  a.submission,
  a.ordinal,
  r.user_id,
  e.upstream_batch_id,
  e.custom_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', e.at / 1000.0, 'unixepoch') AS at,
  e.model,
  e.input_tokens + e.cache_write_5m_tokens + e.cache_write_1h_tokens + e.cache_read_tokens AS prompt_tokens,
  e.input_tokens,
  e.cache_write_5m_tokens,
  e.cache_write_1h_tokens,
  e.cache_read_tokens,
  e.output_tokens,
  e.web_search_requests,
  e.service_tier,
  e.inference_geo,
  e.speed,
  e.cost_pico_usd,
  e.realtime_pico_usd,
  e.cost_pico_usd / 1e12 AS cost_usd,
  e.realtime_pico_usd / 1e12 AS realtime_usd,
  e.certainty,
  e.price_book,
  e.kind
FROM entries AS e
JOIN attempts AS a ON a.number = e.attempt
JOIN runs ON runs.number = a.run
JOIN input_rows AS r ON r.run = a.run AND r.ordinal = a.ordinal;

CREATE VIEW v_rows AS
SELECT
  runs.id AS run,
  s.ordinal,
  r.user_id,
  r.line,
  lanes.model,
  s.state,
  s.outcome,
  s.attempts,
  a.stop_reason,
  a.error_type,
  coalesce(a.error_message, r.invalid_problem) AS problem,
  a.schema_valid,
  a.score,
  s.submission,
  b.upstream_batch_id,
  a.custom_id,
  -- 0 when nothing was billed, NULL when something was that has no price.
  (SELECT CASE WHEN count(*) = count(e.cost_pico_usd) THEN total(e.cost_pico_usd) / 1e12 END
   FROM attempts AS every JOIN entries AS e ON e.attempt = every.number
   WHERE every.run = s.run AND every.ordinal = s.ordinal) AS cost_usd
FROM row_states AS s
JOIN runs ON runs.number = s.run
JOIN input_rows AS r ON r.run = s.run AND r.ordinal = s.ordinal
JOIN lanes ON lanes.lane = s.lane
LEFT JOIN submissions AS b ON b.run = s.run AND b.number = s.submission
LEFT JOIN attempts AS a ON s.state = 'done' AND a.run = s.run AND a.submission = s.submission AND a.ordinal = s.ordinal;
