/**
 * Every error code of the product, in one place: what it means and what to do. `docs/ERRORS.md` is written from this table.
 * Add a code here before using it; `fault()` refuses codes that are not listed.
 */
import type { Fault } from './types.ts'

type Entry = { meaning: string; remedy: string }

export const errorCodes = {
  // Router
  'no-capability': { meaning: 'The sender holds no capability in that slot.', remedy: 'Ask the member to grant it.' },
  revoked: { meaning: 'The capability was revoked.', remedy: 'Ask the member to grant it again.' },
  attenuated: {
    meaning: 'The capability exists but does not allow this.',
    remedy: 'Stay within the limit named in the rule, or ask the member for a wider grant.',
  },
  expired: { meaning: 'The capability was granted for a limited time or number of uses, and that is over.', remedy: 'Ask again.' },
  quota: {
    meaning: 'A budget of the capability (rate, bytes, time, model tokens, processes) is used up.',
    remedy: 'Wait if a retry time is given; otherwise ask the member for more.',
  },
  malformed: { meaning: "The message does not match the receiver's schema.", remedy: 'Correct the fields named in the cause.' },
  overloaded: { meaning: "The receiver's mailbox is full.", remedy: 'Wait for earlier requests to finish, then retry.' },
  'actor-down': { meaning: 'The receiver stopped or crashed before it replied; it is being restarted.', remedy: 'Retry in a moment.' },
  deadline: { meaning: 'No reply came before the deadline.', remedy: 'Retry, or allow more time.' },
  cancelled: { meaning: 'The request was cancelled.', remedy: 'Nothing to do, unless it was not meant.' },
  'not-now': {
    meaning: 'The receiver cannot accept this message in its present state.',
    remedy: 'Retry when the state named in the cause has passed.',
  },
  internal: { meaning: 'A defect in Bulkhead.', remedy: 'Please report it with the output of `bulkhead doctor`.' },
  // Files
  'outside-folder': {
    meaning: 'The path is not inside a connected folder.',
    remedy: 'Use a path inside a connected folder, or ask the member to connect another.',
  },
  'symlink-escape': {
    meaning: 'A symbolic link on the path leads out of the connected folder.',
    remedy: 'Use the real file, or ask the member to connect the folder it lives in.',
  },
  'read-only': { meaning: 'The folder is connected read-only.', remedy: 'Ask the member to connect it for writing.' },
  'not-found': { meaning: 'There is no such file or folder.', remedy: 'List the folder to see what is there.' },
  'already-exists': { meaning: 'Something of that name is already there.', remedy: 'Choose another name.' },
  'not-a-file': { meaning: 'The path is a folder or a special file.', remedy: 'Name a regular file.' },
  'not-a-folder': { meaning: 'The path is not a folder.', remedy: 'Name a folder.' },
  'bad-path': { meaning: 'The path has a form that is never accepted.', remedy: 'Use a relative path of ordinary names.' },
  'bad-pattern': {
    meaning: 'The search pattern is not one that can be used.',
    remedy: 'Correct the pattern; look-around and back-references do not exist here.',
  },
  'changed-since-read': { meaning: 'The file changed since it was read.', remedy: 'Read it again and repeat the edit.' },
  'no-match': { meaning: 'The text to replace is not in the file.', remedy: 'Read the file and copy the text exactly.' },
  'ambiguous-match': {
    meaning: 'The text to replace occurs more than once.',
    remedy: 'Give more surrounding text, or ask to replace all.',
  },
  'too-large': { meaning: 'It is larger than the limit.', remedy: 'Read it in parts, or narrow the request.' },
  'not-text': { meaning: 'The file is not UTF-8 text.', remedy: 'Process it with a program in the workspace.' },
  'io-failed': { meaning: 'The operating system refused or failed.', remedy: 'See the cause; check permissions and free space.' },
  'mass-change': {
    meaning: 'More would be moved at once than an approval given for something else covers.',
    remedy: 'Use the file tools, which ask the member for exactly this.',
  },
  'protected-path': {
    meaning: 'Programs on the device run or obey what is at this path, so changing it needs an approval of its own.',
    remedy: 'Use the file tools, which ask the member for exactly this path.',
  },
  'store-full': {
    meaning: 'What the change would replace cannot be kept for undo.',
    remedy: 'Free some space on the device, or make the change by hand.',
  },
  'nothing-to-undo': { meaning: 'There is no such change, or it is undone already.', remedy: 'List them with `bulkhead changes`.' },
  // Egress
  'egress-denied': {
    meaning: 'The host is not on the list of allowed hosts.',
    remedy: 'Ask the member to allow the host (`--allow-host`).',
  },
  'private-address': {
    meaning: 'The name leads to a private, loopback or otherwise internal address.',
    remedy: 'Only public hosts can be fetched.',
  },
  'bad-url': { meaning: 'The address is not an http or https URL that can be used.', remedy: 'Correct the URL.' },
  'fetch-failed': { meaning: 'The host could not be reached or broke off.', remedy: 'Check the address and the network, then retry.' },
  'unsupported-content': {
    meaning: 'What came cannot be read as text.',
    remedy: 'Ask for text (HTML, Markdown, JSON) or a whole PDF file.',
  },
  'cross-host-redirect': {
    meaning: 'The page redirects to another host.',
    remedy: 'Fetch the address named in the cause, if it is wanted.',
  },
  'model-unreachable': { meaning: 'The model API could not be reached.', remedy: 'Check the network and ANTHROPIC_BASE_URL.' },
  'model-refused': { meaning: 'The model API refused the request.', remedy: 'See the cause; check the key and the model name.' },
  // Workspace
  'workspace-unavailable': {
    meaning: 'The workspace VM is not running.',
    remedy: 'File and web tools still work; retry later, or see `bulkhead vm status`.',
  },
  'exec-failed': { meaning: 'The command could not be started in the workspace.', remedy: 'See the cause.' },
  'exec-timeout': { meaning: 'The command ran longer than allowed and was ended.', remedy: 'Allow more time, or split the work.' },
  'image-failed': { meaning: 'The workspace image could not be built.', remedy: 'Run `npm start -- setup` and follow its advice.' },
  // Consent and sessions
  denied: { meaning: 'The member, or the approval mode, said no.', remedy: 'Do something else, or ask the member what they would accept.' },
  'policy-denied': {
    meaning: 'Policy does not allow it; the rule names the key and who decided.',
    remedy: 'Ask whoever manages this device; `bulkhead policy explain KEY` says more.',
  },
  'no-one-to-ask': {
    meaning: 'It needs approval and no client is there to give it.',
    remedy: 'Run with a terminal, or choose an `--approve` mode.',
  },
  'no-such-session': { meaning: 'There is no session of that name.', remedy: 'List sessions, or start a new one.' },
  'session-busy': { meaning: 'The session is already working on a prompt.', remedy: 'Wait for it to end, or cancel it.' },
  'unknown-tool': { meaning: 'There is no tool of that name.', remedy: 'Use one of the tools offered.' },
  'bad-input': { meaning: "The tool's input does not match its schema.", remedy: 'Correct the fields named in the cause.' },
  'turn-limit': { meaning: 'The turn used as many model calls as one turn may.', remedy: 'Continue with a new prompt.' },
  'context-full': { meaning: 'The conversation no longer fits the model.', remedy: 'Start a new session, or ask for less at once.' },
  'output-limit': {
    meaning: 'The answer is longer than the model may write in one turn.',
    remedy: 'Ask for less at once, or for a file instead of an answer.',
  },
  declined: { meaning: 'The model declined the request.', remedy: 'Put it in other words, or leave out what it will not do.' },
  // Telemetry and audit
  'audit-failed': {
    meaning: 'The audit log cannot be written, and what was asked must not happen without a record.',
    remedy:
      'Free disk space or correct the permissions of the audit folder in BULKHEAD_HOME, then try again; if the folder itself was replaced, restart the daemon.',
  },
  'telemetry-off': { meaning: 'Telemetry has no endpoint to go to.', remedy: 'Set `otlpEndpoint` in the managed settings.' },
  // Tool servers
  'server-unavailable': {
    meaning: 'The tool server is not running.',
    remedy: 'See the cause and `bulkhead mcp list`; it is started again by itself.',
  },
  'tool-failed': {
    meaning: 'The tool server did not carry the call out.',
    remedy: 'See the cause; correct the input, or do without this tool.',
  },
  'disabled-by-policy': {
    meaning: 'The managed policy of this device does not allow it.',
    remedy: 'Do without it, or ask the administrator; the rule names the key and its source.',
  },
  'not-approved': {
    meaning: 'The tool is new or was changed by its server, and nobody approved that yet.',
    remedy: 'Look at the change with `bulkhead mcp list`, then `bulkhead mcp approve NAME`.',
  },
  'bad-extension': {
    meaning: 'The file is not an extension that can be installed.',
    remedy: 'See the cause; get the file again from where it was published.',
  },
  'bad-actor': {
    meaning: 'The folder is no actor that can be added, or asks for what actors from outside are not given.',
    remedy: 'Correct what the cause names; docs/INTEGRATORS.md says what an actor may ask for.',
  },
  'bad-settings': {
    meaning: 'The settings do not say what is needed, or not in a form that is understood.',
    remedy: 'Correct what the cause names.',
  },
  // Clients and set-up
  'daemon-down': { meaning: 'The daemon is not running or does not answer.', remedy: 'Run `bulkhead daemon start`.' },
  'settings-differ': {
    meaning: 'The running daemon was started with other settings (key, base URL, workspace) and is busy.',
    remedy: 'Wait for its prompt to end, or run `bulkhead daemon stop`.',
  },
  'unsafe-runtime-dir': {
    meaning: 'The folder for sockets could be written by someone else.',
    remedy: 'Remove it, or make it yours with mode 0700; it is made anew.',
  },
  'setup-failed': { meaning: 'A set-up step failed.', remedy: 'See the cause; the step can be repeated.' },
} as const satisfies Record<string, Entry>

export type ErrorCode = keyof typeof errorCodes

/** A listed fault; `remedy` defaults to the table's. */
export function fault(code: ErrorCode, message: string, more: Partial<Omit<Fault, 'code' | 'message'>> = {}): Fault {
  return { code, message, remedy: errorCodes[code].remedy, ...more }
}

/** Any thrown value as a fault: faults pass through, the rest becomes `internal` with its message as the cause. */
export function asFault(thrown: unknown): Fault {
  if (isFault(thrown)) return thrown
  const cause = thrown instanceof Error ? thrown.message : String(thrown)
  return fault('internal', 'Something went wrong inside Bulkhead.', { cause })
}

export function isFault(value: unknown): value is Fault {
  return (
    typeof value === 'object' &&
    value !== null &&
    'code' in value &&
    'remedy' in value &&
    typeof value.code === 'string' &&
    value.code in errorCodes
  )
}
