/** What it will do, what it can see, what it can reach. The last two are the kernel's live grants, each with its Revoke. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { $overlay } from './interface.ts'
import { $approve, $grants, $model, $questions, $queue, $running, $servers, $session, $transcript, revoke, setApprove } from './session.ts'
import type { ItemStore } from './transcript.ts'
import type { Approve, Grant, ToolServer } from './types.ts'
import { useStore } from './use-store.ts'

/** Steps shown; earlier ones are counted. */
const maxSteps = 8

export function Control(): JSX.Element {
  const grants = useStore($grants)
  const model = useStore($model)
  const session = useStore($session)
  const servers = useStore($servers)
  const seen = grants.filter(({ kind }) => kind === 'folder' || kind === 'write')
  const reached = grants.filter(({ kind }) => kind === 'fetch' || kind === 'exec' || kind === 'mcp')
  return (
    <div class="panels">
      <WillDo />
      <section aria-labelledby="can-see">
        <h2 id="can-see">Can see</h2>
        {seen.length === 0 && <p class="empty">No folder. It sees none of your files.</p>}
        <ul class="grants">
          {seen.map((grant) => (
            <GrantRow key={grant.id} grant={grant} />
          ))}
        </ul>
        <button type="button" class="add" id="add-folder" onClick={() => $overlay.set('folder')}>
          + Connect a folder
        </button>
      </section>
      <section aria-labelledby="can-reach">
        <h2 id="can-reach">Can reach</h2>
        <ul class="grants">
          <li>
            <strong>{model?.practice ? 'Practice model' : 'Model API'}</strong>
            <div class="fine">{model?.practice ? 'built in, on this device' : (model?.name ?? '') || 'always, to answer at all'}</div>
          </li>
          {servers.map((server) => (
            <ServerRow key={server.name} server={server} />
          ))}
          {reached.map((grant) => (
            <GrantRow key={grant.id} grant={grant} />
          ))}
        </ul>
        <button type="button" class="add" id="add-host" disabled={session === null} onClick={() => $overlay.set('host')}>
          + Allow a host
        </button>
      </section>
      <Approvals />
    </div>
  )
}

function WillDo(): JSX.Element {
  const transcript = useStore($transcript)
  const steps = useStore(transcript.$steps)
  const queue = useStore($queue)
  const running = useStore($running)
  const questions = useStore($questions)
  const shown = steps.slice(-maxSteps)
  return (
    <section aria-labelledby="will-do">
      <h2 id="will-do">Will do</h2>
      {steps.length === 0 && queue.length === 0 && <p class="empty">{running ? 'Thinking about it.' : 'Nothing until you ask.'}</p>}
      <ol class="steps">
        {steps.length > shown.length && <li class="fine">{steps.length - shown.length} earlier steps</li>}
        {shown.map((store) => (
          <Step key={store.get().key} store={store} waits={questions} />
        ))}
        {queue.map(({ id, text }) => (
          <li key={id}>
            <span class="mark" aria-hidden="true">
              ○
            </span>
            <span>
              <span class="unseen">Next: </span>
              {text}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}

const stepWords = {
  running: ['●', 'Now: '],
  done: ['✓', 'Done: '],
  failed: ['✗', 'Failed: '],
  stopped: ['–', 'Stopped: '],
} as const

function Step({ store, waits }: { store: ItemStore; waits: readonly { toolCall: string; title: string }[] }): JSX.Element | null {
  const item = useStore(store)
  if (item.kind !== 'tool') return null
  const asks = item.state === 'running' && waits.some(({ toolCall, title }) => toolCall === item.id || title === item.title)
  const [mark, word] = stepWords[item.state]
  return (
    <li class={item.state}>
      <span class="mark" aria-hidden="true">
        {mark}
      </span>
      <span>
        <span class="unseen">{word}</span>
        {item.title}
        {asks && <span class="needs"> needs you</span>}
      </span>
    </li>
  )
}

const kinds: Readonly<Record<Grant['kind'], string>> = {
  folder: '',
  write: 'Changes files without asking',
  exec: 'Runs commands without asking',
  fetch: 'Web pages',
  mcp: 'Calls this tool without asking',
}

/** Tool servers belong to the device, not to the session: they are shown here, and taken away with `bulkhead mcp`. */
function ServerRow({ server: { name, state, network, error, tools } }: { server: ToolServer }): JSX.Element {
  const ready = state === 'ready'
  return (
    <li data-server={name}>
      <strong>{name}</strong>
      <div class="fine">
        <span>
          {ready ? `tool server, ${tools.length} tools` : `tool server, ${state}`}
          {network ? ', with network' : ', no network'}
        </span>
        {!ready && error && <span>{error.message}</span>}
      </div>
    </li>
  )
}

function GrantRow({ grant }: { grant: Grant }): JSX.Element {
  const [busy, setBusy] = useState(false)
  const { kind, scope, by, at, reason } = grant
  const [name = scope, rest = ''] = scope.split(/ (?=\()/)
  return (
    <li data-grant={kind}>
      <strong>{name}</strong>
      <div class="fine">
        <span>{kind === 'folder' ? rest.replace(/^\(|\)$/g, '') : kinds[kind]}</span>
        <span title={reason}>
          by {by}, {clock(at)}
        </span>
      </div>
      <button
        type="button"
        class="revoke"
        disabled={busy}
        aria-label={`Revoke ${scope}`}
        onClick={() => {
          setBusy(true)
          void revoke(grant).finally(() => setBusy(false))
        }}
      >
        Revoke
      </button>
    </li>
  )
}

const modes: readonly (readonly [Approve, string])[] = [
  ['ask', 'Ask before every change'],
  ['edits', 'Change files without asking'],
  ['all', 'Do everything without asking'],
  ['none', 'Refuse whatever would ask'],
]

function Approvals(): JSX.Element {
  const approve = useStore($approve)
  return (
    <section aria-labelledby="approvals">
      <h2 id="approvals">Approvals</h2>
      <select
        aria-labelledby="approvals"
        value={approve}
        class={approve === 'all' ? 'careful' : ''}
        onChange={({ currentTarget }) => void setApprove(currentTarget.value as Approve)}
      >
        {modes.map(([mode, text]) => (
          <option key={mode} value={mode}>
            {text}
          </option>
        ))}
      </select>
      {approve === 'all' && <p class="fine">Files and commands are not asked about. Folders and hosts stay as they are above.</p>}
    </section>
  )
}

function clock(at: number): string {
  const date = new Date(at)
  const today = new Date().toDateString() === date.toDateString()
  return today ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : date.toLocaleDateString()
}
