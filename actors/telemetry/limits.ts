/** Every limit and default of telemetry and audit, with its reason. */

/** Records of one signal that wait for the collector. An hour of a busy session while it is down; more is dropped and counted. */
export const maxWaiting = 4_096

/** Bytes (as JSON) of one signal that wait. With content captured records are large, and memory is what is bounded. */
export const maxWaitingBytes = 8 * 1024 * 1024

/** Records in one export: well below the 4 MiB that collectors commonly accept. */
export const maxBatch = 256
export const maxBatchBytes = 1024 * 1024

/** Pause between a record and its export, ms: enough to gather a batch, short enough to watch. */
export const exportEveryMs = 1_000

/** Metrics are cumulative, so that a lost export loses nothing; the interval is OpenTelemetry's default, ms. */
export const metricsEveryMs = 60_000

/** An export that takes longer has failed, ms. The exporter's own retries happen within it. */
export const exportTimeoutMs = 5_000

/** Pause after a failed export: doubles from the first to the last, ms. */
export const retryMs = { first: 1_000, last: 60_000 }

/** How long what waits may be tried again while the pipeline closes (settings changed, daemon stops), ms. */
export const closeMs = 2_000

/** Longest text of one attribute, UTF-16 units: what Claude Code's telemetry allows for content. */
export const maxContent = 61_440

/** A tool's input: longest text in it, and all of it, as documented for `tool_input`. */
export const maxInputText = 512
export const maxInputTotal = 4_096

/** Actors that watch whether traces are wanted. The daemon does. */
export const maxWatchers = 8

/** Pause before policy is asked again after its actor went down, ms. */
export const policyRetryMs = 500

/** The audit head goes to the collector at most this often, ms: an anchor outside the device. */
export const anchorEveryMs = 60_000

/** One audit segment, bytes: small enough to read at once, large enough that there are few. */
export const maxSegmentBytes = 8 * 1024 * 1024

/** Segments kept; with `maxSegmentBytes` 256 MiB, about a million entries. The oldest is removed first. */
export const maxSegments = 32

/** An entry's data, bytes as JSON. Larger fields are cut before, with a mark. */
export const maxEntryBytes = 16 * 1024

/** Entries in one commit. */
export const maxCommit = 256

/** Audit entries that wait to be written. More is refused: whoever needs the record must not go on without it. */
export const maxUnwritten = 1_024
