// Old syntax on purpose: a Node that is too old must be able to read this far and say so.
const oldest = 20

/**
 * Runs `begin` when this Node is new enough for set-up, and says what to do when it is not.
 * @param {() => Promise<unknown>} begin
 */
module.exports = function start(begin) {
  const major = Number(process.versions.node.split('.')[0])
  if (major < oldest) {
    process.stderr.write('bulkhead: this is Node ' + process.versions.node + ', and set-up needs Node ' + oldest + ' or newer.\n')
    process.stderr.write(
      '  What to do: install Node ' + oldest + ' or newer. Bulkhead itself runs on a Node of its own, which set-up installs.\n',
    )
    process.exitCode = 3
    return
  }
  begin().catch((/** @type {unknown} */ thrown) => {
    process.stderr.write('bulkhead: ' + (thrown instanceof Error ? thrown.stack : thrown) + '\n')
    process.exitCode = 3
  })
}
