/** The texts read last, by hash, within a size: what a refused edit is compared with. */
import { limits } from './limits.ts'

export class RecentTexts {
  /** Two halves, the older of which goes as a whole: to take single ones out of a map costs more than to read a small file. */
  #texts = new Map<string, string>()
  #older: ReadonlyMap<string, string> = new Map()
  #size = 0

  remember(sha256: string, text: string): void {
    const size = text.length * 2
    if (size > limits.rememberedBytes / 4 || this.#texts.has(sha256)) return
    if (this.#size + size > limits.rememberedBytes / 2) {
      this.#older = this.#texts
      this.#texts = new Map()
      this.#size = 0
    }
    this.#texts.set(sha256, text)
    this.#size += size
  }

  recall(sha256: string): string | null {
    return this.#texts.get(sha256) ?? this.#older.get(sha256) ?? null
  }
}
