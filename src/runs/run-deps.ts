import type { AttachmentSource } from '../core/attachment.ts'
import type { Instant } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import type { Catalogue } from '../core/models.ts'
import type { Clock, Runtime } from '../runtime/runtime.ts'
import type { RowCounts, Store, SubmissionRecord } from '../stores/store.ts'
import type { Upstream } from '../upstreams/upstream.ts'

/** What the driver says while it works; the terminal, the log and the tests listen. */
export type RunEvent =
  | {
      readonly kind: 'wave'
      readonly wave: number
      readonly wave_kind: string
      readonly rows: number
      readonly because: string
    }
  | { readonly kind: 'submitted'; readonly submission: SubmissionRecord }
  | { readonly kind: 'polled'; readonly submission: SubmissionRecord }
  | { readonly kind: 'results_recorded'; readonly submission: SubmissionRecord; readonly recorded: number }
  | { readonly kind: 'ingested'; readonly submission: SubmissionRecord }
  | { readonly kind: 'progress'; readonly progress: RunProgress }
  | { readonly kind: 'note'; readonly message: string }

/** Where the run stands, for a progress line. */
export interface RunProgress {
  readonly rows: number
  readonly counts: RowCounts
  readonly wave: number
  readonly waveKind: string | null
  readonly inFlightRows: number
  readonly batchesInFlight: number
  readonly spentPicoUsd: bigint
  readonly forecastPicoUsd: bigint | null
  /** Share of answered rows that read from the cache; null before any answer. */
  readonly hitRate: number | null
  /** When the driver looks again; null when it does not sleep. */
  readonly until: Instant | null
  /** Milliseconds until the end as learnt from ended batches; null: unknown. */
  readonly etaMs: number | null
}

/** Everything that the driver needs from outside. Effects only; decisions are in `core/`. */
export interface RunDeps {
  readonly store: Store
  readonly upstream: Upstream
  readonly runtime: Runtime
  /** Leases are held against other processes, so on the wall clock, whatever clock the run itself lives in. */
  readonly wallClock: Clock
  readonly catalogue: Catalogue
  /** The longest wait to reckon with from a cancel until its batch has ended, in ms: measured, else as recorded. */
  readonly cancelLatencyMs: number
  /** The bytes of an attachment; throws `attachment_changed` when they are no longer what was rendered. */
  readAttachment(source: AttachmentSource): Promise<Uint8Array>
  compileSchema(schema: JsonObject): (value: unknown) => string | null
  /** Names this process to others, `<pid>@<host>`. */
  readonly holder: string
  /** True only when the holder certainly no longer runs; its lease is then free. */
  isHolderGone(holder: string): boolean
  emit(event: RunEvent): void
  readonly signal: AbortSignal
}
