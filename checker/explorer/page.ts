/** The explorer's page. Everything it shows is asked for by the path in the address, so that a link leads to the very state. */
import type { Change } from './differences.ts'
import type { Chart, Overview, Place } from './walk.ts'

const namespace = 'http://www.w3.org/2000/svg'
const byId = (id: string): HTMLElement => document.getElementById(id) as HTMLElement

function make(tag: string, text = '', className = ''): HTMLElement {
  const element = document.createElement(tag)
  element.textContent = text
  if (className !== '') element.className = className
  return element
}

function draw(tag: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const element = document.createElementNS(namespace, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  element.textContent = text
  return element
}

async function ask<T>(address: string): Promise<T> {
  const response = await fetch(address)
  const body = (await response.json()) as T & { error?: string }
  if (!response.ok) throw new Error(body.error ?? response.statusText)
  return body
}

let overview: Overview | null = null
let focusSteps = false

const pathHere = (): number[] =>
  location.hash
    .replace(/^#/, '')
    .split('.')
    .filter((part) => part !== '')
    .map(Number)
const goTo = (path: readonly number[]): void => void (location.hash = path.join('.'))

async function show(): Promise<void> {
  let place: Place
  try {
    place = await ask<Place>(`/place?path=${pathHere().join('.')}`)
  } catch (error) {
    byId('summary').textContent = `${String(error)} The path in the address leads nowhere; back to the start.`
    return goTo([])
  }
  showPath(place)
  showSteps(place)
  showState(place)
  showSequence(place)
  showProperties(place)
  showCharts(place)
}

function showPath({ path, taken }: Place): void {
  ;(byId('back') as HTMLButtonElement).disabled = path.length === 0
  ;(byId('start') as HTMLButtonElement).disabled = path.length === 0
  byId('path').replaceChildren(
    ...taken.map(({ actor, label }, index) => {
      const item = make('li', '', 'path')
      const button = make('button', `${actor}: ${label}`, 'link')
      button.addEventListener('click', () => goTo(path.slice(0, index + 1)))
      item.append(button)
      return item
    }),
  )
}

function changeText({ component, path, before, after }: Change): HTMLElement {
  const line = make('small')
  line.append(`${component}${path === '' ? '' : ` · ${path}`}: `)
  if (before !== null) line.append(make('del', clip(before)), ' ')
  if (after !== null) line.append(make('ins', clip(after)))
  return line
}

const clip = (text: string): string => (text.length > 90 ? `${text.slice(0, 89)}…` : text)

function showSteps({ path, choices }: Place): void {
  const items = choices.map(({ index, actor, label, sent, changes, broken }) => {
    const item = make('li')
    const button = make('button', `${actor}: ${label}`, 'step')
    if (broken !== null) button.append(make('small', `breaks: ${broken}`, 'broken'))
    for (const message of sent) button.append(make('small', `→ ${message}`))
    for (const change of changes.slice(0, 12)) button.append(changeText(change))
    if (changes.length === 0) button.append(make('small', 'changes nothing'))
    button.addEventListener('click', () => {
      focusSteps = true
      goTo([...path, index])
    })
    item.append(button)
    return item
  })
  byId('steps').replaceChildren(...(items.length > 0 ? items : [make('li', 'Nothing can happen any more.')]))
  if (focusSteps) byId('steps').querySelector('button')?.focus()
  focusSteps = false
}

function showState({ state, taken }: Place): void {
  const changed = new Set((taken.at(-1)?.changes ?? []).map(({ component, path }) => `${component}/${path.split('.')[0]}`))
  byId('state').replaceChildren(
    ...Object.entries(state).map(([component, value]) => {
      const table = make('table')
      table.append(make('caption', component))
      const rows = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [['', value] as const]
      for (const [name, item] of rows) {
        const row = make('tr', '', changed.has(`${component}/${name}`) ? 'changed' : '')
        if (name !== '') {
          const head = make('th', name)
          head.setAttribute('scope', 'row')
          row.append(head)
        }
        row.append(make('td', JSON.stringify(item)))
        table.append(row)
      }
      return table
    }),
  )
}

function showProperties({ holds }: Place): void {
  const here = new Map(holds.map(({ name, here: holdsHere }) => [name, holdsHere]))
  const known = overview?.result.properties ?? holds.map(({ name, kind }) => ({ name, kind, held: true, vacuous: false }))
  byId('properties').replaceChildren(
    ...known.map(({ name, kind, held, vacuous }) => {
      const item = make('li', '', held ? '' : 'broken')
      const now = here.get(name)
      item.append(
        `${held ? '✓' : '✗'} ${kind}: ${name}${vacuous ? ' (for want of cases)' : ''}${now === undefined ? '' : now ? ' (holds here)' : ' (not here)'}`,
      )
      const violation = overview?.violations.find(({ property }) => property === name)
      if (violation) {
        const link = make('button', 'show the counterexample', 'link')
        link.addEventListener('click', () => goTo(violation.path))
        item.append(' ', link)
      }
      return item
    }),
  )
}

/** Lifelines and messages, drawn from the Mermaid text so that picture and text cannot differ. */
function showSequence({ diagram }: Place): void {
  byId('mermaid').textContent = diagram
  const names = [...diagram.matchAll(/^ {2}participant (p\d+) as (.*)$/gm)].map(([, id = '', name = '']) => ({ id, name }))
  const events = [...diagram.matchAll(/^ {2}(?:Note over (p\d+): (.*)|(p\d+)(-->>|->>)(p\d+): (.*))$/gm)]
  const wide = 190
  const column = (id: string | undefined): number => 90 + wide * names.findIndex((name) => name.id === id)
  const height = 50 + 26 * events.length
  const svg = draw('svg', {
    width: Math.max(300, wide * names.length + 40),
    height,
    role: 'img',
    'aria-label': `Messages: ${events.length} steps on this path`,
  })
  for (const { id, name } of names)
    svg.append(
      draw('text', { x: column(id), y: 16, 'text-anchor': 'middle' }, name),
      draw('line', { class: 'arrow', x1: column(id), y1: 24, x2: column(id), y2: height }),
    )
  for (const [index, [, over, note = '', from, kind, to, text = '']] of events.entries()) {
    const y = 44 + 26 * index
    if (over) {
      svg.append(draw('circle', { class: 'head', cx: column(over), cy: y - 4, r: 4 }), draw('text', { x: column(over) + 9, y }, clip(note)))
      continue
    }
    const [x1, x2] = [column(from), column(to)]
    const back = x2 < x1 ? 6 : -6
    svg.append(
      draw('line', { class: 'arrow', x1, y1: y, x2, y2: y, ...(kind === '-->>' ? { 'stroke-dasharray': '5 4' } : {}) }),
      draw('path', { class: 'head', d: `M${x2},${y} l${back},-4 l0,8 z` }),
      draw('text', { class: 'label', x: (x1 + x2) / 2, y: y - 4, 'text-anchor': 'middle' }, clip(text)),
    )
  }
  byId('sequence').replaceChildren(svg)
}

function activeIds(value: unknown, prefix: string): string[] {
  if (typeof value === 'string') return [`${prefix}.${value}`]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [`${prefix}.${key}`, ...activeIds(inner, `${prefix}.${key}`)])
}

function showCharts({ state }: Place): void {
  byId('charts').replaceChildren(
    ...(overview?.charts ?? []).map(({ actor, chart }) => {
      const figure = make('figure')
      const root = chart.states.find(({ parent }) => parent === null)?.id.split('.')[0] ?? ''
      const value = (state[actor] as { value?: unknown } | undefined)?.value
      figure.append(
        chart.states.length === 0
          ? make('p', 'One state: all it knows is in its context.')
          : chartPicture(chart, new Set(activeIds(value, root))),
        make('figcaption', `${actor}: ${value === undefined ? '' : JSON.stringify(value)}`),
      )
      return figure
    }),
  )
}

/** Of a line of small text, px. */
const labelTall = 16

/** One row a state, indented below its parent, with the arrows as arcs at the right: readable for any machine, whatever its shape. */
function chartPicture({ states, arrows }: Chart, active: ReadonlySet<string>): SVGElement {
  const depth = (id: string): number => {
    const parent = states.find((state) => state.id === id)?.parent
    return parent ? 1 + depth(parent) : 0
  }
  const row = new Map(states.map(({ id }, index) => [id, index]))
  const tall = 34
  const right = 260
  const drawn = arrows.filter(({ from, to }) => row.has(from) && row.has(to))
  const height = Math.max(50, tall * states.length + 10, labelTall * (drawn.length + 1))
  const lines = new Set<number>()
  const svg = draw('svg', { width: 900, height, role: 'img', 'aria-label': `${states.length} states, ${arrows.length} transitions` })
  for (const { id, initial } of states) {
    const y = 5 + tall * (row.get(id) as number)
    const x = 10 + 22 * depth(id)
    svg.append(
      draw('rect', { class: active.has(id) ? 'box here' : 'box', x, y, width: right - x - 10, height: 26, rx: 6 }),
      draw('text', { x: x + 9, y: y + 17 }, `${initial ? '● ' : ''}${id.includes('.') ? id.split('.').at(-1) : 'anywhere'}`),
    )
  }
  for (const [index, { from, to, label }] of drawn.entries()) {
    const y1 = 18 + tall * (row.get(from) as number)
    const y2 = 18 + tall * (row.get(to) as number)
    const out = 30 + 14 * (index % 9)
    // On a line that no other label has, as near to the middle of the arrow as there is one.
    const wanted = Math.round(((y1 + y2) / 2 + (from === to ? 9 : 0)) / labelTall)
    const most = Math.floor(height / labelTall)
    const line = Array.from({ length: most }, (_, i) => i + 1)
      .filter((free) => !lines.has(free))
      .reduce((best, free) => (Math.abs(free - wanted) < Math.abs(best - wanted) ? free : best), Number.POSITIVE_INFINITY)
    lines.add(line)
    const middle = line * labelTall - 3
    svg.append(
      draw('path', { class: 'arrow', d: `M${right - 10},${y1} C${right + out},${y1} ${right + out},${y2} ${right - 6},${y2}` }),
      draw('path', { class: 'head', d: `M${right - 9},${y2} l7,-4 l0,8 z` }),
      draw('text', { class: 'label', x: right + out - 8 + 8, y: middle }, clip(label)),
    )
  }
  return svg
}

byId('back').addEventListener('click', () => goTo(pathHere().slice(0, -1)))
byId('start').addEventListener('click', () => goTo([]))
window.addEventListener('hashchange', () => void show())
await show()
overview = await ask<Overview>('/overview')
const { name, result } = overview
document.title = `${name} · Bulkhead explorer`
byId('name').textContent = name
const counted = (count: number): string => count.toLocaleString('en')
byId('summary').textContent = `${counted(result.states)} states, ${counted(result.transitions)} transitions, depth ${result.depth}, ${
  result.complete ? 'all of them seen' : 'stopped at the limit'
}; ${overview.violations.length === 0 ? 'every property holds' : `${overview.violations.length} broken`}`
await show()
