/**
 * What recovery needs: whose list was looked at and when, what an ended batch said of its counts, what a row sends next
 * time; and rows whose results are gone. Immutable once released, as 000001 is.
 */
export const MIGRATION_000002 = /* sql */ `
ALTER TABLE input_rows ADD COLUMN web_searches_max INTEGER DEFAULT 0;  -- NULL: no limit
ALTER TABLE input_rows ADD COLUMN inference_geo TEXT;
ALTER TABLE input_rows ADD COLUMN speed TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE input_rows ADD COLUMN own_mark_ttl TEXT DEFAULT '1h';      -- NULL: no mark; of older rows unknown, so the dearest

ALTER TABLE submissions ADD COLUMN server_intent_at INTEGER;           -- the upstream's clock, not ours
ALTER TABLE submissions ADD COLUMN organization_id TEXT;
ALTER TABLE submissions ADD COLUMN workspace_id TEXT;
ALTER TABLE submissions ADD COLUMN cancel_initiated_at INTEGER;
ALTER TABLE submissions ADD COLUMN counts_json TEXT;
ALTER TABLE submissions ADD COLUMN is_duplicate INTEGER NOT NULL DEFAULT 0 CHECK (is_duplicate IN (0, 1));
ALTER TABLE submissions ADD COLUMN answers_for INTEGER;                -- the submission that its custom_ids carry, if another
ALTER TABLE submissions ADD COLUMN deleted_at INTEGER;

-- Unfinished answers are flawed ones too.
DROP INDEX flawed_attempts;
CREATE INDEX flawed_attempts ON attempts (run) WHERE outcome = 'succeeded'
  AND (stop_reason IN ('refusal', 'max_tokens', 'model_context_window_exceeded', 'pause_turn') OR schema_valid = 0);

-- Few: what is planned or sent and has not ended.
CREATE INDEX open_submissions ON submissions (row_count)
  WHERE kind <> 'realtime' AND state IN ('planned', 'submitting', 'in_progress', 'canceling');

-- A CHECK can only be changed with its table.
DROP VIEW v_rows;
CREATE TABLE row_states_2 (
  run           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  lane          INTEGER NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('pending', 'submitted', 'done')),
  attempts      INTEGER NOT NULL,
  not_before    INTEGER,
  submission    INTEGER,                  -- submitted: the one that holds it; done: the one that decided it
  outcome       TEXT CHECK (outcome IN ('succeeded', 'errored', 'canceled', 'expired', 'invalid', 'unretrievable')),
  revision_json TEXT,                     -- how the next attempt differs from the row as rendered
  PRIMARY KEY (run, ordinal),
  FOREIGN KEY (run, ordinal) REFERENCES input_rows (run, ordinal) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO row_states_2 SELECT run, ordinal, lane, state, attempts, not_before, submission, outcome, NULL FROM row_states;
DROP TABLE row_states;
ALTER TABLE row_states_2 RENAME TO row_states;

CREATE INDEX pending_rows ON row_states (lane, ordinal) WHERE state = 'pending';
CREATE INDEX waiting_rows ON row_states (run, not_before) WHERE state = 'pending' AND not_before IS NOT NULL;

-- As in 000001.
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
`
