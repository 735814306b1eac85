import { render } from 'preact'
import { App } from './app.tsx'
import { listenForKeys } from './keys.ts'
import { start } from './session.ts'

const place = document.querySelector('#page')
if (place) render(<App />, place)
listenForKeys()
void start()
