/** The small dialogs: connect a folder, allow a host, the workspace's details, keys. */
import type { JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { $connection } from './connection.ts'
import { Dialog } from './dialog.tsx'
import { $keys, $overlay, $theme, type Theme } from './interface.ts'
import { allowHost, connectFolder, restartWorkspace, $folders, $recent, $vm } from './session.ts'
import type { Fault } from './types.ts'
import { useStore } from './use-store.ts'
import { workspaceText } from './workspace-text.ts'

const close = (): void => $overlay.set(null)

export function Overlays(): JSX.Element | null {
  switch (useStore($overlay)) {
    case 'folder':
      return <ConnectFolder />
    case 'host':
      return <AllowHost />
    case 'help':
      return <Help />
    case 'workspace':
      return <Workspace />
    default:
      return null
  }
}

/** A form whose submit may be refused: the refusal is shown where it was asked for. */
function Form(props: { submit: string; work(signal: AbortSignal): Promise<void>; children: JSX.Element | JSX.Element[] }): JSX.Element {
  const [fault, setFault] = useState<Fault | null>(null)
  const [busy, setBusy] = useState(false)
  const connecting = useStore($connection) === 'connecting'
  const [closed] = useState(() => new AbortController())
  useLayoutEffect(() => () => closed.abort(), [])
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        setBusy(true)
        const { signal } = closed
        props
          .work(signal)
          // Another dialog may be open by then.
          .then(
            () => signal.aborted || close(),
            (error: unknown) => setFault(error as Fault),
          )
          .finally(() => setBusy(false))
      }}
    >
      {props.children}
      {fault && (
        <p class="fault" role="alert">
          <strong>{fault.message}</strong> {fault.remedy} <code>{fault.code}</code>
        </p>
      )}
      {busy && connecting && <p class="fine">Waiting for the connection to Bulkhead …</p>}
      <div class="buttons">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="main" disabled={busy}>
          {props.submit}
        </button>
      </div>
    </form>
  )
}

/** Recent folders offered: more are quicker typed than found. */
const maxRecent = 5

function ConnectFolder(): JSX.Element {
  const [path, setPath] = useState('')
  const [mode, setMode] = useState<'ro' | 'rw'>('rw')
  const field = useRef<HTMLInputElement>(null)
  const connected = useStore($folders).map(({ root }) => root)
  const recent = useStore($recent).filter((root) => !connected.includes(root))
  // Only written into the field: what is connected is what stands there, by its own button.
  const choose = (root: string): void => {
    setPath(root)
    field.current?.focus()
  }
  return (
    <Dialog title="Connect a folder" onClose={close}>
      <p>Bulkhead can read everything in it from then on, until you revoke it.</p>
      <Form submit="Connect" work={(signal) => connectFolder(path.trim(), mode, signal)}>
        <label class="text">
          Path of the folder
          <input
            ref={field}
            autoFocus
            required
            spellcheck={false}
            autocomplete="off"
            placeholder="/home/you/Documents/sales"
            value={path}
            onInput={({ currentTarget }) => setPath(currentTarget.value)}
          />
        </label>
        <>
          {recent.length > 0 && (
            <section class="recent" aria-labelledby="recent">
              <h3 id="recent">Connected lately</h3>
              <ul>
                {recent.slice(0, maxRecent).map((root) => (
                  <li key={root}>
                    <button type="button" class="quiet" aria-pressed={root === path} onClick={() => choose(root)}>
                      <span>{root.slice(0, root.lastIndexOf('/') + 1)}</span>
                      {root.slice(root.lastIndexOf('/') + 1)}
                    </button>
                  </li>
                ))}
              </ul>
            </section>
          )}
        </>
        <fieldset>
          <legend>It may</legend>
          <label>
            <input type="radio" name="mode" checked={mode === 'rw'} onChange={() => setMode('rw')} /> Read, and ask to change files
          </label>
          <label>
            <input type="radio" name="mode" checked={mode === 'ro'} onChange={() => setMode('ro')} /> Only read
          </label>
        </fieldset>
      </Form>
    </Dialog>
  )
}

function AllowHost(): JSX.Element {
  const [host, setHost] = useState('')
  return (
    <Dialog title="Allow a host" onClose={close}>
      <p>Bulkhead may then fetch pages from it in this session. What it fetches with can carry what it has read.</p>
      <Form submit="Allow" work={(signal) => allowHost(host.trim(), signal)}>
        <label class="text">
          Host, such as example.com or *.example.com
          <input
            autoFocus
            required
            spellcheck={false}
            autocomplete="off"
            pattern="[^/ ]+"
            title="A host, not an address: example.com"
            value={host}
            onInput={({ currentTarget }) => setHost(currentTarget.value)}
          />
        </label>
      </Form>
    </Dialog>
  )
}

function Workspace(): JSX.Element {
  const vm = useStore($vm)
  const steps = Object.entries(vm?.timings ?? {})
  return (
    <Dialog title="Workspace" onClose={close}>
      <p>
        <strong>{workspaceText(vm).text}.</strong> {workspaceText(vm).why}
      </p>
      {vm?.lastError && (
        <p class="fault">
          <strong>{vm.lastError.message}</strong> {vm.lastError.cause} {vm.lastError.remedy} <code>{vm.lastError.code}</code>
        </p>
      )}
      {steps.length > 0 && (
        <table class="facts-table">
          <caption>Last start</caption>
          <tbody>
            {steps.map(([name, ms]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{(ms / 1000).toFixed(1)} s</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <div class="buttons">
        {vm && vm.state !== 'off' && vm.state !== 'absent' && (
          <button type="button" onClick={restartWorkspace}>
            {vm.state === 'stopped' ? 'Start' : 'Restart'}
          </button>
        )}
        <button type="button" class="main" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  )
}

const keys: readonly (readonly [string, string])[] = [
  ['n', 'new task'],
  ['/', 'write'],
  ['Enter', 'send'],
  ['Tab', 'queue, while it works'],
  ['Esc', 'interrupt'],
  ['g f', 'folders'],
  ['g r', 'reach'],
  ['g s', 'sessions'],
  ['?', 'this list'],
]

function Help(): JSX.Element {
  const on = useStore($keys)
  const theme = useStore($theme)
  return (
    <Dialog title="Keys and looks" onClose={close}>
      <dl class="keys">
        {keys.map(([key, text]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <label>
        <input type="checkbox" checked={on} onChange={({ currentTarget }) => $keys.set(currentTarget.checked)} /> Single-key shortcuts
      </label>
      <fieldset>
        <legend>Colours</legend>
        {(['auto', 'light', 'dark'] as const satisfies readonly Theme[]).map((name) => (
          <label key={name}>
            <input type="radio" name="theme" checked={theme === name} onChange={() => $theme.set(name)} />{' '}
            {{ auto: 'As the device', light: 'Light', dark: 'Dark' }[name]}
          </label>
        ))}
      </fieldset>
      <div class="buttons">
        <button type="button" class="main" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  )
}
