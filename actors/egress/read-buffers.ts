import { limits } from './limits.ts'
const free: Buffer[] = []
const size = Number(process.env['RB'] ?? 256) * 1024
export const take = (): Buffer => free.pop() ?? Buffer.allocUnsafeSlow(size)
export const give = (b: Buffer): void => {
  if (free.length < 64) free.push(b)
}
void limits
