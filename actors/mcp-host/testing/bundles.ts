/** Tests only: bundles written byte by byte, so that they can be what no packer would make, and signed with openssl. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'

export type ZipItem = {
  name: string
  data?: string | Buffer /** Unix mode with file type. */
  mode?: number /** Claimed instead of the true size. */
  size?: number
}

export function makeZip(items: readonly ZipItem[]): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, data = '', mode = 0o100644, size } of items) {
    const raw = Buffer.from(data)
    const packed = deflateRawSync(raw)
    const file = Buffer.from(name)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(0x0800, 2)
    common.writeUInt16LE(8, 4)
    common.writeUInt32LE(crc32(raw), 10)
    common.writeUInt32LE(packed.length, 14)
    common.writeUInt32LE(size ?? raw.length, 18)
    common.writeUInt16LE(file.length, 22)
    parts.push(Buffer.from('504b0304', 'hex'), common, file, packed)
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE((mode << 16) >>> 0, 6)
    rest.writeUInt32LE(offset, 10)
    directory.push(Buffer.from('504b0102', 'hex'), Buffer.from([20, 3]), common, rest, file)
    offset += 30 + file.length + packed.length
  }
  const listing = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(items.length, 8)
  end.writeUInt16LE(items.length, 10)
  end.writeUInt32LE(listing.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, listing, end])
}

export const manifestOf = (more: object = {}) => ({
  manifest_version: '0.3',
  name: 'Report Maker',
  version: '1.2.0',
  description: 'Makes reports.',
  author: { name: 'Ada' },
  server: { type: 'node', entry_point: 'server/index.js', mcp_config: { command: 'node', args: ['${__dirname}/server/index.js'] } },
  ...more,
})

export function makeBundle(manifest: object, program: string, more: readonly ZipItem[] = []): Buffer {
  return makeZip([
    { name: 'manifest.json', data: JSON.stringify(manifest) },
    { name: 'server/' },
    { name: 'server/index.js', data: program },
    ...more,
  ])
}

export type Publisher = { certificate: string; sign(content: Buffer, options?: { patched?: boolean }): Buffer }

/** A self-signed publisher. `usage`: extended key usage. */
export function makePublisher(name: string, { usage = 'codeSigning', ec = false }: { usage?: string; ec?: boolean } = {}): Publisher {
  const dir = mkdtempSync(join(tmpdir(), 'publisher-'))
  const at = (file: string): string => join(dir, file)
  try {
    const key = ec ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['rsa:2048']
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-nodes',
        '-newkey',
        ...key,
        '-keyout',
        at('key'),
        '-out',
        at('cert'),
        '-days',
        '30',
        '-subj',
        `/CN=${name}`,
        '-addext',
        `extendedKeyUsage=${usage}`,
      ],
      { stdio: 'pipe' },
    )
    const certificate = readFileSync(at('cert'), 'utf8')
    const privateKey = readFileSync(at('key'), 'utf8')
    return {
      certificate,
      sign(content, { patched = false } = {}) {
        const work = mkdtempSync(join(tmpdir(), 'sign-'))
        try {
          for (const [file, text] of [
            ['content', content],
            ['cert', certificate],
            ['key', privateKey],
          ] as const)
            writeFileSync(join(work, file), text)
          execFileSync(
            'openssl',
            [
              'cms',
              '-sign',
              '-binary',
              '-md',
              'sha256',
              '-in',
              join(work, 'content'),
              '-signer',
              join(work, 'cert'),
              '-inkey',
              join(work, 'key'),
              '-outform',
              'DER',
              '-out',
              join(work, 'sig'),
            ],
            { stdio: 'pipe' },
          )
          const der = readFileSync(join(work, 'sig'))
          const length = Buffer.alloc(4)
          length.writeUInt32LE(der.length)
          const block = Buffer.concat([Buffer.from('MCPB_SIG_V1'), length, der, Buffer.from('MCPB_SIG_END')])
          const stored = Buffer.from(content)
          // Some signers make the block the zip's comment, after they have signed.
          if (patched) stored.writeUInt16LE(block.length, stored.length - 2)
          return Buffer.concat([stored, block])
        } finally {
          rmSync(work, { recursive: true })
        }
      },
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
}
