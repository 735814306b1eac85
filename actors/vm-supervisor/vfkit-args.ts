/** vfkit's command line, as data. Pure. Its grammar: doc/usage.md of crc-org/vfkit. */
import { vsockPorts } from './limits.ts'

export type VfkitArgs = {
  cpus: number
  memoryMiB: number
  kernel: string
  initrd: string | null
  append: readonly string[]
  /** Raw images, by what the guest calls them. */
  disks: readonly { path: string; id: string }[]
  /** Unix sockets here that the guest's connections to our ports come out at. */
  sockets: { control: string; files: string; output: string; connections: string } | null
  /** File the guest's console is written to: a pipe would have to be a terminal. */
  console: string
  /** Unix socket of its HTTP service. */
  rest: string
}

/** No network device, no shared folder, no display: only what is named is there. */
export function vfkitArgs({ cpus, memoryMiB, kernel, initrd, append, disks, sockets, console, rest }: VfkitArgs): string[] {
  const commandLine = ['console=hvc0', 'quiet', 'loglevel=1', 'panic=-1', ...append].join(' ')
  const loader = [`kernel=${plain(kernel)}`, ...(initrd === null ? [] : [`initrd=${plain(initrd)}`]), `cmdline="${commandLine}"`]
  const vsock = (port: number, path: string): string => `virtio-vsock,port=${port},socketURL=${plain(path)},listen`
  const devices = [
    ...disks.map(({ path, id }) => `virtio-blk,path=${plain(path)},deviceId=${id}`),
    'virtio-rng',
    ...(sockets === null
      ? []
      : (['control', 'files', 'output', 'connections'] as const).map((port) => vsock(vsockPorts[port], sockets[port]))),
    `virtio-serial,logFilePath=${plain(console)}`,
  ]
  // biome-ignore format: one option a line
  return [
    '--cpus', String(cpus),
    '--memory', String(memoryMiB),
    '--bootloader', ['linux', ...loader].join(','),
    ...devices.flatMap((device) => ['--device', device]),
    '--restful-uri', `unix://${encodeURI(rest)}`,
  ]
}

/** Options are cut at commas, and there is no way to write one. */
function plain(path: string): string {
  if (path.includes(',') || path.includes('"')) throw new Error(`vfkit takes no path with a comma or a quote: ${path}`)
  return path
}
