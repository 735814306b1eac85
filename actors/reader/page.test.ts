import { expect, test } from 'vitest'
import { readPage } from './page.ts'

const read = (html: string, more: { whole?: boolean; url?: string } = {}) =>
  readPage({ html, url: 'https://example.org/a/b', whole: false, ...more })
const paragraph = `<p>${'This is a sentence that says something, with commas, about the matter at hand. '.repeat(8)}</p>`
const story = `<!doctype html><html lang="en"><head><title>Story – Example</title></head><body>
  <nav><a href="/a">Home</a> <a href="/b">More</a></nav><div class="sidebar"><ul><li><a href="x">Buy this</a></li></ul></div>
  <main><article><h1>Story</h1>${paragraph}<h2>Second part</h2>${paragraph}<pre><code>x = 1\ny</code></pre>
  <p><a href="/rel?x=1#y">a link</a> <img src="i.png" alt="a picture"> <a href="#here">here</a> ${paragraph}</article></main>
  <footer>Imprint</footer></body></html>`

test('HTML becomes Markdown, without scripts, styles and title', () => {
  const html =
    '<!doctype html><html><head><title>A &amp; B</title><style>p{}</style></head><body><h1>Hi</h1><p>one <b>two</b> <a href="/x">x</a></p><script>alert(1)</script><ul><li>l</li></ul></body></html>'
  expect(read(html)).toEqual({
    title: 'A & B',
    text: '# Hi\n\none **two** [x](https://example.org/x)\n\n-   l',
    part: 'whole',
    truncated: false,
  })
})

test('of a page with an article: the article, unless all of it is asked for', () => {
  const article = read(story)
  expect(article).toMatchObject({ part: 'article', truncated: false, title: expect.stringContaining('Story') as string })
  expect(article.text).toContain('## Second part')
  expect(article.text).toContain('x = 1\ny')
  for (const noise of ['Home', 'Buy this', 'Imprint']) expect(article.text).not.toContain(noise)
  const whole = read(story, { whole: true })
  expect(whole.part).toBe('whole')
  for (const noise of ['Home', 'Buy this', 'Imprint', '## Second part']) expect(whole.text).toContain(noise)
})

test('links and pictures are complete: relative to the page, or to what it says', () => {
  const { text } = read(story)
  expect(text).toContain('[a link](https://example.org/rel?x=1#y)')
  expect(text).toContain('![a picture](https://example.org/a/i.png)')
  expect(text).toContain('[here](#here)')
  expect(read('<base href="/deep/"><a href="x">x</a>').text).toBe('[x](https://example.org/deep/x)')
  expect(read('<a href="http://[">x</a>').text).toContain('x')
})

test('a fragment, an empty page, something that is no HTML', () => {
  expect(read('<p>x').text).toBe('x')
  expect(read('').text).toBe('')
  expect(read('just words').text).toBe('just words')
})

test('hostile nesting still gives its text', () => {
  expect(read(`${'<div>'.repeat(30_000)}deep${'</div>'.repeat(30_000)}`).text).toContain('deep')
})

test.each([
  ['open title tags', `<html>${'<title '.repeat(70_000)}`],
  ['depth times length', `<html>${'<div>'.repeat(30_000)}${'<'.repeat(400_000)}`],
  ['open scripts', `<html>${'<div>'.repeat(30_000)}${'<script '.repeat(50_000)}`],
  ['open links', '<a href=x><b><i>x'.repeat(20_000)],
  ['attributes', `<p ${'a=b '.repeat(100_000)}>x`],
  ['a very long table', '<table>'.repeat(300) + '<tr><td>x'.repeat(20_000)],
])('a page that is none is read all the same: %s', (_, html) => {
  expect(read(html).part).toBe('whole')
})

test('text beyond what a model can use is cut, and said to be', () => {
  const long = read(`<p>${'word '.repeat(100_000)}`)
  expect([long.truncated, long.text.length]).toEqual([true, 400_000])
})
