/** Pages of a PDF file as a model names them: `3`, `3-5`, `3-`. */
import { z } from 'zod'

export const pageRange = z
  .string()
  .regex(/^[1-9]\d{0,4}(-([1-9]\d{0,4})?)?$/)
  .refine((text) => {
    const { first, last } = pagesOf(text)
    return last === undefined || last >= first
  }, 'the last page comes before the first')
  .describe('Pages of a PDF file as text: 3, 3-5, or 3- (up to a hundred at a time)')

/** @param text as `pageRange` takes it */
export function pagesOf(text: string): { first: number; last?: number } {
  const [first = '1', last] = text.split('-')
  if (last === undefined) return { first: Number(first), last: Number(first) }
  return { first: Number(first), ...(last === '' ? {} : { last: Number(last) }) }
}

export function pagesNote({ first, last, of }: { first: number; last: number; of: number }): string {
  const more = last < of ? `; read on with pages ${last + 1}-` : ''
  return `(pages ${first} to ${last} of ${of}${more})`
}
