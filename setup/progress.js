/**
 * Set-up progress for a person: on a terminal one live line per step with elapsed time, elsewhere a line when a step starts,
 * when its phase changes, and when it ends. Always stderr: stdout belongs to the product.
 *
 * @typedef {{ phase(text: string): void, detail(text: string): void, done(text?: string): void, fail(text: string): void }} StepProgress
 * @typedef {{ step(title: string): StepProgress, note(text: string): void }} Progress
 */

const redrawMs = 100
const narrowest = 40

/**
 * @param {{ write(text: string): unknown, isTTY?: boolean, columns?: number }} stream
 * @returns {Progress}
 */
export function createProgress(stream) {
  const live = stream.isTTY === true && process.env.TERM !== 'dumb'
  return {
    step: (title) => (live ? liveStep(stream, title) : plainStep(stream, title)),
    note: (text) => void stream.write(`${text}\n`),
  }
}

/**
 * @param {{ write(text: string): unknown }} stream
 * @param {string} title
 * @returns {StepProgress}
 */
function plainStep(stream, title) {
  const begun = Date.now()
  const shown = new Set()
  stream.write(`set-up: ${title} …\n`)
  return {
    phase(text) {
      if (shown.has(text)) return
      shown.add(text)
      stream.write(`set-up: ${title}: ${text}\n`)
    },
    detail() {},
    done: (text) => void stream.write(`set-up: ${title}: ${text ?? 'done'} (${elapsed(begun)})\n`),
    fail: (text) => void stream.write(`set-up: ${title}: failed (${elapsed(begun)})\n  ${text.replaceAll('\n', '\n  ')}\n`),
  }
}

/**
 * @param {{ write(text: string): unknown, columns?: number }} stream
 * @param {string} title
 * @returns {StepProgress}
 */
function liveStep(stream, title) {
  const begun = Date.now()
  let phase = ''
  let detail = ''
  const draw = () => {
    const more = [phase, detail].filter(Boolean).join(': ')
    const line = `… ${title}  ${elapsed(begun)}  ${more}`
    stream.write(`\r\u001b[K${line.slice(0, Math.max(narrowest, (stream.columns ?? 80) - 1))}`)
  }
  const timer = setInterval(draw, redrawMs)
  const end = (/** @type {string} */ line) => {
    clearInterval(timer)
    stream.write(`\r\u001b[K${line}\n`)
  }
  draw()
  return {
    phase(text) {
      if (text !== phase) detail = ''
      phase = text
    },
    detail(text) {
      detail = text
    },
    done: (text) => end(`✓ ${title}  ${text ?? ''}  (${elapsed(begun)})`),
    fail: (text) => end(`✗ ${title}  (${elapsed(begun)})\n  ${text.replaceAll('\n', '\n  ')}`),
  }
}

/**
 * @param {number} begun epoch ms
 * @returns {string} like `4.2 s` or `3 min 5 s`
 */
function elapsed(begun) {
  const seconds = (Date.now() - begun) / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
}
