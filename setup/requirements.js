/**
 * Debian and Ubuntu packages the workspace needs, each with how its presence shows and what it is for. Everything else
 * works without them.
 *
 * @typedef {{ name: string, shows: { command: string } | { anyFile: readonly string[] }, why: string }} SystemPackage
 */

/**
 * @param {string} [arch] as in `process.arch`
 * @param {boolean} [root] whether everything runs as root, which needs no user namespaces to build the image
 * @returns {readonly SystemPackage[]}
 */
export function systemPackages(arch = process.arch, root = process.getuid?.() === 0) {
  /** @type {SystemPackage[]} */
  const withoutRoot = [{ name: 'uidmap', shows: { command: 'newuidmap' }, why: 'lets a user without root build the image' }]
  return [
    ...(root ? [] : withoutRoot),
    arch === 'arm64'
      ? { name: 'qemu-system-arm', shows: { command: 'qemu-system-aarch64' }, why: 'runs the workspace VM' }
      : { name: 'qemu-system-x86', shows: { command: 'qemu-system-x86_64' }, why: 'runs the workspace VM' },
    { name: 'mmdebstrap', shows: { command: 'mmdebstrap' }, why: 'builds the VM image from Debian packages' },
    {
      name: 'debian-archive-keyring',
      shows: { anyFile: ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'] },
      why: 'checks the signatures of what goes into the image',
    },
    { name: 'squashfs-tools', shows: { command: 'mksquashfs' }, why: 'packs the image' },
    { name: 'bubblewrap', shows: { command: 'bwrap' }, why: 'jails the VM process' },
  ]
}

/**
 * What `npm test` needs beside that.
 * @type {readonly SystemPackage[]}
 */
export const testPackages = [
  { name: 'chromium', shows: { command: 'chromium' }, why: 'lets the tests use the page as a person does' },
  { name: 'spin', shows: { command: 'spin' }, why: 'counts the states of exported models by its own search' },
  { name: 'gcc', shows: { command: 'cc' }, why: "compiles Spin's verifiers" },
  { name: 'libc6-dev', shows: { anyFile: ['/usr/include/stdio.h'] }, why: "compiles Spin's verifiers" },
]

/** What to install where there is no apt-get. Nobody has tried these. */
export const otherPlatforms = /** @type {Record<string, string>} */ ({
  darwin: 'On macOS (unverified): brew install vfkit. The VM image has to be built on Debian or Ubuntu and copied to the image folder.',
  win32: 'On Windows (unverified): switch on Hyper-V. The VM image has to be built on Debian or Ubuntu and copied to the image folder.',
  linux: 'Bulkhead knows apt-get only; install these with your package manager',
})
