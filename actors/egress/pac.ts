/**
 * A proxy auto-configuration script, run where it can do nothing but answer: QuickJS in WebAssembly, with bounds on memory, stack and time.
 * None of its functions reaches a network: names are not resolved for it, and this machine's address is not told.
 */
import { type Fault, fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { pacFunctions } from './pac-functions.ts'

export type Pac = {
  /** What the script answers. Throws a fault when it breaks, loops, or answers something else than text. */
  find(url: string, host: string): string
}

/** Rejects with a fault when the script is none. `deadline`: the last moment a call may run, on `performance.now()`. */
export async function loadPac(script: string, now: () => number = () => performance.now()): Promise<Pac> {
  const [{ newQuickJSWASMModuleFromVariant }, { default: variant }] = await Promise.all([
    import('quickjs-emscripten-core'),
    import('@jitl/quickjs-singlefile-mjs-release-sync'),
  ])
  const module = await newQuickJSWASMModuleFromVariant(variant)
  const runtime = module.newRuntime({ memoryLimitBytes: limits.pacMemoryBytes, maxStackSizeBytes: limits.pacStackBytes })
  let until = now() + limits.pacMs
  runtime.setInterruptHandler(() => now() > until)
  const context = runtime.newContext()
  const run = (code: string): string => {
    until = now() + limits.pacMs
    const result = context.evalCode(code, 'proxy.pac')
    if (result.error) {
      const why: unknown = context.dump(result.error)
      result.error.dispose()
      throw broken(typeof why === 'object' && why !== null && 'message' in why ? String(why.message) : String(why))
    }
    const answer: unknown = context.dump(result.value)
    result.value.dispose()
    return typeof answer === 'string' ? answer : ''
  }
  run(pacFunctions)
  run(script)
  if (run('typeof FindProxyForURL') !== 'function') throw broken('it does not define FindProxyForURL')
  return {
    // As JSON: what is asked about is data, in the script's language too.
    find: (url, host) => run(`(r => r == null ? '' : String(r))(FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host)}))`),
  }
}

function broken(cause: string): Fault {
  return fault('fetch-failed', 'The proxy configuration script cannot be used.', { cause: cause.slice(0, 300), rule: 'proxy-script' })
}
