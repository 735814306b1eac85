/**
 * Packages for actors that live outside the repository, which have none of their own: what they import by name is what Bulkhead itself uses,
 * and `bulkhead` is the kernel's face.
 *
 *   bulkhead            kernel/index.ts
 *   bulkhead/testing    the contract every actor keeps
 *   bulkhead/checker    models, and the checker
 */
import { registerHooks } from 'node:module'

const root = new URL('..', import.meta.url).href
const own: Readonly<Record<string, string>> = {
  bulkhead: new URL('index.ts', import.meta.url).href,
  'bulkhead/testing': new URL('testing/contract.ts', import.meta.url).href,
  'bulkhead/checker': new URL('../checker/index.ts', import.meta.url).href,
}

registerHooks({
  resolve(specifier, context, next) {
    const known = own[specifier]
    if (known !== undefined) return { url: known, shortCircuit: true }
    const isPackage = !/^(?:[./]|node:|file:|data:)/.test(specifier)
    const isOutside = context.parentURL?.startsWith('file:') === true && !context.parentURL.startsWith(root)
    return next(specifier, isPackage && isOutside ? { ...context, parentURL: import.meta.url } : context)
  },
})
