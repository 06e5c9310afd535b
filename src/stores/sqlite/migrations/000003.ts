/** Rows that a person has sent again, and runs whose content is forgotten. Immutable once released, as 000001 is. */
export const MIGRATION_000003 = /* sql */ `
ALTER TABLE row_states ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;  -- of attempts: those that max_attempts no longer counts
ALTER TABLE runs ADD COLUMN forgotten_at INTEGER;
`
