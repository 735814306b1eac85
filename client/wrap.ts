/** Breaks text at spaces, as it streams, so that a terminal need not break it inside a word. */

export type Wrapper = {
  /** What can be written now; the last word is kept until it is known to be whole. */
  push(text: string): string
  /** The rest. */
  end(): string
}

/** Cells a terminal gives a text: two for East Asian wide characters and pictures, none for marks on others and for colours. */
function cells(text: string): number {
  let sum = 0
  for (const character of text.replaceAll(/\u001b\[[\d;]*m/g, ''))
    sum += /\p{M}|\u200d|\ufe0f/u.test(character)
      ? 0
      : /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u.test(
            character,
          )
        ? 2
        : 1
  return sum
}

/** @param columns of the terminal now; text is left alone where it is not known (0) */
export function createWrapper(columns: () => number): Wrapper {
  /** Cells written of the current line, and what of it is not written yet: spaces, then a word. */
  let column = 0
  let spaces = ''
  let word = ''

  function settle(): string {
    const room = columns()
    const width = cells(spaces) + cells(word)
    const breaks = room > 0 && column > 0 && word !== '' && column + width > room
    const out = breaks ? `\n${word}` : `${spaces}${word}`
    column = breaks ? cells(word) : column + width
    spaces = ''
    word = ''
    return out
  }

  return {
    push(text) {
      let out = ''
      for (const piece of text.match(/\n| +|[^\n ]+/g) ?? []) {
        if (piece === '\n') {
          out += `${settle()}\n`
          column = 0
        } else if (piece.startsWith(' ')) {
          if (word !== '') out += settle()
          spaces += piece
        } else word += piece
      }
      return out
    },
    end: settle,
  }
}
