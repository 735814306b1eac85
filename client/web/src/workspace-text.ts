/** The workspace's state in a few true words. */
import type { VmState } from '../../../actors/vm-supervisor/protocol.ts'
import type { Vm } from './types.ts'

export type Told = { text: string; why: string; tone: 'good' | 'busy' | 'bad' | 'calm' }

export function workspaceText(vm: Vm | null): Told {
  if (!vm) return { text: 'Workspace', why: 'Its state is not known yet.', tone: 'calm' }
  return told[vm.state](vm)
}

const starting = ({ progress }: Vm): Told => ({
  text: `Workspace starting${progress ? `: ${progress}` : ''}`,
  why: 'Commands wait until it is ready.',
  tone: 'busy',
})

const reduced = {
  text: 'Workspace ready, reduced isolation',
  why: 'It is emulated, or runs without its jail, and so is walled off less well.',
}
const full = { text: 'Workspace ready', why: 'Commands run in a separate Linux system.' }

const told: Readonly<Record<VmState, (vm: Vm) => Told>> = {
  off: () => ({
    text: 'Workspace off',
    why: 'It is switched off by configuration. Files and web still work; commands do not.',
    tone: 'calm',
  }),
  absent: () => ({
    text: 'Workspace unavailable',
    why: 'Something it needs is not installed. Files and web still work.',
    tone: 'bad',
  }),
  stopped: () => ({ text: 'Workspace at rest', why: 'The next command starts it.', tone: 'calm' }),
  probing: starting,
  image: starting,
  restoring: starting,
  booting: starting,
  handshake: starting,
  verifying: starting,
  saving: starting,
  ready: ({ isolation }) => ({ ...(isolation === 'reduced' ? reduced : full), tone: 'good' }),
  paused: () => ({ text: 'Workspace asleep', why: 'Nobody uses it; the next command wakes it at once.', tone: 'calm' }),
  recovering: ({ lastError }) => ({
    text: 'Workspace starting again',
    why: lastError?.message ?? 'It failed, and is started again.',
    tone: 'busy',
  }),
  degraded: ({ lastError }) =>
    lastError?.code === 'disk-full'
      ? { text: 'Workspace waits: disk full', why: 'It goes on by itself when there is room on the disk of this device.', tone: 'bad' }
      : { text: 'Workspace failed, will be tried again', why: lastError?.message ?? 'It failed and is tried again.', tone: 'bad' },
  stopping: () => ({ text: 'Workspace stopping', why: 'Files and web still work.', tone: 'busy' }),
}
