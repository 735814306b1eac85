/** `npm run new-actor` and `npm run test-actor`, on the pinned Node. Plain JavaScript: any Node from 20 starts it. */
import { join } from 'node:path'
import { launch } from '../../setup/launch.js'
import { pinnedNode } from '../../setup/pinned-node.js'
import { checkout } from '../../setup/places.js'

if (pinnedNode(checkout)?.present) {
  process.exit(await launch(checkout, join(checkout, 'kernel', 'scaffold', 'main.ts'), process.argv.slice(2)))
} else {
  process.stderr.write('new-actor: the npm packages are not installed. What to do: npm start -- setup\n')
  process.exitCode = 3
}
