/** Limits and defaults of the egress actor, each with its reason. Times in ms, sizes in bytes. */
export const limits = {
  /** The Anthropic SDK's own default; a test compares the two. */
  defaultBaseUrl: 'https://api.anthropic.com',
  /** Room for a long transcript with images, inside the kernel's largest frame. */
  modelRequestBytes: 12 * 1024 * 1024,
  /** One part of a streamed answer: small enough that credit between processes stays responsive. */
  partBytes: 64 * 1024,
  /** Time for TCP and TLS to the model API. */
  modelConnectMs: 10_000,
  /** Silence on a model stream. The SDK gives up after ten minutes as well; the API pings far more often. */
  modelIdleMs: 600_000,
  /** Conversations and sub-agents talk in parallel; beyond this a defect is likelier than a need. */
  modelInFlight: 64,

  /** Pages a model can use are rarely larger; the rest is cut and `truncated` says so. */
  fetchBytes: 1024 * 1024,
  /** What a caller may ask for at most. */
  fetchMaxBytes: 4 * 1024 * 1024,
  /** HTML beyond this is cut first: it is what the reader takes. */
  htmlChars: 1024 * 1024,
  /** A PDF file cannot be cut: its table is at its end. What the reader takes. */
  pdfBytes: 12 * 1024 * 1024,
  /** Text handed back; a page longer than this would fill a model's context. */
  textChars: 400_000,
  /** One fetch with all its redirects. */
  fetchMs: 30_000,
  fetchConnectMs: 10_000,
  fetchInFlight: 32,
  /** One search: several of the provider's, and what its model says about them. */
  searchMs: 120_000,
  /** What the provider's model may write: a few sentences and its queries. */
  searchTokens: 2_000,
  /** Searches the provider may make for one question; each is paid for. */
  searchUses: 3,
  /** Times a paused search is gone on with. */
  searchContinuations: 4,
  /** Names one search is limited to, or kept from. */
  searchDomains: 100,
  searchQueryChars: 500,
  /** Ten results a search, with what the provider needs to cite them. */
  searchBytes: 4 * 1024 * 1024,
  searchBlocks: 1_000,
  searchResults: 30,
  searchTitleChars: 300,
  searchSummaryChars: 20_000,
  /** Questions and changes of the rules that wait for their file: more than a member's clients ask at once. */
  heldQuestions: 64,
  /** A page fetched again within this time is the same page, unless its server says otherwise. */
  cachedMs: 15 * 60_000,
  /** Text of all cached pages together: forty of the longest. */
  cachedChars: 16 * 1024 * 1024,
  /** Same-host redirects followed; a longer chain is a loop. */
  redirects: 5,
  /** Longest URL accepted; browsers and servers agree on about this much. */
  urlChars: 8192,
  /** Response heads larger than this are refused (Node's own default is 16 KiB). */
  headerBytes: 32 * 1024,
  /** A secret shorter than this occurs in ordinary text by chance: answers are not searched for it. Real keys are several times as long. */
  secretChars: 8,
  /** The longest tokens in use (signed ones with many claims) have some 4 KiB. */
  secretMaxChars: 8 * 1024,
  secrets: 1_000,
  vaultBytes: 20 * 1024 * 1024,
  /** Hosts whose certificate is kept for the next connection. */
  certificates: 500,
  /** A request read inside TLS: from its first byte to the end of its head. */
  innerHeadMs: 60_000,
  /** Requests one connection may carry before the client makes another: bounds what one tunnel keeps. */
  innerRequests: 10_000,
  /** Request rules of the member: read for each request to their hosts. */
  requestRules: 1_000,
  requestPathChars: 1024,
  /** Connections a session's programs have open at once: a browser's own bound. Each may hold a mebibyte in the guest. */
  sessionTunnels: 256,
  /** All together: each costs a descriptor and some 30 KiB. */
  tunnels: 10_000,
  tunnelConnectMs: 15_000,
  /** What was sent to 80 or 443 and is still no whole hello or head: a client that dawdles holds a connection,
   * but an emulated one on a busy machine takes half a minute. */
  tunnelFirstMs: 60_000,
  /** Silence both ways; a database connection that is kept for later stays below an hour. */
  tunnelIdleMs: 60 * 60_000,
  /** Bytes on their way in one direction of a tunnel before its sender has to wait. */
  tunnelWindow: 256 * 1024,
  /**
   * Read at once from a host that sends quickly. Half of it costs a tenth of the throughput, twice as much gains nothing (`npm run bench --
   * egress`); a host that sends little is read as Node does.
   */
  readBytes: 512 * 1024,
  smallReadBytes: 64 * 1024,
  /** What quick hosts of all tunnels sent and nobody took yet: from here on they are read in small pieces. */
  readMemoryBytes: 32 * 1024 * 1024,
  /** A TLS hello with a post-quantum key share and a long list of protocols has about 2 KiB. */
  helloBytes: 64 * 1024,
  /** Request heads of tunnelled HTTP; servers accept no longer ones. */
  requestHeadBytes: 32 * 1024,
  requestFields: 100,
  /** Longest host pattern: the longest name, a wildcard, a port. */
  patternChars: 263,
  /** Patterns on one list of the member's. Decisions do not slow down with them; reading and showing them does. */
  rules: 10_000,
  /** Hosts whose verdict is remembered for one request's dealings with policy: some hundred KiB at most. */
  rememberedHosts: 1_024,
  /** Sessions with rules of their own: each is small, and none may be forgotten for another. */
  sessionsWithRules: 1_000,
  rulesFileBytes: 32 * 1024 * 1024,
  /** Decisions kept for `bulkhead egress log`: a day of a busy session. */
  loggedDecisions: 2_000,
  /** Pause before policy is asked again when its actor went down. What it said last stays in force meanwhile. */
  policyRetryMs: 500,
  /** A package manager's configuration file; real ones have a few lines, npm's own definitions about 70 KiB. */
  registryFileBytes: 1024 * 1024,
  /** DNS limits (RFC 1035). */
  hostChars: 253,
  labelChars: 63,

  /** What is inherited at start: a key, proxy settings with a PAC script, certificates. */
  startSecretsBytes: 6 * 1024 * 1024,
  /** Certificates of a company are a few KiB; a whole trust store has about 250. */
  caBytes: 2 * 1024 * 1024,
  /** The longest PAC scripts in use have a few hundred KiB. */
  pacBytes: 1024 * 1024,
  pacMemoryBytes: 32 * 1024 * 1024,
  pacStackBytes: 256 * 1024,
  /** One call of a PAC script. Real ones take microseconds; the first run of a long one takes tens of ms. */
  pacMs: 500,
  /** A PAC script from an address is fetched again after this long, and this soon after a failure. */
  pacKeptMs: 60 * 60_000,
  pacRetryMs: 30_000,
  /** How long this machine's own resolver may take over a name that the proxy will look up. */
  proxyLookupMs: 2_000,

  /** Pause before the upstream is opened again after a failure to open it. */
  reopenMs: 2_000,
} as const
