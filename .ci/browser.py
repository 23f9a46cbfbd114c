"""The pages in a browser without a window: python .ci/browser.py FOLDER [PAGE...] [--shots FOLDER]

Opens the pages that .ci/pages.py made, at 1440 and 390 pixels, and fails on a page that is wider
than its window, an error in the console, a file that is missing or from another host, an
interactive figure that doesn't react or whose numbers aren't the stored ones, a sortable table that
doesn't react, and text too pale to read in either theme.
`--shots` keeps images of the pages, light and dark. Speaks to Chromium over its own pipe (DevTools
protocol), so it needs nothing but the browser; without one it ends with code 77.
"""
import argparse, base64, fcntl, json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

WIDTHS = 1440, 390
names = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'

class Browser:
    "One tab of a headless Chromium"
    def __init__(self, program, folder):
        (self.read, out), (into, self.write) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(o, fcntl.F_DUPFD, 10) for o in (into, out)]   # clear of 3 and 4
        def fds(): os.dup2(high[0], 3); os.dup2(high[1], 4)   # where Chromium listens and answers
        args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
                '--hide-scrollbars', '--remote-debugging-pipe', f'--user-data-dir={folder}']
        self.process = subprocess.Popen([program, *args, 'about:blank'], preexec_fn=fds, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for o in (into, out, *high): os.close(o)
        self.n, self.rest, self.session, self.events = 0, b'', None, []
        targets = self('Target.getTargets')['targetInfos']
        tab = next(o['targetId'] for o in targets if o['type'] == 'page')
        self.session = self('Target.attachToTarget', targetId=tab, flatten=True)['sessionId']
        for o in ('Page', 'Runtime', 'Log', 'Network'): self(f'{o}.enable')

    def receive(self):
        "The next message; events are kept"
        while b'\0' not in self.rest:
            more = os.read(self.read, 1 << 20)
            if not more: sys.exit('the browser ended')
            self.rest += more
        text, _, self.rest = self.rest.partition(b'\0')
        message = json.loads(text)
        if 'method' in message: self.events.append(message)
        return message

    def __call__(self, method, **params):
        self.n += 1
        message = dict(id=self.n, method=method, params=params)
        if self.session: message['sessionId'] = self.session
        os.write(self.write, json.dumps(message).encode() + b'\0')
        while (answer := self.receive()).get('id') != self.n: pass
        if 'error' in answer: sys.exit(f'{method}: {answer["error"]["message"]}')
        return answer['result']

    def open(self, url):
        self.events.clear()
        self('Page.navigate', url=url)
        while not any(o['method'] == 'Page.loadEventFired' for o in self.events): self.receive()

    def resize(self, width, height=1000):
        self('Emulation.setDeviceMetricsOverride', width=width, height=height,
             deviceScaleFactor=1, mobile=False)

    def run(self, script):
        "Value of a JavaScript expression, awaited"
        res = self('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in res: sys.exit(f'{res["exceptionDetails"]}: {script[:80]}')
        return res['result'].get('value')

    def shot(self, path, full):
        height = self.run('document.documentElement.scrollHeight') if full else 1000
        clip = dict(x=0, y=0, width=self.run('innerWidth'), height=min(height, 12000), scale=1)
        data = self('Page.captureScreenshot', clip=clip, captureBeyondViewport=True)['data']
        path.write_bytes(base64.b64decode(data))

SETTLED = 'new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))'
WIDER = f'''{SETTLED}.then(() => {{
  const page = document.documentElement, room = page.clientWidth
  if (page.scrollWidth <= room) return ''
  const inside = o => o && (getComputedStyle(o).overflowX != 'visible' || inside(o.parentElement))
  const out = [...document.body.querySelectorAll('*')].filter(o =>
    o.getBoundingClientRect().right > room + 1 && !inside(o.parentElement))
  const last = out[out.length - 1]
  return `${{page.scrollWidth}} > ${{room}}: ` + (last ? last.outerHTML.slice(0, 120) : '') }})'''
PALE = '''(() => {
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number)
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4)
    .reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0)
  const ground = o => { for (; o; o = o.parentElement) { const c = rgb(getComputedStyle(o).backgroundColor)
    if (c.length == 3 || c[3] > .5) return c } return [255, 255, 255] }
  const seen = {}
  for (const o of document.querySelectorAll('nav a, footer a, main p, main li, main td, main th, ' +
      'main code, main pre, main a, main summary, main figcaption, main h1, main h2, main h3')) {
    if (!o.offsetParent || o.closest('svg')) continue
    const a = light(rgb(getComputedStyle(o).color)), b = light(ground(o))
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (ratio < 4.5) seen[o.tagName.toLowerCase()] = `${ratio.toFixed(1)}: ${o.textContent.trim().slice(0, 40)}`
  }
  return Object.entries(seen).map(o => o.join(' ')) })()'''
DEAF = '''(source => {
  const bad = [], page = new DOMParser().parseFromString(source, 'text/html')   // runs no script
  const stored = [...page.querySelectorAll('.mldr-interactive')].map(o => o.textContent)
  const inputs = o => [...o.querySelectorAll('input[type=range], input[type=number], select, button')]
  const other = o => { const c = o.cloneNode(true); inputs(c).forEach(i => i.remove()); return c.innerHTML }
  const told = i => ['input', 'change'].forEach(e => i.dispatchEvent(new Event(e, {bubbles: true})))
  for (const [k, o] of document.querySelectorAll('.mldr-interactive').entries()) {
    if (!inputs(o).length) bad.push('interactive figure without a control')
    for (const i of inputs(o)) {
      const before = other(o), name = i.ariaLabel || i.textContent || i.id || i.tagName
      if (i.tagName == 'BUTTON') i.click()
      else if (i.tagName == 'SELECT') i.selectedIndex = (i.selectedIndex + 1) % i.options.length
      else i.value = +i.value == +i.max ? i.min : i.max
      told(i)
      if (other(o) == before) bad.push(`interactive figure: ${name} changes nothing`)
    }
    for (const i of o.querySelectorAll('input')) { i.value = i.defaultValue; told(i) }
    if (o.textContent != stored[k]) bad.push('interactive figure: with its first values it shows ' +
      'other numbers than those stored in the notebook')
  }
  for (const t of document.querySelectorAll('table.sortable')) {
    const before = t.tBodies[0].innerHTML, head = t.tHead.rows[0].cells
    for (const h of head) { h.click(); h.click() }
    head[0].click()
    const first = t.tBodies[0].innerHTML; head[0].click()
    if (t.tBodies[0].rows.length > 1 && first == before && first == t.tBodies[0].innerHTML)
      bad.push('sortable table does not react: ' + t.textContent.trim().slice(0, 40)) }
  return bad })'''
COUNT = '''['.mldr-interactive', 'table.sortable', 'figure, main img, main svg', 'math', 'table', 'pre']
  .map(o => document.querySelectorAll(o).length)'''
THEME = 'document.body.classList.toggle("quarto-dark", {0}); document.body.classList.toggle("quarto-light", !{0})'

def errors(events, url):
    "Errors of the console, and requests that leave the folder"
    for o in events:
        p = o['params']
        if o['method'] == 'Runtime.exceptionThrown':
            d = p['exceptionDetails']
            yield f'error in the console: {d.get("exception", {}).get("description", d["text"])[:200]}'
        if o['method'] == 'Runtime.consoleAPICalled' and p['type'] == 'error':
            yield f'error in the console: {[a.get("value") for a in p["args"]]}'
        if o['method'] == 'Log.entryAdded' and p['entry']['level'] == 'error':
            yield f'error in the console: {p["entry"]["text"]} {p["entry"].get("url", "")}'
        if o['method'] == 'Network.requestWillBeSent':
            to = p['request']['url']
            if not to.startswith(('file:', 'data:', 'about:')): yield f'asks another host: {to}'

def problems(browser, path, shots, full):
    "What is wrong with a page, in words; and what it holds"
    browser.resize(WIDTHS[0])
    browser.open(path.as_uri())
    found, counts = [], browser.run(COUNT)
    for width in WIDTHS:
        browser.resize(width)
        browser.run('document.querySelectorAll("details").forEach(o => o.open = true)')
        if wider := browser.run(WIDER): found.append(f'at {width} px wider than the window: {wider}')
        browser.run('document.querySelectorAll("details:not([open])").forEach(o => o.open = false)')
        for dark in (False, True):
            browser.run(THEME.format('true' if dark else 'false'))
            if width == WIDTHS[0]:
                found += [f'too pale in the {"dark" if dark else "light"} theme: {o}' for o in browser.run(PALE)]
            if shots: browser.shot(shots/f'{path.stem}_{width}_{"dark" if dark else "light"}.png', full)
        browser.run(THEME.format('false'))
    found += browser.run(f'{DEAF}({json.dumps(path.read_text())})')
    return [*found, *errors(browser.events, path.as_uri())], counts

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('pages', nargs='*')
    parser.add_argument('--shots', type=Path)
    parser.add_argument('--full', action='store_true', help='whole pages, not only the first window')
    args, t = parser.parse_args(), time.time()
    program = next((p for p in map(shutil.which, names) if p), None)
    if not program: print(f'no browser: none of {", ".join(names)} is installed'); sys.exit(77)
    if args.shots: args.shots.mkdir(parents=True, exist_ok=True)
    pages = [args.folder/p for p in args.pages] or sorted(args.folder.glob('*.html'))
    bad, total = [], [0]*6
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(program, profile)
        try:
            for path in pages:
                found, counts = problems(browser, path.resolve(), args.shots, args.full)
                bad += [f'{path.name}: {o}' for o in found]
                total = [a + b for a, b in zip(total, counts)]
        finally:
            browser.process.kill()
            browser.process.wait()
    what = 'interactive figures', 'sortable tables', 'figures', 'equations', 'tables', 'blocks of code'
    print(f'{len(pages)} pages at {" and ".join(map(str, WIDTHS))} px, '
          + ', '.join(f'{n} {w}' for n,w in zip(total, what)) + f'; {time.time() - t:.0f} s')
    sys.exit('\n'.join(bad) if bad else 0)

if __name__ == '__main__': main()
