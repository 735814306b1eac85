import type { Manifest } from '../../kernel/index.ts'

const paths = (params: Record<string, unknown>): { home: string; imageDir: string; guestDir: string; nodeBinary: string } => ({
  home: String(params['home']),
  imageDir: String(params['imageDir']),
  guestDir: String(params['guestDir']),
  nodeBinary: String(params['nodeBinary']),
})

/** Everything below it. Node takes a plain folder name for that only if the folder is there when the process starts. */
const folder = (path: string): string => `${path.replace(/\/$/, '')}/*`

export const manifest = {
  kind: 'vm-supervisor',
  purpose: 'Keeps the workspace VM ready and runs commands in it.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    { name: 'policy', target: 'policy', limits: { kinds: ['watch'] }, reason: 'runs no VM where policy forbids it' },
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['audit', 'workspace'] },
      reason: 'puts on record when the VM starts, stops and fails, and what sessions do in it',
    },
  ],
  permissions(params) {
    const { home, imageDir, guestDir, nodeBinary } = paths(params)
    return {
      fsRead: [folder(home), folder(imageDir), folder(guestDir), nodeBinary, '/proc/', '/dev/kvm', '/etc/apt/', '/usr/share/keyrings/'],
      fsWrite: [folder(home), folder(imageDir)],
      childProcess: true,
    }
  },
  permissionReasons: {
    fsRead:
      'Its state, the image, the guest agent and the Node binary it puts into the image; /proc to recognise a VM left behind; whose /dev/kvm is; the package sources the image is built from.',
    fsWrite: 'Its state (pid file, probe verdict, combined initrd) and the images it builds.',
    childProcess: 'Starts QEMU (jailed by bwrap) and the tools that build the image.',
  },
  lingers: true,
  keepsCode: 'The Node binary and npm, which go into the image, lie among the packages.',
  jail: { none: 'it puts QEMU in a jail, and some systems let no jail be made inside another' },
  restart: { strategy: 'permanent' },
} satisfies Manifest
