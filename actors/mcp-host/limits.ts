/** Every limit and default of the MCP host, with its reason. */

/** Tool servers at a time. Each is two processes and some 100 MB. */
export const maxServers = 32

/** A list of tools waits for servers that are still starting, at most this long, ms: a prompt should not. */
export const settleMs = 8_000

/** Questions that wait for servers and policy to be known: more than a member's clients and sessions ask at once. */
export const maxHeld = 64

/** Tools offered to the model together. Beyond this most models choose badly, and the request grows with each. */
export const maxOffered = 200

/** Longest tool name the Messages API takes. */
export const maxToolName = 64

/** Between two looks at a server's actor that could not be watched, ms. */
export const watchAgainMs = 2_000

/** Before a start is tried again while an earlier actor of the same server is still ending, ms. */
export const startAgainMs = 250

/** Largest settings, plugin and extension manifest, bytes. Real ones have a few kilobytes. */
export const maxJsonBytes = 1024 * 1024

/** Plugins and extensions looked at. */
export const maxInstalled = 200

/**
 * Caps on an extension bundle. The largest published ones are about 100 MB with ten thousand files, compressed four to one; what is
 * highly compressible is told from a bomb by its size.
 */
export const bundle = {
  maxBytes: 256 * 1024 * 1024,
  maxFiles: 30_000,
  maxUnpackedBytes: 1024 * 1024 * 1024,
  maxFileBytes: 256 * 1024 * 1024,
  /** Unpacked to packed; looked at only above `ratioFromBytes`. */
  maxRatio: 100,
  ratioFromBytes: 16 * 1024 * 1024,
  maxPathChars: 512,
  maxDepth: 40,
}

/** Largest signature block, bytes. With a chain of certificates it is about 10 KB. */
export const maxSignatureBytes = 256 * 1024

/** Installing: unpacking a large bundle on a busy machine, ms. */
export const installDeadlineMs = 5 * 60_000
