/**
 * What the workspace image is made of. Everything here is part of the image's identity: a change builds a new image.
 * What changes often (the agent, `/init`) is not in the image at all but added to the initrd at each boot.
 */

/** Raise it when the builder makes something else of the same inputs. */
export const recipeVersion = 6

/** Every file of an image bears this date at the latest, so that the same packages make the same image. Seconds since 1970. */
export const sourceDate = 1_735_689_600

/** The Debian release images are made of, whatever release the host runs. */
export const debianSuite = 'trixie'

/** What an image has beyond the standard one. `build`: compilers and their libraries, half as large again. */
export const profiles = { standard: [], build: ['build-essential'] } as const satisfies Record<string, readonly string[]>
export type Profile = keyof typeof profiles

/** The profile of this name; the standard one for none. Null for a name there is not. */
export function profileOf(name: string | undefined): Profile | null {
  if (name === undefined || name === '') return 'standard'
  return Object.hasOwn(profiles, name) ? (name as Profile) : null
}

/** Everything added to the essential packages. */
export const packagesOf = (profile: Profile): readonly string[] => [...packages, ...profiles[profile]]

/** Added to the essential packages; no recommended ones come along. */
const packages = [
  // What a shell command expects to find.
  'bash',
  'bubblewrap',
  'bzip2',
  'ca-certificates',
  'coreutils',
  'curl',
  'diffutils',
  'file',
  'findutils',
  'gawk',
  'git',
  'grep',
  'gzip',
  'iproute2',
  'jq',
  'less',
  'mount',
  'nftables',
  'patch',
  'procps',
  'ripgrep',
  'rsync',
  'sed',
  'tar',
  'tzdata',
  'unzip',
  'util-linux',
  'xz-utils',
  'zip',
  'python3',
  'python3-pip',
  'python3-venv',
  // The scratch disk is formatted and divided among sessions in there.
  'e2fsprogs',
  'quota',
  // Node needs them.
  'libatomic1',
  'libstdc++6',
]

/**
 * Kernel modules for the initrd, wherever the kernel has them as modules, with what they depend on, in load order.
 * The root image has none: what is not loaded at boot can never be.
 */
export const modules: readonly { name: string; optional?: boolean }[] = [
  // Disks and ports of both machine types.
  { name: 'virtio_pci' },
  { name: 'virtio_mmio', optional: true },
  { name: 'virtio_blk' },
  { name: 'virtio_console' },
  { name: 'virtio_rng', optional: true },
  // Root image, its writable layer, a scratch disk.
  { name: 'squashfs' },
  { name: 'overlay' },
  { name: 'crc32c_generic', optional: true },
  { name: 'ext4' },
  { name: 'quota_v2', optional: true },
  // Connections of sessions, handed to the agent.
  { name: 'nft_tproxy' },
  // Connected folders.
  { name: 'fuse' },
  // For the bench alone, which compares them with QEMU's own shared folders; no boot of the product loads these.
  { name: '9p', optional: true },
  { name: '9pnet_virtio', optional: true },
]

/** Left out of every package: nobody reads them in there. Licences stay. */
export const leftOut = [
  '/usr/share/man/*',
  '/usr/share/info/*',
  '/usr/share/locale/*',
  '/usr/share/lintian/*',
  '/usr/share/bash-completion/*',
  '/usr/share/doc/*',
]
export const leftIn = ['/usr/share/doc/*/copyright']

/**
 * Shell script run on the finished tree, whose path is `$1`. Must not depend on the host it runs on, and leaves `tmp` and `run` to
 * mmdebstrap, whose own configuration is still in there: without it, its last steps would work on the host.
 */
export const finishTree = `
set -e
cd "$1"
chmod 0755 usr/local/bin/node
chown -R 0:0 usr/local/lib/node_modules
for name in npm npx; do ln -s ../lib/node_modules/npm/bin/$name-cli.js usr/local/bin/$name; chmod 0755 usr/local/lib/node_modules/npm/bin/$name-cli.js; done
mkdir -p usr/local/etc
# It would ask a host on its own account.
printf 'update-notifier=false\\nfund=false\\n' > usr/local/etc/npmrc
# Nothing in there may gain rights by being run.
find . -xdev -perm /6000 -exec chmod a-s {} +
rm -rf var/lib/apt/lists var/cache/* var/log/* etc/apt/sources.list etc/apt/sources.list.d etc/apt/apt.conf.d/99mmdebstrap \\
  etc/dpkg/dpkg.cfg.d/99mmdebstrap var/lib/dpkg/*-old root/.bash*
mkdir -p sessions etc/apt/sources.list.d
chmod 0711 sessions
echo workspace > etc/hostname
printf '127.0.0.1 localhost workspace\\n::1 localhost\\n' > etc/hosts
: > etc/resolv.conf
: > etc/machine-id
# The usual one starts a process to find out what is known here.
printf 'for part in /etc/profile.d/*.sh; do [ -r "$part" ] && . "$part"; done\nunset part\n' > etc/profile
rm -f etc/motd var/lib/dbus/machine-id
`
