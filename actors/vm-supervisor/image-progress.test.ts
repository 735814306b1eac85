/** What a build tells, from lines that apt, mmdebstrap and dpkg printed in a real one; a whole one is held to the same by `npm run image:verify`. */
import { describe, expect, it } from 'vitest'
import { downloadProgress, grownProgress, type ImageProgress, progressText, unpackProgress, untruths } from './image-progress.ts'

const lists = [
  'dlstatus:1:0.0000:Retrieving file 1 of 3',
  'dlstatus:3:64.1174:Retrieving file 3 of 3',
  'dlstatus:6:100.0000:Retrieving file 6 of 6',
]
const packages = [
  'dlstatus:1:0.0000:Retrieving file 1 of 171',
  'pmstatus:dpkg-exec:0.0000:Running dpkg',
  'dlstatus:110:55.3099:Retrieving file 110 of 171 (5s remaining)',
  'dlstatus:171:100.0000:Retrieving file 171 of 171',
]
const kernel = ['dlstatus:1:10.6979:Retrieving file 1 of 2', 'dlstatus:2:100.0000:Retrieving file 2 of 2']
const root = `I: chroot architecture amd64 is equal to the host's architecture
I: running special hook: sync-in '/images/.build-0/apt/archives' /var/cache/apt/archives
Get:4 http://mirror.example/debian trixie/main amd64 Packages [9679 kB]
Fetched 10.2 MB in 13s (817 kB/s)
I: downloading packages with apt...
I: extracting archives...
I: installing essential packages...
Selecting previously unselected package libc6:amd64.
Preparing to unpack .../libaudit1_1%3a4.0.2-2+deb13u1_amd64.deb ...
Unpacking libaudit1:amd64 (1:4.0.2-2+deb13u1) ...
dpkg: warning: ignoring pre-dependency problem!
Unpacking libstdc++6:amd64 (14.2.0-19) ...
Setting up libpam0g:amd64 (1.7.0-5) ...
I: installing remaining packages inside the chroot...
Setting up python3-packaging (25.0-1) ...
I: running special hook: upload '/usr/bin/node' /usr/local/bin/node
printf 'for part in /etc/profile.d/*.sh; do [ -r "$part" ] && . "$part"; done
I: creating tarball...
I: done
I: success in 170.2975 seconds`.split('\n')

/** As the builder reports them: step by step, the kernel beside the root. */
function build(): ImageProgress[] {
  const downloads = Object.entries({ 'Package lists': lists, Packages: packages, Kernel: kernel })
  return [
    { step: 'wait', detail: 'Another process is building the image' },
    ...downloads.flatMap(([detail, lines]) => lines.flatMap((line) => downloadProgress(detail, line) ?? [])),
    { step: 'kernel', detail: 'Unpacking the kernel' },
    { step: 'root', detail: 'Unpacking packages' },
    ...root.flatMap((line) => unpackProgress(line) ?? []),
    grownProgress('Putting the root together', 390_000_000),
    grownProgress('Compressing', 96 * 1024 ** 2),
    { step: 'finish', detail: 'Checking the image' },
  ]
}

describe('the progress of a build', () => {
  it('is what its tools say they do, in their order, and nothing else they print', () => {
    expect(build().map((one) => `${one.step}: ${progressText(one)}`)).toEqual([
      'wait: Another process is building the image',
      'download: Package lists (0 %)',
      'download: Package lists (64 %)',
      'download: Package lists (100 %)',
      'download: Packages (0 %)',
      'download: Packages (55 %)',
      'download: Packages (100 %)',
      'download: Kernel (11 %)',
      'download: Kernel (100 %)',
      'kernel: Unpacking the kernel',
      'root: Unpacking packages',
      'root: Downloading packages with apt',
      'root: Extracting archives',
      'root: Installing essential packages',
      'root: Unpacking libaudit1',
      'root: Unpacking libstdc++6',
      'root: Setting up libpam0g',
      'root: Installing remaining packages inside the chroot',
      'root: Setting up python3-packaging',
      'root: Creating tarball',
      'root: Putting the root together: 371 MiB',
      'root: Compressing: 96 MiB',
      'finish: Checking the image',
    ])
    expect(untruths(build())).toEqual([])
  })

  it.each([
    ['a step after its successors', (told) => [...told, { step: 'root', detail: 'Compressing' }], /root \(Compressing\) after finish/],
    ['a part that goes back', (told) => told.toSpliced(3, 0, { ...told[2], fraction: 0.1 } as ImageProgress), /from 0\.64\d* to 0\.1/],
    ['a part that did not end', (told) => told.filter(({ fraction }) => fraction !== 1), /Kernel ended at 0\.1/],
    ['a step nobody heard of', (told) => told.filter(({ step }) => step !== 'kernel'), /nothing of kernel/],
  ] as const satisfies [string, (told: ImageProgress[]) => ImageProgress[], RegExp][])('is found untrue: %s', (_, spoil, why) => {
    expect(untruths(spoil(build())).join('; ')).toMatch(why)
  })
})
