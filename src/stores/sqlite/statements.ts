// Every statement of the store. Those that write run under BEGIN IMMEDIATE, after FENCE_OF_RUN has shown that the writer
// still drives the run; together they are the audit of what may ever change. Columns are named as in `store.ts`, so that
// a row that was read is nearly a record.

// ——— Runs ———

/** The first statement of every fenced write. */
export const FENCE_OF_RUN = 'SELECT number, fence FROM runs WHERE id = ?'

export const INSERT_RUN = `
INSERT INTO runs (id, state, fingerprint, name, job_path, created_at, finished_at, stop_reason, upstream, upstream_kind,
                  organization_id, workspace_id, row_count, settings_json, plan_json)
VALUES (?, 'preparing', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

const RUN_COLUMNS = `
  id, fingerprint, name, job_path AS jobPath, created_at AS createdAt, finished_at AS finishedAt,
  forgotten_at AS forgottenAt, state,
  stop_reason AS stopReason, upstream, upstream_kind AS upstreamKind, organization_id AS organizationId,
  workspace_id AS workspaceId, settings_json AS settingsJson, plan_json AS planJson, row_count AS rows`

/** A prefix is typed by a person: compared as text, never as a pattern. */
export const RUNS_BY_PREFIX = `
SELECT ${RUN_COLUMNS} FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY created_at DESC, number DESC`

export const NEWEST_RUN_BY_FINGERPRINT = `
SELECT ${RUN_COLUMNS} FROM runs WHERE fingerprint = ? AND state <> 'canceled'
ORDER BY created_at DESC, number DESC LIMIT 1`

/** Takes its rows, lanes, blocks and events along. Cannot reach a run that has sent anything. */
export const DELETE_PREPARING_RUN = "DELETE FROM runs WHERE id = ? AND state = 'preparing'"

/** Compare-and-set. */
export const START_RUN = `
UPDATE runs SET state = 'running', plan_json = ?, row_count = ? WHERE number = ? AND state = 'preparing'`

/** Compare-and-set: the states to come from are a JSON array. */
export const SET_RUN_STATE = `
UPDATE runs SET state = ?1, stop_reason = ?2, finished_at = CASE WHEN ?1 IN ('finished', 'canceled') THEN ?3 END
WHERE number = ?4 AND state IN (SELECT value FROM json_each(?5))`

export const SAVE_SETTINGS = 'UPDATE runs SET settings_json = ? WHERE number = ?'

export const SAVE_PLAN = 'UPDATE runs SET plan_json = ? WHERE number = ?'

export const WORKSPACE_OF_RUN = `
SELECT organization_id AS organizationId, workspace_id AS workspaceId FROM runs WHERE number = ?`

/** What is recorded stays. */
export const RECORD_WORKSPACE = `
UPDATE runs SET organization_id = coalesce(organization_id, ?), workspace_id = coalesce(workspace_id, ?)
WHERE number = ?`

// ——— Lease ———

export const LEASE_OF_RUN = `
SELECT number, fence, lease_holder AS holder, lease_until AS until FROM runs WHERE id = ?`

/** Raises the fence, so that whoever held the run before can write no more. */
export const TAKE_LEASE = `
UPDATE runs SET fence = fence + 1, lease_holder = ?, lease_until = ? WHERE number = ?`

/** Never revives a lease that was released. */
export const RENEW_LEASE = 'UPDATE runs SET lease_until = ? WHERE number = ? AND lease_holder IS NOT NULL'

export const RELEASE_LEASE = `
UPDATE runs SET lease_holder = NULL, lease_until = NULL WHERE id = ? AND fence = ?`

export const LEASE_HOLDER = `
SELECT lease_holder AS holder, lease_until AS until FROM runs WHERE id = ? AND lease_holder IS NOT NULL`

// ——— Rows ———

export const INSERT_ROW = `
INSERT INTO input_rows (run, ordinal, user_id, line, request_file, request_offset, request_length, params_bytes,
                        columns_file, columns_offset, columns_length, prompt_tokens, prompt_tokens_high, max_tokens,
                        expected_json, invalid_problem, prefixes_json, web_searches_max, inference_geo,
                        speed, own_mark_ttl)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

export const INSERT_ROW_STATE = `
INSERT INTO row_states (run, ordinal, lane, state, attempts, outcome) VALUES (?, ?, ?, ?, 0, ?)`

export const INSERT_LANE = `
INSERT INTO lanes (run, variant, model, prefix_group) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`

export const LANE_BY_NAMES = `
SELECT lane FROM lanes WHERE run = ? AND variant = ? AND model = ? AND prefix_group = ?`

export const LANE_OF_ROW = `
SELECT lanes.lane, lanes.variant, lanes.model
FROM row_states JOIN lanes USING (lane) WHERE row_states.run = ? AND row_states.ordinal = ?`

export const SET_LANE = 'UPDATE row_states SET lane = ? WHERE run = ? AND ordinal = ?'

const ROW_COLUMNS = `
  s.ordinal, r.user_id AS userId, r.line, lanes.model, lanes.variant, r.request_file AS requestFile,
  r.request_offset AS requestOffset, r.request_length AS requestLength, r.params_bytes AS paramsBytes,
  r.columns_file AS columnsFile, r.columns_offset AS columnsOffset, r.columns_length AS columnsLength,
  r.expected_json AS expectedJson, r.prefixes_json AS prefixesJson, r.prompt_tokens AS promptTokens,
  r.prompt_tokens_high AS promptTokensHigh, r.max_tokens AS maxTokens, r.web_searches_max AS webSearchesMax,
  r.inference_geo AS inferenceGeo, r.speed, r.own_mark_ttl AS ownMarkTtl, r.invalid_problem AS invalidProblem, s.state,
  lanes.prefix_group AS prefixGroup, s.attempts, s.attempts_before AS attemptsBefore, s.not_before AS notBefore, s.revision_json AS revisionJson, s.outcome, s.submission`

const ROW_TABLES = `
  row_states AS s
  CROSS JOIN input_rows AS r ON r.run = s.run AND r.ordinal = s.ordinal
  CROSS JOIN lanes ON lanes.lane = s.lane`

/** CROSS JOIN fixes the order of the join here and below: one range of the primary key, then one look-up a row. */
export const ROWS_AFTER = `
SELECT ${ROW_COLUMNS} FROM ${ROW_TABLES} WHERE s.run = ? AND s.ordinal > ? ORDER BY s.ordinal LIMIT ?`

/** In the order asked; the ordinals are a JSON array. */
export const ROWS_BY_ORDINAL = `
SELECT ${ROW_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN ${ROW_TABLES}
WHERE s.run = ? AND s.ordinal = wanted.value ORDER BY wanted.key`

const PENDING_COLUMNS = `
  s.ordinal, lanes.variant, lanes.model, lanes.prefix_group AS prefixGroup, r.params_bytes AS paramsBytes,
  r.prompt_tokens AS promptTokens, r.prompt_tokens_high AS promptTokensHigh, r.max_tokens AS maxTokens,
  r.web_searches_max AS webSearchesMax, r.inference_geo AS inferenceGeo, r.speed, r.own_mark_ttl AS ownMarkTtl,
  r.user_id AS userId, s.attempts, s.revision_json AS revisionJson`

const PENDING_TABLES = `
  lanes
  CROSS JOIN row_states AS s INDEXED BY pending_rows ON s.lane = lanes.lane AND s.state = 'pending'
  CROSS JOIN input_rows AS r ON r.run = s.run AND r.ordinal = s.ordinal`

/** The rest of the lane in which the page before ended: a range of the partial index. */
export const PENDING_ROWS_OF_LANE = `
SELECT ${PENDING_COLUMNS} FROM ${PENDING_TABLES}
WHERE lanes.run = ? AND lanes.variant = ? AND lanes.model = ? AND lanes.prefix_group = ? AND s.ordinal > ?
  AND (s.not_before IS NULL OR s.not_before <= ?)
ORDER BY s.ordinal LIMIT ?`

/** The lanes after that one, in the order of their unique index: nothing is sorted (sqlite-store.test.ts looks). */
export const PENDING_ROWS_AFTER_LANE = `
SELECT ${PENDING_COLUMNS} FROM ${PENDING_TABLES}
WHERE lanes.run = ? AND (lanes.variant, lanes.model, lanes.prefix_group) > (?, ?, ?)
  AND (s.not_before IS NULL OR s.not_before <= ?)
ORDER BY lanes.variant, lanes.model, lanes.prefix_group, s.ordinal LIMIT ?`

export const NEXT_ROW_AT = `
SELECT min(not_before) AS at FROM row_states
WHERE run = ? AND state = 'pending' AND not_before IS NOT NULL AND not_before > ?`

/** One pass over narrow rows; a GROUP BY takes twice as long. */
export const COUNT_ROWS = `
SELECT
  count(*) FILTER (WHERE state = 'pending') AS pending,
  count(*) FILTER (WHERE state = 'submitted') AS submitted,
  count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
  count(*) FILTER (WHERE outcome = 'errored') AS errored,
  count(*) FILTER (WHERE outcome = 'canceled') AS canceled,
  count(*) FILTER (WHERE outcome = 'expired') AS expired,
  count(*) FILTER (WHERE outcome = 'invalid') AS invalid,
  count(*) FILTER (WHERE outcome = 'unretrievable') AS unretrievable
FROM row_states WHERE run = ?`

/** Among deciding attempts that succeeded; from the partial index of the flawed ones. */
export const COUNT_FLAWS = `
SELECT
  count(*) FILTER (WHERE a.stop_reason = 'refusal') AS refused,
  count(*) FILTER (WHERE a.stop_reason IN ('max_tokens', 'model_context_window_exceeded')) AS truncated,
  count(*) FILTER (WHERE a.schema_valid = 0) AS schemaInvalid,
  count(*) FILTER (WHERE a.stop_reason = 'pause_turn') AS unfinished
FROM attempts AS a INDEXED BY flawed_attempts
CROSS JOIN row_states AS s ON s.run = a.run AND s.ordinal = a.ordinal
WHERE a.run = ? AND a.outcome = 'succeeded'
  AND (a.stop_reason IN ('refusal', 'max_tokens', 'model_context_window_exceeded', 'pause_turn') OR a.schema_valid = 0)
  AND s.state = 'done' AND s.submission = a.submission`

/** The same of one submission, with its outcomes. */
export const COUNT_ATTEMPTS = `
SELECT
  count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
  count(*) FILTER (WHERE outcome = 'errored') AS errored,
  count(*) FILTER (WHERE outcome = 'canceled') AS canceled,
  count(*) FILTER (WHERE outcome = 'expired') AS expired,
  count(*) FILTER (WHERE outcome = 'invalid') AS invalid,
  count(*) FILTER (WHERE outcome = 'succeeded' AND stop_reason = 'refusal') AS refused,
  count(*) FILTER (
    WHERE outcome = 'succeeded' AND stop_reason IN ('max_tokens', 'model_context_window_exceeded')) AS truncated,
  count(*) FILTER (WHERE outcome = 'succeeded' AND schema_valid = 0) AS schemaInvalid,
  count(*) FILTER (WHERE outcome = 'succeeded' AND stop_reason = 'pause_turn') AS unfinished
FROM attempts WHERE run = (SELECT number FROM runs WHERE id = ?) AND submission = ?`

// ——— Blocks ———

/** The first place of a block stays: rows may already refer to it. */
export const INSERT_BLOCK = `
INSERT INTO blocks (run, hash, file, offset, length) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

export const BLOCKS_BY_HASH = `
SELECT b.hash, b.file, b.offset, b.length FROM json_each(?) AS wanted
CROSS JOIN blocks AS b ON b.run = ? AND b.hash = wanted.value ORDER BY wanted.key`

// ——— Submissions ———

export const NUMBER_OF_RUN = 'SELECT number FROM runs WHERE id = ?'

export const NEXT_SUBMISSION = 'SELECT coalesce(max(number), 0) + 1 AS number FROM submissions WHERE run = ?'

export const INSERT_SUBMISSION = `
INSERT INTO submissions (run, number, state, wave, kind, variant, row_count, ingested_rows, size_bytes, fingerprint,
                         intent_at, newest_id_before, upstream_batch_id, created_at, ended_at, expires_at, next_poll_at,
                         because, marks_json, server_intent_at, organization_id, workspace_id, cancel_initiated_at,
                         counts_json, is_duplicate, answers_for, deleted_at)
VALUES (?, ?, 'planned', ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

/** Compare-and-set of many rows: fewer changed than asked means that one was taken, and all is rolled back. */
export const TAKE_ROWS = `
UPDATE row_states SET state = 'submitted', submission = ?, attempts = attempts + 1, not_before = NULL
WHERE run = ? AND state = 'pending' AND ordinal IN (SELECT value FROM json_each(?))`

export const INSERT_SUBMISSION_ROWS = `
INSERT INTO submission_rows (run, submission, ordinal) SELECT ?, ?, value FROM json_each(?)`

/** Nothing changes when the number is taken, by anything but a gap. */
export const ADOPT_SUBMISSION = `
INSERT INTO submissions (run, number, state, wave, kind, variant, row_count, size_bytes, marks_json, upstream_batch_id,
                         created_at, expires_at, ended_at, because, organization_id, workspace_id, counts_json)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, number) DO UPDATE SET
  state = excluded.state, wave = excluded.wave, row_count = excluded.row_count, size_bytes = excluded.size_bytes,
  upstream_batch_id = excluded.upstream_batch_id, created_at = excluded.created_at, expires_at = excluded.expires_at,
  ended_at = excluded.ended_at, because = excluded.because, counts_json = excluded.counts_json
WHERE submissions.state = 'refused' AND submissions.row_count = 0`

/** Those that another submission has, or that are done, stay there. */
export const ADOPT_ROWS = `
UPDATE row_states SET state = 'submitted', submission = ?, attempts = attempts + 1, not_before = NULL
WHERE run = ? AND state = 'pending' AND ordinal IN (SELECT value FROM json_each(?))`

/** Takes no row. No answer: another submission of the run has this batch already. */
export const INSERT_DUPLICATE = `
INSERT INTO submissions (run, number, state, wave, kind, variant, row_count, size_bytes, marks_json, is_duplicate,
                         answers_for, upstream_batch_id, created_at, expires_at, ended_at, because, organization_id,
                         workspace_id)
SELECT run, ?3, 'ended', wave, kind, variant, row_count, size_bytes, marks_json, 1,
       number, ?4, ?5, ?6, ?7, ?8, organization_id, workspace_id
FROM submissions WHERE run = ?1 AND number = ?2
  AND NOT EXISTS (SELECT 1 FROM submissions WHERE run = ?1 AND upstream_batch_id = ?4)`

export const COPY_SUBMISSION_ROWS = `
INSERT INTO submission_rows (run, submission, ordinal)
SELECT run, ?3, ordinal FROM submission_rows WHERE run = ?1 AND submission = ?2`

const SUBMISSION_COLUMNS = `
  runs.id AS run, b.number, b.wave, b.kind, b.variant, b.state, b.row_count AS rows, b.size_bytes AS sizeBytes,
  b.marks_json AS marksJson, b.fingerprint, b.intent_at AS intentAt, b.newest_id_before AS newestIdBefore,
  b.upstream_batch_id AS upstreamBatchId, b.created_at AS createdAt, b.ended_at AS endedAt, b.expires_at AS expiresAt,
  b.next_poll_at AS nextPollAt, b.ingested_rows AS ingestedRows, b.because, b.server_intent_at AS serverIntentAt,
  b.organization_id AS organizationId, b.workspace_id AS workspaceId, b.cancel_initiated_at AS cancelInitiatedAt,
  b.counts_json AS countsJson, b.is_duplicate AS isDuplicate, b.answers_for AS answersFor, b.deleted_at AS deletedAt`

export const SUBMISSIONS_OF_RUN = `
SELECT ${SUBMISSION_COLUMNS} FROM runs JOIN submissions AS b ON b.run = runs.number WHERE runs.id = ? ORDER BY b.number`

export const ROWS_OF_SUBMISSION = `
SELECT ordinal FROM submission_rows
WHERE run = (SELECT number FROM runs WHERE id = ?) AND submission = ? AND ordinal > ? ORDER BY ordinal LIMIT ?`

/** Along the primary key of the submission's rows, with one look-up each. */
export const ROWS_TO_SEND = `
SELECT m.ordinal, r.user_id AS userId, r.request_file AS requestFile, r.request_offset AS requestOffset,
  r.request_length AS requestLength, lanes.prefix_group AS prefixGroup, s.revision_json AS revisionJson
FROM submission_rows AS m
CROSS JOIN row_states AS s ON s.run = m.run AND s.ordinal = m.ordinal
CROSS JOIN input_rows AS r ON r.run = s.run AND r.ordinal = s.ordinal
CROSS JOIN lanes ON lanes.lane = s.lane
WHERE m.run = ? AND m.submission = ? AND m.ordinal > ? AND s.state = 'submitted' AND s.submission = m.submission
ORDER BY m.ordinal LIMIT ?`

export const STATE_OF_SUBMISSION = `
SELECT kind, state, upstream_batch_id AS upstreamBatchId, is_duplicate AS isDuplicate FROM submissions WHERE run = ? AND number = ?`

/** Compare-and-set. */
export const SET_SUBMISSION_STATE =
  'UPDATE submissions SET state = ? WHERE run = ? AND number = ? AND state = ?'

/** `changes` is a JSON object: a key that is absent leaves its column, a null empties it. */
export const CHANGE_SUBMISSION = `
UPDATE submissions SET
  fingerprint       = iif(json_type(?1, '$.fingerprint') IS NULL, fingerprint, ?1 ->> '$.fingerprint'),
  intent_at         = iif(json_type(?1, '$.intentAt') IS NULL, intent_at, ?1 ->> '$.intentAt'),
  newest_id_before  = iif(json_type(?1, '$.newestIdBefore') IS NULL, newest_id_before, ?1 ->> '$.newestIdBefore'),
  upstream_batch_id = iif(json_type(?1, '$.upstreamBatchId') IS NULL, upstream_batch_id, ?1 ->> '$.upstreamBatchId'),
  created_at        = iif(json_type(?1, '$.createdAt') IS NULL, created_at, ?1 ->> '$.createdAt'),
  ended_at          = iif(json_type(?1, '$.endedAt') IS NULL, ended_at, ?1 ->> '$.endedAt'),
  expires_at        = iif(json_type(?1, '$.expiresAt') IS NULL, expires_at, ?1 ->> '$.expiresAt'),
  next_poll_at      = iif(json_type(?1, '$.nextPollAt') IS NULL, next_poll_at, ?1 ->> '$.nextPollAt'),
  because           = iif(json_type(?1, '$.because') IS NULL, because, ?1 ->> '$.because'),
  size_bytes        = iif(json_type(?1, '$.sizeBytes') IS NULL, size_bytes, ?1 ->> '$.sizeBytes'),
  row_count         = iif(json_type(?1, '$.rows') IS NULL, row_count, ?1 ->> '$.rows'),
  marks_json        = iif(json_type(?1, '$.marksJson') IS NULL, marks_json, ?1 ->> '$.marksJson'),
  server_intent_at  = iif(json_type(?1, '$.serverIntentAt') IS NULL, server_intent_at, ?1 ->> '$.serverIntentAt'),
  organization_id   = iif(json_type(?1, '$.organizationId') IS NULL, organization_id, ?1 ->> '$.organizationId'),
  workspace_id      = iif(json_type(?1, '$.workspaceId') IS NULL, workspace_id, ?1 ->> '$.workspaceId'),
  cancel_initiated_at =
    iif(json_type(?1, '$.cancelInitiatedAt') IS NULL, cancel_initiated_at, ?1 ->> '$.cancelInitiatedAt'),
  counts_json       = iif(json_type(?1, '$.countsJson') IS NULL, counts_json, ?1 ->> '$.countsJson'),
  is_duplicate      = iif(json_type(?1, '$.isDuplicate') IS NULL, is_duplicate, ?1 ->> '$.isDuplicate'),
  deleted_at        = iif(json_type(?1, '$.deletedAt') IS NULL, deleted_at, ?1 ->> '$.deletedAt')
WHERE run = ?2 AND number = ?3`

/** Only rows that this submission still holds: one that went on to another submission stays there. */
export const RETURN_ROWS = `
UPDATE row_states SET state = 'pending', submission = NULL, attempts = attempts - 1, not_before = ?1
WHERE run = ?2 AND state = 'submitted' AND submission = ?3
  AND ordinal IN (SELECT ordinal FROM submission_rows WHERE run = ?2 AND submission = ?3)`

/** As above: of a batch that was known and cannot be read any more. */
export const END_UNRETRIEVABLE = `
UPDATE row_states SET state = 'done', outcome = 'unretrievable'
WHERE run = ?1 AND state = 'submitted' AND submission = ?2
  AND ordinal IN (SELECT ordinal FROM submission_rows WHERE run = ?1 AND submission = ?2)`

/** From the partial index, whose condition this repeats. */
export const OPEN_SIZES = `
SELECT row_count AS rows FROM submissions
WHERE kind <> 'realtime' AND state IN ('planned', 'submitting', 'in_progress', 'canceling') AND row_count > 0`

/** No attempt decides them: they were not sent, or what was sent has ended. */
export const CANCEL_PENDING_ROWS = `
UPDATE row_states SET state = 'done', outcome = 'canceled', not_before = NULL WHERE run = ? AND state = 'pending'`

// ——— Sent again ———

/** Compare-and-set: no other state has an outcome to be asked for again. */
export const REOPEN_ROW = `
UPDATE row_states SET state = 'pending', submission = NULL, outcome = NULL, not_before = NULL, revision_json = NULL,
                      attempts_before = attempts
WHERE run = ? AND ordinal = ? AND state = 'done'`

export const REPLACE_ROW = `
UPDATE input_rows SET
  user_id = ?3, line = ?4, request_file = ?5, request_offset = ?6, request_length = ?7, params_bytes = ?8,
  columns_file = ?9, columns_offset = ?10, columns_length = ?11, prompt_tokens = ?12, prompt_tokens_high = ?13,
  max_tokens = ?14, expected_json = ?15, invalid_problem = ?16, prefixes_json = ?17, web_searches_max = ?18,
  inference_geo = ?19, speed = ?20, own_mark_ttl = ?21
WHERE run = ?1 AND ordinal = ?2`

// ——— Forgotten ———

export const STATE_OF_RUN = 'SELECT id, state FROM runs WHERE number = ?'

/** Content goes, outcomes, tokens and money stay. Each takes the number of the run as ?1, and what it names beside. */
export const FORGET_RUN = `
UPDATE runs SET fingerprint = '', settings_json = ?2, plan_json = ?3, forgotten_at = coalesce(forgotten_at, ?4)
WHERE number = ?1`

export const FORGET_ROWS = `
UPDATE input_rows SET
  user_id = '', request_file = 0, request_offset = 0, request_length = 0, columns_file = 0, columns_offset = 0,
  columns_length = 0, expected_json = NULL, prefixes_json = '[]',
  invalid_problem = CASE WHEN invalid_problem IS NOT NULL THEN ?2 END
WHERE run = ?1`

export const FORGET_BLOCKS = 'DELETE FROM blocks WHERE run = ?1'

export const FORGET_SUBMISSIONS = 'UPDATE submissions SET fingerprint = NULL, because = NULL WHERE run = ?1'

export const FORGET_ATTEMPTS = `
UPDATE attempts SET
  custom_id = without_slug(custom_id), error_message = NULL, result_file = NULL, result_offset = NULL,
  result_length = NULL, result_digest = '', schema_problem = NULL
WHERE run = ?1`

export const FORGET_ENTRIES = `
UPDATE entries SET custom_id = without_slug(custom_id)
WHERE attempt IN (SELECT number FROM attempts WHERE run = ?1)`

/** The kinds whose detail stays are a JSON array. */
export const FORGET_EVENTS = `
UPDATE events SET detail = '' WHERE run = ?1 AND kind NOT IN (SELECT value FROM json_each(?2))`

/** In the order of the files, so that what touches becomes one place while it is read. */
export const BODY_REFS = `
SELECT request_file AS file, request_offset AS offset, request_length AS length FROM input_rows
UNION ALL SELECT columns_file, columns_offset, columns_length FROM input_rows
UNION ALL SELECT file, offset, length FROM blocks
UNION ALL SELECT result_file, result_offset, result_length FROM attempts WHERE result_file IS NOT NULL
ORDER BY file, offset`

// ——— Results ———

/** Nothing is inserted: this attempt is recorded already. */
export const INSERT_ATTEMPT = `
INSERT INTO attempts (run, submission, ordinal, custom_id, at, outcome, stop_reason, error_type, error_message,
                      result_file, result_offset, result_length, result_digest, schema_valid, schema_problem, score)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

export const DIGEST_OF_ATTEMPT = `
SELECT result_digest AS digest FROM attempts WHERE run = ? AND submission = ? AND ordinal = ?`

/** Compare-and-set: a late result of a submission that was given up is history and money, and moves no row. */
export const DECIDE_ROW = `
UPDATE row_states SET state = 'done', outcome = ?
WHERE run = ? AND ordinal = ? AND submission = ? AND state = 'submitted'`

/** Compare-and-set, as above. */
export const RELEASE_ROW = `
UPDATE row_states SET state = 'pending', submission = NULL, not_before = ?, revision_json = ?
WHERE run = ? AND ordinal = ? AND submission = ? AND state = 'submitted'`

export const INSERT_ENTRY = `
INSERT INTO entries (attempt, upstream_batch_id, custom_id, at, model, input_tokens, cache_write_5m_tokens,
                     cache_write_1h_tokens, cache_read_tokens, output_tokens, web_search_requests, service_tier,
                     inference_geo, speed, cost_pico_usd, realtime_pico_usd, certainty, price_book, kind)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

export const COUNT_INGESTED =
  'UPDATE submissions SET ingested_rows = ingested_rows + ? WHERE run = ? AND number = ?'

export const MISSING_RESULTS = `
SELECT m.ordinal FROM submission_rows AS m
WHERE m.run = (SELECT number FROM runs WHERE id = ?) AND m.submission = ? AND NOT EXISTS (
  SELECT 1 FROM attempts AS a WHERE a.run = m.run AND a.submission = m.submission AND a.ordinal = m.ordinal)
ORDER BY m.ordinal LIMIT ?`

const ATTEMPT_COLUMNS = `
  a.submission, a.ordinal, a.custom_id AS customId, a.at, a.outcome, a.stop_reason AS stopReason,
  a.error_type AS errorType, a.error_message AS errorMessage, a.result_file AS resultFile,
  a.result_offset AS resultOffset, a.result_length AS resultLength, a.result_digest AS resultDigest,
  a.schema_valid AS schemaValid, a.schema_problem AS schemaProblem, a.score`

/** All attempts of rows, in the order asked and of their submissions; the ordinals are a JSON array. */
export const ATTEMPTS_OF_ROWS = `
SELECT ${ATTEMPT_COLUMNS} FROM json_each(?) AS wanted
CROSS JOIN attempts AS a INDEXED BY attempts_of_row ON a.run = ? AND a.ordinal = wanted.value
ORDER BY wanted.key, a.submission`

/** The deciding attempts of a range of rows. */
export const ATTEMPTS_BETWEEN = `
SELECT ${ATTEMPT_COLUMNS}
FROM row_states AS s
CROSS JOIN attempts AS a ON a.run = s.run AND a.submission = s.submission AND a.ordinal = s.ordinal
WHERE s.run = ? AND s.ordinal BETWEEN ? AND ? AND s.state = 'done'`

const ENTRY_COLUMNS = `
  a.submission, a.ordinal, e.upstream_batch_id AS upstreamBatchId, e.custom_id AS customId, e.at, e.model,
  e.input_tokens AS inputTokens, e.cache_write_5m_tokens AS cacheWrite5mTokens,
  e.cache_write_1h_tokens AS cacheWrite1hTokens, e.cache_read_tokens AS cacheReadTokens,
  e.output_tokens AS outputTokens, e.web_search_requests AS webSearchRequests, e.service_tier AS serviceTier,
  e.inference_geo AS inferenceGeo, e.speed, e.cost_pico_usd AS costPicoUsd, e.realtime_pico_usd AS realtimePicoUsd,
  e.certainty, e.price_book AS priceBook, e.kind`

/** All entries of a range of rows. Integers as bigints. */
export const ENTRIES_BETWEEN = `
SELECT ${ENTRY_COLUMNS} FROM attempts AS a INDEXED BY attempts_of_row CROSS JOIN entries AS e ON e.attempt = a.number
WHERE a.run = ? AND a.ordinal BETWEEN ? AND ? ORDER BY a.ordinal, a.submission`

/** In the order of the unique index. Integers as bigints. */
export const ENTRIES_AFTER = `
SELECT ${ENTRY_COLUMNS} FROM attempts AS a CROSS JOIN entries AS e ON e.attempt = a.number
WHERE a.run = (SELECT number FROM runs WHERE id = ?) AND (a.submission, a.ordinal) > (?, ?)
ORDER BY a.submission, a.ordinal LIMIT ?`

/**
 * By lane, a small number to sort by, rather than by group. Money in two halves: the sum of a column may pass 2⁶³.
 * Integers as bigints.
 */
export const LEDGER_SUMS = `
SELECT sums.*, nullif(lanes.prefix_group, '') AS prefixGroup
FROM (
  SELECT
    a.submission, s.lane, e.upstream_batch_id IS NULL AS isRealtime,
    count(*) AS entries,
    count(*) FILTER (WHERE e.cache_read_tokens > 0) AS readingEntries,
    count(*) FILTER (WHERE e.cost_pico_usd IS NULL) AS unpricedEntries,
    sum(e.input_tokens + e.cache_write_5m_tokens + e.cache_write_1h_tokens + e.cache_read_tokens) AS promptTokens,
    sum(e.output_tokens) AS outputTokens,
    coalesce(sum(e.cost_pico_usd >> 32), 0) AS costHigh,
    coalesce(sum(e.cost_pico_usd & 4294967295), 0) AS costLow,
    max(e.cache_write_5m_tokens + e.cache_write_1h_tokens + e.cache_read_tokens) AS cachedTokensMax
  FROM attempts AS a CROSS JOIN entries AS e ON e.attempt = a.number
  CROSS JOIN row_states AS s ON s.run = a.run AND s.ordinal = a.ordinal
  WHERE a.run = (SELECT number FROM runs WHERE id = ?)
  GROUP BY a.submission, s.lane, isRealtime
) AS sums CROSS JOIN lanes ON lanes.lane = sums.lane`

/** The whole ledger, in the order in which it was written. */
export const LEDGER_USAGE = `
SELECT e.certainty, e.model, e.at, s.created_at AS createdAt, s.ended_at AS endedAt, e.input_tokens AS inputTokens,
  e.cache_write_5m_tokens AS cacheWrite5mTokens, e.cache_write_1h_tokens AS cacheWrite1hTokens,
  e.cache_read_tokens AS cacheReadTokens, e.output_tokens AS outputTokens,
  e.web_search_requests AS webSearchRequests, e.service_tier AS serviceTier
FROM entries AS e CROSS JOIN attempts AS a ON a.number = e.attempt
CROSS JOIN submissions AS s ON s.run = a.run AND s.number = a.submission`

// ——— Events ———

export const INSERT_EVENT = 'INSERT INTO events (run, at, submission, kind, detail) VALUES (?, ?, ?, ?, ?)'

export const EVENTS_OF_RUN = `
SELECT runs.id AS run, e.at, e.submission, e.kind, e.detail
FROM runs JOIN events AS e ON e.run = runs.number WHERE runs.id = ? ORDER BY e.number`
