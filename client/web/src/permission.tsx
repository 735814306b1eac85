/** A permission asked for: exactly what, what it means, and the choices the gateway offers, no others. Esc is no. */
import type { JSX } from 'preact'
import { useRef } from 'preact/hooks'
import { Dialog } from './dialog.tsx'
import { focusInput } from './interface.ts'
import { $questions, $session, $transcript } from './session.ts'
import { Code } from './markdown.tsx'
import { Diff } from './tool-line.tsx'
import type { Asked } from './types.ts'
import { useStore } from './use-store.ts'

/** A question that opens under a member's typing hands is not answered by what they type, ms. */
const deafMs = 500

export function Permission(): JSX.Element | null {
  const questions = useStore($questions)
  const session = useStore($session)
  const asked = questions.find((question) => question.session === session)
  return asked ? <Question key={asked.id} asked={asked} /> : null
}

function Question({ asked }: { asked: Asked }): JSX.Element {
  const { title, detail, tool, options } = asked
  const untrusted = fetchedBefore()
  const opened = useRef(performance.now())
  const heard = (choose: () => void) => (): void => {
    if (performance.now() - opened.current > deafMs) choose()
  }
  const denial = options.find(({ scope }) => scope === null)
  const choices = [
    ...options.map(({ id, label, scope }) => ({ label, deny: scope === null, choose: heard(() => asked.answer(id)) })),
    ...(denial
      ? [
          {
            label: 'Deny and tell it why…',
            deny: true,
            choose: heard(() => {
              asked.answer(denial.id)
              focusInput()
            }),
          },
        ]
      : []),
  ]
  return (
    <Dialog
      wide
      title={`Bulkhead wants to ${title.charAt(0).toLowerCase()}${title.slice(1)}`}
      onClose={heard(() => denial && asked.answer(denial.id))}
      onKey={(key) => choices[Number(key) - 1]?.choose()}
    >
      <p>{meaning(tool)}</p>
      {tool === 'Bash' ? <Code text={detail} /> : <Diff text={detail} />}
      {untrusted && <p class="warning">Before this, it read a web page in this task. What a page says can try to steer it.</p>}
      <div class="choices">
        {choices.map(({ label, deny, choose }, at) => (
          <button key={label} type="button" class={deny ? 'deny' : ''} autoFocus={at === 0} onClick={choose}>
            <kbd>{at + 1}</kbd>
            <span>{label}</span>
          </button>
        ))}
      </div>
      <p class="fine">Press a digit to choose. Esc denies.</p>
    </Dialog>
  )
}

function meaning(tool: string): string {
  switch (tool) {
    case 'Bash':
      return 'This command runs in the workspace, a separate Linux system. It sees the connected folders and nothing else of this device.'
    case 'Write':
      return 'The file gets this content. Lines with + are new, lines with − go away.'
    case 'Edit':
      return 'The file is changed like this. Lines with + are new, lines with − go away.'
    default:
      return `It wants to use ${tool} like this.`
  }
}

/** Whether content from outside came into this turn. */
function fetchedBefore(): boolean {
  const steps = $transcript.get().$steps.get()
  return steps.some((store) => {
    const item = store.get()
    return item.kind === 'tool' && (item.name === 'WebFetch' || item.name === 'WebSearch') && item.state === 'done'
  })
}
