import type { Actor } from '../../kernel/index.ts'
import { effects } from './effects.ts'
import { machine } from './machine.ts'
import { manifest } from './manifest.ts'
import { protocol } from './protocol.ts'

export const actor = { manifest, protocol, machine, effects } satisfies Actor
