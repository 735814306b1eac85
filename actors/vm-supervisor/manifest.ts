import type { Manifest } from '../../kernel/index.ts'

const paths = (params: Record<string, unknown>): { home: string; imageDir: string; guestDir: string; nodeBinary: string } => ({
  home: String(params['home']),
  imageDir: String(params['imageDir']),
  guestDir: String(params['guestDir']),
  nodeBinary: String(params['nodeBinary']),
})

export const manifest = {
  kind: 'vm-supervisor',
  purpose: 'Keeps the workspace VM ready and runs commands in it.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [],
  permissions(params) {
    const { home, imageDir, guestDir, nodeBinary } = paths(params)
    return {
      fsRead: [home, imageDir, guestDir, nodeBinary, '/proc', '/etc/apt'],
      fsWrite: [home, imageDir],
      childProcess: true,
    }
  },
  permissionReasons: {
    fsRead:
      'Its state, the image, the guest agent and the Node binary it puts into the image; /proc to recognise a VM left behind; the package sources the image is built from.',
    fsWrite: 'Its state (pid file, probe verdict, combined initrd) and the images it builds.',
    childProcess: 'Starts QEMU (jailed by bwrap) and the tools that build the image.',
  },
  lingers: true,
  restart: { strategy: 'permanent' },
} satisfies Manifest
