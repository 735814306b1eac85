/** What telemetry does to the world: it writes the audit log and talks to the collector. The headers for the collector stay in here. */
import * as Effect from 'effect/Effect'
import { asFault, type EffectContext, type Effects, fault } from '../../kernel/index.ts'
import { type AuditStore, openAudit } from './audit-store.ts'
import { readHeadFile } from './audit-verify.ts'
import { fingerprint } from './audit-chain.ts'
import { createExport, type Export } from './export.ts'
import { anchorEveryMs, maxEntryBytes } from './limits.ts'
import { auditDir } from './manifest.ts'
import type { AuditBody, HopView, TelemetryEvent, TelemetryStatus, WorkspaceEvents } from './protocol.ts'
import { eventSpan, hopSpan, logRecord, measuresOf } from './records.ts'
import { type Rules, type Settings, shownEndpoint } from './settings.ts'
import { workspaceRecords } from './workspace-records.ts'

type Done = { type: string; [key: string]: unknown }
type Appended = { request: number; from: string; session: string | null; entry: AuditBody }

export function createEffects(out: Export = createExport()) {
  let store: AuditStore | null = null
  let anchored = { at: 0, n: 0 }

  /** Opened with the first use; a folder that could not be opened is tried again with the next. */
  const audit = ({ params }: EffectContext): AuditStore => {
    try {
      store ??= openAudit(auditDir(String((params as Record<string, unknown>)['home'])))
      return store
    } catch (error) {
      throw fault('audit-failed', 'The audit log cannot be opened.', { cause: error instanceof Error ? error.message : String(error) })
    }
  }

  /** Sends the head to the collector: whoever cuts or rewrites the log later cannot change what the collector has. */
  function anchor(context: EffectContext, now: number): void {
    if (!store) return
    const { n, hash } = store.head()
    if (n === anchored.n) return
    anchored = { at: now, n }
    const head = readHeadFile(auditDir(String((context.params as Record<string, unknown>)['home'])))
    const key = 'why' in head ? 'unknown' : fingerprint(head.key)
    out.log({
      name: 'audit_head',
      at: now,
      trace: null,
      error: false,
      attributes: {
        'event.name': 'audit_head',
        'event.timestamp': new Date(now).toISOString(),
        'audit.entry': n,
        'audit.hash': hash,
        'audit.key': key,
      },
    })
  }

  async function append({ from, session, entry }: Appended, context: EffectContext): Promise<Done> {
    const { action } = entry
    const { n } = await audit(context).append({ from, session, action, data: bounded(entry.data) })
    if (action === 'session.opened')
      out.measure({
        instrument: 'bulkhead.session.count',
        value: 1,
        attributes: { start_type: entry.data['resumed'] === true ? 'resume' : 'fresh' },
      })
    const now = Date.now()
    if (now - anchored.at >= anchorEveryMs) anchor(context, now)
    return { type: 'done', reply: { n } }
  }

  return {
    /** Takes settings into use: exporters for the endpoint, or none. `failed`: the headers could not be had, policy is down. */
    configure: {
      outcomes: ['done', 'failed'],
      run: ({ settings }: { settings: Settings }, context) =>
        context.request('policy', 'secrets', {}).pipe(
          Effect.flatMap(({ body }) =>
            Effect.tryPromise({
              try: () => out.configure(settings, (body as { otlpHeaders: Record<string, string> }).otlpHeaders),
              catch: asFault,
            }),
          ),
          Effect.match({
            onSuccess: (): Done => ({ type: 'done' }),
            onFailure: (error): Done => {
              context.log('warn', `telemetry settings are not in use yet: ${error.message}`)
              return { type: 'failed' }
            },
          }),
        ),
    },
    record: {
      outcomes: ['done'],
      run: ({ event, session, rules }: { event: TelemetryEvent; session: string | null; rules: Rules }) =>
        Effect.sync(() => {
          const at = event.at ?? Date.now()
          out.log(logRecord(event, session, at, rules))
          for (const measure of measuresOf(event, rules)) out.measure(measure)
          const span = eventSpan(event, session, at, rules)
          if (span) out.span(span)
          return { type: 'done' }
        }),
    },
    recordHops: {
      outcomes: ['done'],
      run: ({ hops, dropped }: { hops: readonly HopView[]; dropped: number }) =>
        Effect.sync(() => {
          for (const hop of hops) out.span(hopSpan(hop))
          if (dropped > 0) out.lostSpans(dropped)
          return { type: 'done' }
        }),
    },
    recordWorkspace: {
      outcomes: ['done'],
      run: (told: WorkspaceEvents & { rules: Rules }) =>
        Effect.sync(() => {
          for (const record of workspaceRecords(told, Date.now(), told.rules)) out.log(record)
          return { type: 'done' }
        }),
    },
    append: { outcomes: ['done', 'failed'], run: (params: Appended, context) => attempt(() => append(params, context), context) },
    report: {
      outcomes: ['done'],
      run: ({ settings }: { request: number; settings: Settings | null }, context) =>
        Effect.sync(() => {
          const { state, headers, signals } = out.status()
          const reply: TelemetryStatus = {
            state,
            endpoint: settings?.endpoint ? shownEndpoint(settings.endpoint) : null,
            decidedBy: settings?.decidedBy ?? 'unknown',
            protocol: settings?.protocol ?? 'http/protobuf',
            traces: settings?.traces ?? false,
            capture: [...(settings?.capture ?? [])],
            headers,
            signals,
            audit: auditStatus(context),
          }
          return { type: 'done', reply }
        }),
    },
    selfTest: {
      outcomes: ['done', 'failed'],
      run: (_: { request: number }) =>
        Effect.tryPromise({ try: () => out.test(Date.now()), catch: asFault }).pipe(
          Effect.match({ onSuccess: (reply): Done => ({ type: 'done', reply }), onFailure: (error): Done => ({ type: 'failed', error }) }),
        ),
    },
    /** What waits is written, and sent for a moment. */
    close: {
      outcomes: ['done'],
      run: (_: object, context) =>
        Effect.promise(async () => {
          await store?.close()
          anchor(context, Date.now())
          await out.close()
          return { type: 'done' }
        }),
    },
  } satisfies Effects

  function auditStatus(context: EffectContext): TelemetryStatus['audit'] {
    try {
      const { n, hash } = audit(context).head()
      return { entries: n, head: hash, trouble: audit(context).trouble() }
    } catch (error) {
      return { entries: 0, head: '', trouble: asFault(error).message }
    }
  }
}

export const effects = createEffects()

function attempt(work: () => Promise<Done>, context: EffectContext): Effect.Effect<Done> {
  return Effect.tryPromise({ try: work, catch: asFault }).pipe(
    Effect.match({
      onSuccess: (done) => done,
      onFailure: (error): Done => {
        context.log('error', `audit: ${error.message}${error.cause ? ` (${error.cause})` : ''}`)
        return { type: 'failed', error }
      },
    }),
  )
}

/** Long texts are cut, with a mark, until the entry is of a size to keep. */
function bounded(data: Readonly<Record<string, unknown>>): Record<string, unknown> {
  for (const most of [4_000, 1_000, 200]) {
    const cut = JSON.parse(
      JSON.stringify(data, (_key, value: unknown) =>
        typeof value === 'string' && value.length > most ? `${value.slice(0, most)}… (${value.length} characters)` : value,
      ),
    ) as Record<string, unknown>
    if (Buffer.byteLength(JSON.stringify(cut)) <= maxEntryBytes) return cut
  }
  return { omitted: 'The data of this entry were too large.' }
}
