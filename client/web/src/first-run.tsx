/** What an empty task offers: a folder to connect, and examples that work as they are. */
import type { JSX } from 'preact'
import { $draft, $overlay } from './interface.ts'
import { $folders, $model } from './session.ts'
import { useStore } from './use-store.ts'

const examples = ['List the files', 'Total the sales by region and write report.md', 'Find "TODO" in all files'] as const

export function FirstRun(): JSX.Element {
  const folders = useStore($folders)
  const model = useStore($model)
  return (
    <section class="first">
      <h2>What should be done?</h2>
      {folders.length === 0 ? (
        <>
          <p>Connect a folder first. Bulkhead sees that folder and nothing else, and asks before it changes anything.</p>
          <button type="button" class="main" onClick={() => $overlay.set('folder')}>
            Connect a folder
          </button>
        </>
      ) : (
        <p>{folders.map(({ name }) => `${name}/`).join(', ')} can be read now. Bulkhead asks before it changes anything.</p>
      )}
      <h3>For example</h3>
      <ul class="examples">
        {examples.map((text) => (
          <li key={text}>
            <button type="button" onClick={() => $draft.set(text)}>
              {text}
            </button>
          </li>
        ))}
      </ul>
      {model?.practice && (
        <p class="practice">
          <strong>Practice model.</strong> No API key is set, so a built-in stand-in answers. It understands plain requests like these, and
          nothing leaves this device.
        </p>
      )}
    </section>
  )
}
