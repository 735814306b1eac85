/** Stands for the reader: what it was given, without markup. */
import type { Reader } from '../fetch-page.ts'

export const standInReader: Reader = {
  async page({ html, whole }) {
    const title = /<title>([^<]*)<\/title>/.exec(html)?.[1] ?? null
    const text = html.replace(/<title>[^<]*<\/title>/, '').replace(/<[^>]*>/g, '')
    return { title, text, part: whole ? 'whole' : 'article', truncated: false }
  },
  async pdf({ bytes, first = 1, last = 3 }) {
    return { title: null, text: `${bytes.byteLength} bytes`, first, last, pages: 3, truncated: false }
  },
}
