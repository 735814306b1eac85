/** The graph of a search, for properties that need it whole. */

/** Successor lists in the order of states, kept when temporal properties need them. */
export type Edges = { offsets: Int32Array; targets: Int32Array; groups: Uint8Array }

export function createEdges() {
  let targets = new Int32Array(1 << 12)
  let groups = new Uint8Array(1 << 12)
  let offsets = new Int32Array(1 << 10)
  let count = 0
  let states = 0
  return {
    add(target: number, group: number): void {
      if (count === targets.length) {
        const wider = new Int32Array(count * 2)
        wider.set(targets)
        targets = wider
        const more = new Uint8Array(count * 2)
        more.set(groups)
        groups = more
      }
      targets[count] = target
      groups[count++] = group
    },
    end(): void {
      if (states + 2 > offsets.length) {
        const wider = new Int32Array(offsets.length * 2)
        wider.set(offsets)
        offsets = wider
      }
      offsets[++states] = count
    },
    finish: (): Edges => ({
      offsets: offsets.subarray(0, states + 1),
      targets: targets.subarray(0, count),
      groups: groups.subarray(0, count),
    }),
  }
}
