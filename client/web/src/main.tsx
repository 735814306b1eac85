import { render } from 'preact'
import { App } from './app.tsx'
import { listenForKeys } from './keys.ts'
import { start } from './session.ts'
import './style/colours.css'
import './style/elements.css'
import './style/frame.css'
import './style/conversation.css'
import './style/tools.css'
import './style/composer.css'
import './style/control.css'
import './style/narrow.css'

const place = document.querySelector('#page')
if (place) render(<App />, place)
listenForKeys()
void start()
