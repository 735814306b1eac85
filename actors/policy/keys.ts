/**
 * Every policy key: type, default, effect, example. `docs/POLICY.md` is written from this table, values are read with it, and what the
 * other actors get is typed by it.
 */
import { z } from 'zod'

const folderEntry = z.union([
  z.string().min(1),
  z.strictObject({ path: z.string().min(1), isDefaultSelected: z.boolean().optional(), mode: z.enum(['rw', 'ro']).optional() }),
])
const toolRule = z.enum(['allow', 'ask', 'ask-session', 'blocked'])
const flag = z.boolean()
const texts = z.array(z.string())
const record = z.record(z.string(), z.string())
/** Everyone who watches policy learns it, so it is no place for a password. */
const address = z
  .url({ protocol: /^https?$/ })
  .refine((text) => new URL(text).username === '' && new URL(text).password === '', 'it must not hold a user or a password')
const usdPerMillionTokens = z.number().nonnegative()
const prices = z.record(
  z
    .string()
    .max(100)
    .regex(/^[^*]*\*?[^*]*$/, 'a name, or one with a single `*`'),
  z.strictObject({
    input: usdPerMillionTokens,
    output: usdPerMillionTokens,
    cacheRead: usdPerMillionTokens.optional(),
    cacheCreation: usdPerMillionTokens.optional(),
  }),
)

/** What a source may say, before entries of lists are looked at one by one. */
export const given = {
  isEnabledForOrganization: flag,
  isLocalDevMcpEnabled: flag,
  isDesktopExtensionEnabled: flag,
  isDesktopExtensionSignatureRequired: flag,
  secureVmFeaturesEnabled: flag,
  allowedWorkspaceFolders: z.array(z.unknown()),
  coworkEgressAllowedHosts: z.array(z.unknown()),
  egressProxyUrl: address.refine((text) => /^https?:\/\/[^/?#]+\/?$/i.test(text), 'it is not http(s)://host[:port]'),
  egressProxyPacUrl: address,
  disabledBuiltinTools: texts,
  builtinToolPolicy: z.record(z.string(), toolRule),
  mcpPersistentAlwaysAllowEnabled: flag,
  untrustedContentAsksAgain: flag,
  managedMcpServers: z.array(z.unknown()),
  allowedThirdPartyActors: z.array(z.unknown()),
  otlpEndpoint: z.url({ protocol: /^https?$/ }),
  otlpProtocol: z.enum(['http/protobuf', 'http/json', 'grpc']),
  otlpHeaders: record,
  otlpResourceAttributes: record,
  otlpContentCapture: z.array(z.enum(['userPrompts', 'assistantResponses', 'toolDetails', 'toolContent', 'rawApiBodies'])),
  otlpTracesEnabled: flag,
  modelPrices: prices,
} as const
export const folderEntrySchema = folderEntry

/** One server the organization brings; the MCP host reads more of it than this. */
export const managedServer = z.looseObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'letters, digits, hyphens and underscores, at most 64'),
  transport: z.enum(['http', 'sse', 'stdio']).optional(),
  url: z.url().optional(),
  command: z.string().min(1).optional(),
  args: texts.optional(),
  env: record.optional(),
  headers: record.optional(),
  toolPolicy: z.record(z.string(), z.enum(['allow', 'ask', 'blocked'])).optional(),
})

const allowedFolder = z.strictObject({ path: z.string(), mode: z.enum(['rw', 'ro']), isDefaultSelected: z.boolean() })

/** The values in force. `null`: nobody decided, and there is no restriction. */
export const values = z.strictObject({
  isEnabledForOrganization: flag,
  isLocalDevMcpEnabled: flag,
  isDesktopExtensionEnabled: flag,
  isDesktopExtensionSignatureRequired: flag,
  secureVmFeaturesEnabled: flag,
  allowedWorkspaceFolders: z.array(allowedFolder).nullable(),
  coworkEgressAllowedHosts: texts.nullable(),
  egressProxyUrl: z.string().nullable(),
  egressProxyPacUrl: z.string().nullable(),
  disabledBuiltinTools: texts,
  /** By tool name; `ask-session` became `ask`. */
  builtinToolPolicy: z.record(z.string(), z.enum(['allow', 'ask', 'blocked'])),
  mcpPersistentAlwaysAllowEnabled: flag,
  untrustedContentAsksAgain: flag,
  managedMcpServers: z.array(managedServer),
  allowedThirdPartyActors: texts.nullable(),
  otlpEndpoint: z.string().nullable(),
  otlpProtocol: z.enum(['http/protobuf', 'http/json']),
  otlpHeaders: record,
  otlpResourceAttributes: record,
  otlpContentCapture: texts,
  otlpTracesEnabled: flag,
  modelPrices: prices,
})
export type Values = z.infer<typeof values>
export type Key = keyof Values
export const keyNames = Object.keys(values.shape) as Key[]

export const defaults: Values = {
  isEnabledForOrganization: true,
  isLocalDevMcpEnabled: true,
  isDesktopExtensionEnabled: true,
  isDesktopExtensionSignatureRequired: false,
  secureVmFeaturesEnabled: true,
  allowedWorkspaceFolders: null,
  coworkEgressAllowedHosts: null,
  egressProxyUrl: null,
  egressProxyPacUrl: null,
  disabledBuiltinTools: [],
  builtinToolPolicy: {},
  mcpPersistentAlwaysAllowEnabled: true,
  untrustedContentAsksAgain: true,
  managedMcpServers: [],
  allowedThirdPartyActors: null,
  otlpEndpoint: null,
  otlpProtocol: 'http/protobuf',
  otlpHeaders: {},
  otlpResourceAttributes: {},
  otlpContentCapture: [],
  otlpTracesEnabled: false,
  modelPrices: {},
}

/** Earlier names that profiles in the field still use. */
export const renamed: Readonly<Record<string, Key>> = {
  isDxtEnabled: 'isDesktopExtensionEnabled',
  isDxtSignatureRequired: 'isDesktopExtensionSignatureRequired',
}

export type About = {
  type: string
  /** What it does, and what happens to a running session when it changes. */
  effect: string
  example: unknown
  /** Test that sets it and sees the effect; `null`: read and passed on, acted on by another part. */
  tested: string | null
}

const effectsTest = 'test/e2e/policy.test.ts'
const telemetryTest = 'test/e2e/telemetry.test.ts'
const serversTest = 'test/conformance/mcp-servers.test.ts'

export const about: Readonly<Record<Key, About>> = {
  isEnabledForOrganization: {
    type: 'boolean',
    effect:
      'The organization’s switch for the product. `false`: no session starts, running ones are closed, and the refusal says who decided. The other keys matter only while it is on.',
    example: false,
    tested: effectsTest,
  },
  isLocalDevMcpEnabled: {
    type: 'boolean',
    effect: '`false`: MCP servers of plugins and of local settings do not start, and running ones are stopped.',
    example: false,
    tested: serversTest,
  },
  isDesktopExtensionEnabled: {
    type: 'boolean',
    effect: '`false`: desktop extensions (`.mcpb`, `.dxt`) are not installed or started, and running ones are stopped.',
    example: false,
    tested: serversTest,
  },
  isDesktopExtensionSignatureRequired: {
    type: 'boolean',
    effect: '`true`: only signed extensions are installed.',
    example: true,
    tested: serversTest,
  },
  secureVmFeaturesEnabled: {
    type: 'boolean',
    effect:
      '`false`: the workspace VM is off; a running one is stopped and commands are refused with the reason. File and web tools go on.',
    example: false,
    tested: effectsTest,
  },
  allowedWorkspaceFolders: {
    type: 'array of paths, or of {path, mode: "rw" | "ro", isDefaultSelected}',
    effect:
      'Only these folders and what is in them may be connected; `ro` caps the mode. The most specific entry decides. Compared with the real path. `~` and `%USERNAME%` are understood; an entry with an unset or unknown variable is void. A change disconnects at once what is no longer allowed and re-connects read-only what is capped. Not set: no restriction; `[]`: no folder.',
    example: ['~/Documents/Work', { path: '/srv/shared', mode: 'ro' }],
    tested: effectsTest,
  },
  coworkEgressAllowedHosts: {
    type: 'array of host patterns',
    effect:
      'A session reaches only hosts that both the member and this list allow: `example.com`, `*.example.com` (any depth, not the apex), `*`, each but `*` with an optional port. Bad entries are dropped one by one. A change applies to the next message. Not set: what the member allows; `[]`: nothing.',
    example: ['*.example.com', 'pypi.org:443'],
    tested: effectsTest,
  },
  egressProxyUrl: {
    type: 'http or https URL: host and port alone',
    effect:
      'The proxy that everything going out is sent through, also the way to the model API; what is on this machine itself is not. It takes the place of the proxy variables, `NO_PROXY` among them, and of the system’s settings, and changes nothing about what is allowed, see EGRESS.md. A change ends what is open. Not set: what this machine is configured for.',
    example: 'http://proxy.example.com:3128',
    tested: effectsTest,
  },
  egressProxyPacUrl: {
    type: 'http or https URL',
    effect: 'Where the PAC script is that says which proxy leads to a host. It takes the place of `egressProxyUrl`; otherwise as that.',
    example: 'http://proxy.example.com/proxy.pac',
    tested: effectsTest,
  },
  disabledBuiltinTools: {
    type: 'array of tool names',
    effect: 'These tools are not offered to the model, and refused if it calls them; approvals given for them are taken back.',
    example: ['WebFetch', 'Bash'],
    tested: effectsTest,
  },
  builtinToolPolicy: {
    type: 'object: tool name to "allow" | "ask" | "blocked" ("ask-session" is "ask")',
    effect:
      '`ask`: no approve mode answers for the member. `blocked`: as if disabled. `allow`: the product’s own rules decide. A rule with arguments (`Bash(curl *)`) holds for the whole tool if it restricts and is dropped if it allows. A tool that never asks cannot ask yet (Read, Glob, Grep, List, WebFetch, WebSearch): `ask` blocks it.',
    example: { Bash: 'ask', WebFetch: 'blocked' },
    tested: effectsTest,
  },
  mcpPersistentAlwaysAllowEnabled: {
    type: 'boolean',
    effect: '`false`: lasting approvals of MCP tools are neither offered nor honoured.',
    example: false,
    tested: serversTest,
  },
  untrustedContentAsksAgain: {
    type: 'boolean',
    effect:
      'The data-flow rule: after a page, a web search or an answer of a tool server came into a turn, what was allowed for the session or for good does not cover what the turn writes, runs or calls (of the same server: it does); the member is asked, and told what was read. Approve modes are not concerned. `false`: it covers it as before.',
    example: false,
    tested: effectsTest,
  },
  managedMcpServers: {
    type: 'array of {name, transport, url, command, args, env, headers, toolPolicy}',
    effect:
      'MCP servers the organization brings; `isLocalDevMcpEnabled` does not concern them. `toolPolicy` decides about their tools: an exact name beats a pattern with `*`, of several patterns the strictest counts. Bad entries are dropped one by one. A change starts and stops them at once. Servers with a `url` are listed with the reason they cannot be used yet.',
    example: [{ name: 'wiki', transport: 'http', url: 'https://wiki.example.com/mcp', toolPolicy: { 'delete_*': 'blocked' } }],
    tested: serversTest,
  },
  allowedThirdPartyActors: {
    type: 'array of NAME or NAME@HASH',
    effect:
      'Actors from outside the product that may run, see INTEGRATORS.md. A bare name: if the member allows it. With the hash `bulkhead actor list` shows: without asking, and as exactly that code. Bad entries are dropped one by one. A change ends at once what is no longer allowed. Not set: what the member allows; `[]`: none.',
    example: ['reminders', `clipboard@${'0'.repeat(64)}`],
    tested: effectsTest,
  },
  otlpEndpoint: {
    type: 'http or https URL',
    effect:
      'Where telemetry goes, see TELEMETRY.md. A change is in force at once; what waited for another collector is dropped and counted. Not set: there is none, and nothing of it is loaded.',
    example: 'https://collector.example.com:4318',
    tested: telemetryTest,
  },
  otlpProtocol: {
    type: '"http/protobuf" | "http/json" | "grpc" (sent as http/protobuf to the same endpoint)',
    effect: 'Encoding of telemetry.',
    example: 'http/json',
    tested: telemetryTest,
  },
  otlpHeaders: {
    type: 'object of texts',
    effect: 'Headers sent with telemetry. Values are never shown.',
    example: { authorization: 'Bearer …' },
    tested: telemetryTest,
  },
  otlpResourceAttributes: {
    type: 'object of texts',
    effect:
      'Attributes added to the resource telemetry comes from and to each event, such as `organization.id`. What Bulkhead itself says cannot be replaced.',
    example: { 'organization.id': 'acme', 'deployment.environment': 'production' },
    tested: telemetryTest,
  },
  otlpContentCapture: {
    type: 'array of "userPrompts" | "assistantResponses" | "toolDetails" | "toolContent" | "rawApiBodies"',
    effect:
      'Content that telemetry may carry beside metadata; `userPrompts` brings answers along, `rawApiBodies` adds the events `api_request_body` and `api_response_body`. `[]`: none.',
    example: ['toolDetails'],
    tested: telemetryTest,
  },
  otlpTracesEnabled: {
    type: 'boolean',
    effect: '`true`: traces are exported beside logs and metrics.',
    example: true,
    tested: telemetryTest,
  },
  modelPrices: {
    type: 'object: model name, or pattern with one `*` → {"input", "output", "cacheRead"?, "cacheCreation"?}, US dollars for a million tokens',
    effect:
      'What a model costs: `cost_usd` of `api_request` and the metric `bulkhead.cost.usage`. An exact name beats a pattern, a longer pattern a shorter one. A cache price that is not given is that of `input`. Not set: costs are not known and not sent.',
    example: { 'practice*': { input: 3, output: 15, cacheRead: 0.3, cacheCreation: 3.75 } },
    tested: telemetryTest,
  },
}

/** Keys whose values are secrets: shown only as present. */
export const secret: readonly Key[] = ['otlpHeaders']
