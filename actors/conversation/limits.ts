/** Limits and defaults of the conversation, each with its reason. */

/** The model named first in the SDK's own documentation; `--model` replaces it. */
export const DEFAULT_MODEL = 'claude-opus-5-5'

/** Tokens one model answer may have. Room for a long file in one `Write`, well under what current models allow. */
export const MAX_OUTPUT_TOKENS = 32_000

/** Model calls in one turn. A turn that needs more is more likely lost than busy; the member can say "go on". */
export const MAX_MODEL_CALLS = 60

/** Times in a row an answer cut by `MAX_OUTPUT_TOKENS` is continued before the turn ends. */
export const MAX_CONTINUATIONS = 3

/** The SDK's retries of a request that failed before its answer began (429, 5xx, 529, connection). */
export const MODEL_RETRIES = 3

/** Retries of an answer that broke off before the member saw any of it. After that a retry would show text twice. */
export const BROKEN_STREAM_RETRIES = 2

/** Retries, and ms between them, while the egress actor restarts: about as long as a restart takes on a busy machine. */
export const EGRESS_RETRIES = 10
export const EGRESS_RETRY_MS = 300

/** Silence from the model API, ms, after which an answer counts as broken off. The API pings every few seconds. */
export const MODEL_IDLE_MS = 180_000

/** Time to the first byte of an answer, ms, as the SDK counts it. */
export const MODEL_HEADERS_TIMEOUT_MS = 300_000

/** Bytes of an answer that may wait unread before the egress actor is held back. */
export const RESPONSE_BUFFER_BYTES = 64 * 1024

/** Characters of one tool result the model gets. About 15 000 tokens: two of them never fill a context. */
export const MAX_RESULT_CHARS = 60_000

/** Sources of untrusted content that a question names: the first ones tell the member what the turn has been reading. */
export const maxUntrusted = 5

/** Images and PDF files in one message, characters of base64: one as large as the API takes, and an entry of the journal holds it. */
export const MAX_MEDIA_CHARS = 5_500_000

/** Characters of command output the model gets: the first part and, as errors come last, a larger last part. */
export const MAX_OUTPUT_HEAD_CHARS = 10_000
export const MAX_OUTPUT_TAIL_CHARS = 20_000

/** Lines `Read` returns when it is not told how many, as in Claude Code. */
export const DEFAULT_READ_LINES = 2_000

/** Longest line `Read` shows whole; a minified file must not fill the context with one line. */
export const MAX_LINE_CHARS = 2_000

/** Matches or paths one search returns when it is not told how many. */
export const DEFAULT_SEARCH_RESULTS = 250
/** Results a list or search may be asked to leave out: as many entries as a folder's gate looks at (`walkEntries` there). */
export const MAX_RESULT_OFFSET = 400_000

/** Time for a search over a folder, ms. Other file messages use the kernel's default. */
export const SEARCH_DEADLINE_MS = 60_000

/** Replacements in one `MultiEdit`, files in one `Present`: more is a list nobody reads. */
export const MAX_EDITS = 100
export const MAX_PRESENTED = 50

/** Time for a deletion, ms: a tree of a hundred thousand files, each kept for undo. */
export const DELETE_DEADLINE_MS = 120_000

/** Default and largest `timeout` of `Bash`, ms, as in Claude Code. */
export const DEFAULT_COMMAND_MS = 120_000
export const MAX_COMMAND_MS = 600_000

/** Longest command. Longer text belongs in a file. */
export const MAX_COMMAND_CHARS = 100_000

/** Longest input of a tool of a tool server, characters: it is shown whole to the member. */
export const MAX_SERVER_TOOL_INPUT_CHARS = 500_000

/** Longest question of a search and hosts it may be limited to: what egress takes. */
export const MAX_SEARCH_QUERY_CHARS = 500
export const MAX_SEARCH_DOMAINS = 100

/** Time for the list of such tools, ms: the MCP host waits for servers that start, within this. */
export const SERVER_TOOLS_DEADLINE_MS = 20_000

/** Reads of one answer that run at the same time. */
export const MAX_PARALLEL_READS = 8

/** Characters of one text that telemetry may carry, as in Claude Code. What policy lets out may be less. */
export const MAX_REPORTED_CHARS = 61_440

/**
 * Telemetry numbers a session's events. After a restart the count goes on at this many a journal entry: far more than any turn has for one,
 * so numbers only rise, without being kept anywhere.
 */
export const EVENTS_PER_ENTRY = 1_000

/** Journal entries read at a time when a conversation continues. */
export const HISTORY_PAGE = 500

/** Instructions of a folder: where they stand in it, and lines and characters of them the model gets with every call. */
export const INSTRUCTIONS_PATH = '.bulkhead/instructions.md'
export const MAX_INSTRUCTIONS_LINES = 400
export const MAX_INSTRUCTIONS_CHARS = 16_000

/** Time a folder has to say what others changed in it, ms: it looks at names it has noted. A turn goes on without. */
export const FOLDER_NEWS_DEADLINE_MS = 5_000

/** Wait before the history is asked for again when the journal did not answer, ms. */
export const HISTORY_RETRY_MS = 1_000
