/**
 * `${…}` in the words of a manifest. One pass over the text: what a value contains is never looked at again, so that no value can reach
 * another. Pure.
 */
export type Values = (name: string) => string | undefined

/** @returns null when a variable without value is all there is in it: then the whole argument is to be left out */
export function expand(text: string, values: Values): string | null {
  let missing = false
  const expanded = text.replace(/\$\{([^{}]*)\}/g, (_, inner: string) => {
    const [, name = inner, otherwise] = /^([^:]+):-(.*)$/s.exec(inner) ?? []
    const value = values(name) ?? otherwise
    if (value === undefined) missing = true
    return value ?? ''
  })
  return missing && expanded === '' ? null : expanded
}

/** Arguments; one that is exactly a value of several becomes several. */
export function expandArgs(args: readonly string[], values: Values, several: (name: string) => readonly string[] | undefined): string[] {
  return args.flatMap((arg) => {
    const [, name] = /^\$\{([^{}]+)\}$/.exec(arg) ?? []
    const list = name === undefined ? undefined : several(name)
    if (list) return [...list]
    const one = expand(arg, values)
    return one === null ? [] : [one]
  })
}

export function expandAll(env: Readonly<Record<string, string>>, values: Values): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, text]): [string, string][] => {
      const value = expand(text, values)
      return value === null ? [] : [[name, value]]
    }),
  )
}
