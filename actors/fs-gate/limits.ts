/** Every limit and default of this actor, with its reason. Sizes in bytes, times in ms. */
export const limits = {
  /** PATH_MAX and NAME_MAX of Linux: the system would refuse more anyway, later and less clearly. */
  pathBytes: 4_096,
  nameBytes: 255,
  /** As many symbolic links as Linux follows in one path before it says ELOOP. */
  linksFollowed: 40,
  /** Deepest folder a search or listing goes into. Real trees stay below 40; each level holds one open handle. */
  depth: 128,

  /** Folders whose handles are kept for the next path into them, and for how long: work goes on in the same few folders for some time. */
  knownFolders: 64,
  knownFolderMs: 1_000,

  /** Text a tool reads or writes whole. Above it the workspace's programs do better; a frame of the kernel holds 16 MiB. */
  readBytes: 64 * 1024 * 1024,
  writeBytes: 4 * 1024 * 1024,
  /** Text of a file in which something is replaced: it does not travel, only the replacement does. */
  editBytes: 16 * 1024 * 1024,
  /** One step of reading: small enough that a cancel is noticed in milliseconds. */
  chunkBytes: 1024 * 1024,
  /** A file below it is read in one step: it takes no longer than to give way would. */
  atOnceBytes: 128 * 1024,
  /** What one `read` returns at most: some 60 000 tokens, more than any model should take in at once. */
  windowBytes: 256 * 1024,
  windowLines: 2_000,

  /** An image or a PDF file shown whole: what the Messages API takes of one image, 5 MB in base64. And its largest image, pixels a side. */
  mediaBytes: 3_750_000,
  /** A PDF file of which single pages are read: one message, and what the reader takes. */
  largePdfBytes: 12 * 1024 * 1024,
  imageSide: 8_000,
  /** A notebook read whole, and what is shown of the pictures in it. */
  notebookBytes: 32 * 1024 * 1024,
  notebookCells: 10_000,
  notebookPictures: 4,
  notebookPictureBytes: 900_000,

  /** Entries of one `list`, paths of one `glob`: a page of results that still fits into a prompt. */
  listEntries: 1_000,
  listDepth: 16,
  globPaths: 1_000,
  /** Files and folders one search looks at before it says `truncated`. A large checkout with its dependencies has some 200 000. */
  walkEntries: 400_000,
  /** A walk gives way to other requests after this many entries (some ms of work). */
  walkSlice: 256,
  /** Names read from one folder. More is a data store, not something to list. */
  folderEntries: 100_000,

  grepMatches: 250,
  grepMatchesMax: 5_000,
  grepContext: 50,
  /** Files above it are passed over by a search and counted in `skipped`. */
  grepFileBytes: 8 * 1024 * 1024,
  grepTotalBytes: 512 * 1024 * 1024,
  grepLineChars: 2_000,
  /** Size of all text one search returns. */
  grepReplyBytes: 1024 * 1024,
  /** A longer regular expression is not written by hand, and compiling costs by length. */
  patternChars: 1_000,
  globChars: 512,

  /** Longest diff in a reply or a cause. */
  diffChars: 64 * 1024,
  causeDiffChars: 4 * 1024,
  /** Myers' algorithm is quadratic for unlike texts: beyond this the diff says only how much differs. */
  diffMs: 400,
  /** Texts remembered by hash, so that a refused edit can show what changed since it was read. */
  rememberedBytes: 16 * 1024 * 1024,

  /** 9P messages: what a Linux guest asks for at most (virtio) is 512 KiB; 256 KiB is where throughput stops growing. */
  msizeMax: 256 * 1024,
  /** The smallest msize that carries every fixed-size answer and one name. */
  msizeMin: 4 * 1024,
  /** A guest kernel holds a fid per cached name: bounded by the guest's memory, so bounded here. */
  fidsPerConn: 65_536,
  connections: 64,
  /** Messages without an answer that come along with one: a carrier in the guest holds a few for each that it has to ask. */
  framesBefore: 64,
  /** Path handles kept open for fids; the least recently used are closed and found again. Half of the common 4 096 hard limit. */
  fidHandles: 2_048,
  /** Files opened by guest programs at one time, over all connections. */
  openFiles: 1_024,
  /** Names of folders being read by guest programs, over all connections: one of a million files, four times; some 300 MiB. */
  namesHeld: 4_194_304,
  /** Bytes of a file that are sent along when it is opened for reading: most of a project's files. */
  contentAhead: 8 * 1024,
  /** Files told of along with one that is looked up: with theirs, an answer still comes in one page of the port. */
  siblingsAhead: 16,
  /** How many files of a folder in a row make up for one elsewhere, at most. */
  siblingStreak: 4,
  /** A folder's names are read again after this: only the order comes from them. */
  listingMs: 1_000,
  /** Of a folder with more names none are told of along with others; looked at again after `hugeListingMs`, because that alone takes a second. */
  listingNames: 20_000,
  hugeListingMs: 60_000,
  /** Names in one 9P walk, by the protocol. */
  walkNames: 16,

  /** Folders watched for what others change: the system has room for some 8 000 watches a user and upwards. */
  watchedFolders: 4_096,
  /** Names noted between two times it is asked for, and how many of them are told: more is a count. */
  othersNoted: 5_000,
  othersTold: 50,
  /** Things remembered as left by this gate itself. */
  ownChanges: 65_536,

  /** Content kept of one folder for undo, and for how long. What no longer fits goes oldest first. */
  storeBytes: 10 * 1024 * 1024 * 1024,
  storeMs: 30 * 24 * 60 * 60 * 1000,
  /** Characters of a folder's key in the ids of its changes: enough to tell the folders of one device apart. */
  keyChars: 6,
  /** Git's settings of one repository; and entries looked at in a folder that gets a name such as `.git`. More is not allowed to move. */
  gitConfigBytes: 64 * 1024,
  protectedEntries: 5_000,
  /** Names a deletion or move shows the member; beyond that a count says how many more. */
  entriesListed: 500,
  /** Entries of a folder that may move along on an approval given for something else: about what one sees at a glance. */
  massEntries: 20,
  /** Replacements in one call. */
  editsAtOnce: 200,
  /** Changes one `changes` shows, steps one `undo` names, and the largest file a preview shows the difference of. */
  changesListed: 200,
  changesMax: 10_000,
  /** Ten thousand files take seconds; on a slow disk much longer. */
  undoDeadlineMs: 600_000,
  undoStepsShown: 500,
  undoDiffBytes: 1024 * 1024,
  /** Of the store in memory while the end of an undo is noted: the rows of one of twenty thousand files. */
  runCacheBytes: 16 * 1024 * 1024,
  /** Steps of an undo that are kept in one commit, and folders it has open. */
  undoBatch: 256,
  undoFolders: 512,
  /** Names asked for together from which on a folder's listing costs less than to ask for each; and how many it may hold for each asked for. */
  namesAtOnce: 8,
  namesEach: 8,
  /** Files kept whole; larger ones in chunks, of which two versions share most. */
  wholeBytes: 64 * 1024,
  /** Changes by a program in the background are told apart by minutes; by a call of a tool, by the call. */
  groupMs: 60_000,
  /** Files of a group remembered, so that each is kept once. */
  trackedFiles: 65_536,
  /** What changes left behind is noted together: after so many, or so many ms. */
  notesHeld: 1_000,
  noteMs: 200,
  /** Names that tools have given reach the disk no later than this after the answer; those of one folder together. */
  folderSyncMs: 200,
  /** A file changed no later than this after its change was noted is taken for what the change left when the process was killed in between. */
  recoverMs: 5_000,

  /** Requests that wait while the folder is being opened, which takes milliseconds; more are refused `not-now`. */
  held: 64,

  /** After the folder vanished: how often to look for it. */
  reopenMs: 5_000,
} as const
