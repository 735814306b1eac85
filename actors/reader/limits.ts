/** Limits of the reader, each with its reason. Times in ms, sizes in bytes. */
export const limits = {
  /** Nobody is known to need more at once; each holds its document in memory. */
  atOnce: 8,
  /** Characters of HTML. Its tree takes some fifty times as much memory, and a second to read. */
  htmlChars: 1024 * 1024,
  /** A PDF file: longer than books are, and it still fits into one message. */
  pdfBytes: 12 * 1024 * 1024,
  /** Text handed back; more would fill a model's context. */
  textChars: 400_000,
  /** Pages read of a PDF file when nobody says which. */
  pages: 100,
  titleChars: 300,
  /** After this the process is ended, whatever it is doing. A page takes a second at most, a long PDF file a few. */
  deadlineMs: 30_000,
  /** A researching agent reads the next document sooner; starting anew takes a few hundred ms. */
  idleMs: 60_000,
} as const
