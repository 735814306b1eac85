import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { about, defaults, given, keyNames } from './keys.ts'

test('docs/POLICY.md is written from the key table (vitest -u rewrites it)', async () => {
  const sections = keyNames.map((key) => {
    const { type, effect, example, tested } = about[key]
    const usual = defaults[key] === null ? 'not set' : `\`${JSON.stringify(defaults[key])}\``
    return [
      `### \`${key}\``,
      '',
      effect,
      '',
      `- Type: ${type}`,
      `- Default: ${usual}`,
      `- Example: \`${JSON.stringify({ [key]: example })}\``,
      `- Effect tested: ${tested === null ? 'the value is read and handed on; the part that acts on it has its own tests' : `\`${tested}\``}`,
      '',
    ].join('\n')
  })
  await expect(`${intro}\n${sections.join('\n')}`).toMatchFileSnapshot('../../docs/POLICY.md')
})

test('every key is in every table, and every test it names exists', () => {
  expect(Object.keys(given)).toEqual(keyNames)
  expect(Object.keys(about).toSorted()).toEqual([...keyNames].toSorted())
  const named = keyNames.flatMap((key) => about[key].tested ?? [])
  expect(named.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)))).toEqual([])
})

const intro = `# Policy

What an organization can decide for a device, and what a member can set for themselves where it does not. The keys are
written from \`actors/policy/keys.ts\`.

\`bulkhead policy show\` prints what is in force and who decided each value; \`bulkhead policy check FILE\` says what is wrong
with a settings file; \`bulkhead policy explain KEY\` explains one key. All take \`--json\`.

## Where policy comes from

| source | place |
|---|---|
| managed settings (Linux) | \`/etc/bulkhead/managed-settings.json\` |
| managed preferences (macOS) | \`/Library/Managed Preferences/USER/dev.bulkhead.plist\`, then \`/Library/Managed Preferences/dev.bulkhead.plist\`; XML or binary |
| machine policy, user policy (Windows) | \`HKLM\\SOFTWARE\\Policies\\Bulkhead\`, else \`HKCU\\SOFTWARE\\Policies\\Bulkhead\` (read from registry exports so far, not from a live registry) |
| local settings | \`settings.json\` in BULKHEAD_HOME |

1. A managed source that is there wins as a whole: local settings are not looked at, also not for keys it does not have.
2. A managed file and its folder must be real (no symbolic link), owned by root and not writable by group or others. A file
   that fails this, or cannot be parsed, makes policy *managed but unreadable*: **nothing applies and local settings are off**,
   and nothing leaves this machine, because it may be required to go by a proxy.
   \`policy show\`, the daemon's log and \`policy explain\` say why. A file that is unreadable for less than about a second, because
   somebody is writing it, changes nothing.
3. On macOS the user's profile decides a key before the device's. On Windows any value directly under the machine's key hides
   the user's altogether; subkeys are never read, and an expandable text counts as there but cannot be read.
4. A wrong or unknown key is named and ignored alone. Lists are read entry by entry; a bad entry is dropped.
5. Values may be native or JSON in a text; 0 and 1 stand for false and true.
6. The place of the managed file is fixed. No environment variable and no setting moves it.
7. A change is in force within about a second, in running sessions too: capabilities that no longer fit are revoked in the
   kernel, which refuses messages already queued on them as well.

What this does not stop: a member who runs another program, or this one from changed sources. Policy binds the product, not the
account.

## Keys
`
