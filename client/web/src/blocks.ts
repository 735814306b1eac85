/** A Markdown text cut into blocks, so that the finished ones need not be drawn again while the last one grows. */

/** At blank lines outside of fences, but never inside a list, whose items would lose their list. */
export function splitBlocks(text: string): string[] {
  const blocks: string[] = []
  let current: string[] = []
  let fence: string | null = null
  let blank = false
  for (const line of text.split('\n')) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1]
    const continues = /^(\s+\S|\s*([-*+]|\d+[.)])\s)/.test(line)
    if (blank && fence === null && line.trim() !== '' && !(continues && isList(current))) {
      blocks.push(current.join('\n'))
      current = []
    }
    if (mark && fence === null) fence = mark
    else if (mark && fence !== null && mark.startsWith(fence)) fence = null
    blank = line.trim() === ''
    current.push(line)
  }
  if (current.some((line) => line.trim() !== '')) blocks.push(current.join('\n'))
  return blocks
}

const isList = (lines: readonly string[]): boolean => /^\s*([-*+]|\d+[.)])\s/.test(lines.find((line) => line.trim() !== '') ?? '')

/** With open fences and emphasis closed, so that half an answer does not flicker between shapes. */
export function closed(block: string): string {
  const fences = block.match(/^ {0,3}(`{3,}|~{3,})/gm) ?? []
  if (fences.length % 2 === 1) return `${block}\n${fences[0]?.trim() ?? ''}`
  const strong = (block.match(/\*\*/g) ?? []).length % 2 === 1 ? '**' : ''
  const code = (block.replaceAll('```', '').match(/`/g) ?? []).length % 2 === 1 ? '`' : ''
  return /\S$/.test(block) ? `${block}${code}${strong}` : block
}
