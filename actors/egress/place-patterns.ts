/** What the parts of a secret's place may be, without the library of schemas: the command line reads these, and must not wait for it. */
export const placePatterns = {
  header: /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/,
  prefix: /^[\x20-\x7e]{0,64}$/,
  user: /^[\x20-\x39\x3b-\x7e]{0,200}$/,
  query: /^[A-Za-z0-9_.~-]{1,64}$/,
} as const
