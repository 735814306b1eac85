/** What a command finds in its environment: the session's own, and what was asked for. */
import type { TerminalSize } from '../wire.ts'
import { proxyPort } from './net-sockets.ts'
import type { Session } from './sessions.ts'
import { ownCertificate, systemCertificates } from './slots.ts'

/** Nobody is there to page, to answer or to look at a prompt. */
const unattended = { PAGER: 'cat', GIT_PAGER: 'cat', GIT_TERMINAL_PROMPT: '0', TERM: 'dumb' }

const proxied = Object.fromEntries(
  Object.entries({
    http_proxy: `http://127.0.0.1:${proxyPort}`,
    https_proxy: `http://127.0.0.1:${proxyPort}`,
    all_proxy: `socks5h://127.0.0.1:${proxyPort}`,
    no_proxy: 'localhost,127.0.0.1,::1',
  }).flatMap(([name, value]) => [
    [name, value],
    [name.toUpperCase(), value],
  ]),
)

const trusting = {
  SSL_CERT_FILE: systemCertificates,
  CURL_CA_BUNDLE: systemCertificates,
  GIT_SSL_CAINFO: systemCertificates,
  REQUESTS_CA_BUNDLE: systemCertificates,
  PIP_CERT: systemCertificates,
  // Node takes these beside its own.
  NODE_EXTRA_CA_CERTS: ownCertificate,
}

/** `trace`: programs that know OpenTelemetry make their spans part of it. On a terminal somebody is there, who may say what it is (`TERM`). */
export function environment(
  session: Session,
  { trace, tty, env }: { trace?: string; tty?: TerminalSize; env?: Readonly<Record<string, string>> },
): Record<string, string> {
  return {
    ...(trace === undefined ? {} : { TRACEPARENT: trace }),
    HOME: session.home,
    USER: session.name,
    LOGNAME: session.name,
    SHELL: '/bin/bash',
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    TMPDIR: '/tmp',
    ...(tty === undefined ? unattended : { TERM: 'xterm-256color' }),
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUTF8: '1',
    PYTHONUNBUFFERED: '1',
    // Every connection is carried anyway; through the proxy a refusal comes with its reason.
    ...proxied,
    // The system's list with what the host has it trust, for programs that look elsewhere or bring their own.
    ...(session.slot.trusts ? trusting : {}),
    ...env,
  }
}
