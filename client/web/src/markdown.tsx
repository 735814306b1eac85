/**
 * Answers as Markdown, block by block: finished blocks are drawn once and stay; only the last one is parsed again while it streams.
 *
 * micromark escapes raw HTML and empties links of other schemes. Its output is then parsed in an inert template and copied into the page
 * element by element from a short list, so that what is not listed cannot appear whatever the parser does. Images become links.
 */
import { micromark } from 'micromark'
import { gfmTable, gfmTableHtml } from 'micromark-extension-gfm-table'
import type { ComponentChildren, JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { closed, splitBlocks } from './blocks.ts'

const options = { extensions: [gfmTable()], htmlExtensions: [gfmTableHtml()] }
const plain = /^(p|h[1-6]|ul|ol|li|blockquote|em|strong|code|hr|br|table|thead|tbody|tr|th|td)$/

export function Markdown({ text, live }: { text: string; live: boolean }): JSX.Element {
  const blocks = useMemo(() => splitBlocks(text), [text])
  return (
    <div class="markdown">
      {blocks.map((block, at) => (
        <Block key={at} text={live && at === blocks.length - 1 ? closed(block) : block} />
      ))}
    </div>
  )
}

function Block({ text }: { text: string }): JSX.Element {
  return useMemo(() => {
    const template = document.createElement('template')
    template.innerHTML = micromark(text, options)
    return <>{[...template.content.childNodes].map(drawn)}</>
  }, [text])
}

function drawn(node: Node, key: number): ComponentChildren {
  if (node.nodeType === Node.TEXT_NODE) return node.nodeValue
  if (!(node instanceof Element)) return null
  const children = [...node.childNodes].map(drawn)
  const name = node.localName
  if (name === 'pre') return <Code key={key} text={node.textContent ?? ''} />
  if (name === 'img')
    return <Link key={key} href={node.getAttribute('src')} text={`Image: ${node.getAttribute('alt') || 'no description'}`} />
  if (name === 'a') return <Link key={key} href={node.getAttribute('href')} text={children} />
  if (name === 'table')
    return (
      <div key={key} class="wide" tabIndex={0} role="region" aria-label="Table">
        <table>{children}</table>
      </div>
    )
  if (!plain.test(name)) return children
  const Tag = name as 'p'
  const start = node.getAttribute('start')
  const align = node.getAttribute('align')
  return (
    <Tag key={key} {...(start ? { start: Number(start) } : {})} {...(align ? { class: `align-${align}` } : {})}>
      {children}
    </Tag>
  )
}

function Link({ href, text }: { href: string | null; text: ComponentChildren }): JSX.Element {
  if (!href || !/^(https?:|mailto:)/i.test(href)) return <span>{text}</span>
  return (
    <a href={href} title={href} target="_blank" rel="noopener noreferrer">
      {text}
    </a>
  )
}

export function Code({ text }: { text: string }): JSX.Element {
  const [copied, setCopied] = useState(false)
  const copy = (): void => {
    void navigator.clipboard.writeText(text).then(() => {
      setCopied(true)
      setTimeout(() => setCopied(false), 2000)
    })
  }
  return (
    <div class="code">
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <button type="button" class="quiet copy" onClick={copy}>
        {copied ? 'Copied' : 'Copy'}
      </button>
    </div>
  )
}
