"""The documentation pages without Quarto: python .ci/pages.py FOLDER [NOTEBOOK...]

nbdev's processing of every notebook (or of those that are named), then HTML in the folder with
pandoc and the site's own style. It fails on what a reader would stumble over; see `problems`.
Quarto makes the site from the same processed pages.
"""
import ast, base64, re, shutil, struct, sys
from concurrent.futures import ThreadPoolExecutor
from html import escape
from html.parser import HTMLParser
from pathlib import Path
import nbformat, pypandoc, yaml
from nbdev.processors import FilterDefaults
from nbdev.serve import proc_nbs
from nbdev.serve_drv import exec_nb
from mldr_kd.site import defined, page_name

root, out, only = Path(__file__).parent.parent, Path(sys.argv[1]), sys.argv[2:]
nbs, config = root/'nbs', yaml.safe_load((root/'_quarto.yml').read_text())
void = set('area base br col embed hr img input link meta source track wbr'.split())

def process():
    "Folder of the processed notebooks"
    if not only: return proc_nbs(str(nbs), n_workers=0, force=True)
    cache = root/'_proc'
    cache.mkdir(exist_ok=True)
    for o in only: exec_nb(nbs/Path(o).name, cache/Path(o).name, FilterDefaults)
    return cache

def options(source):
    "Quarto's options of a cell, and its code"
    head = re.match(r'(?:#\|.*\n?)*', source)[0]
    try: found = yaml.safe_load(re.sub(r'^#\| ?', '', head, flags=re.M)) or {}
    except yaml.YAMLError: found = dict(re.findall(r'^#\| *([\w-]+): *(.*)$', head, re.M))
    return found, source[len(head):]

def fence(text, attrs=''):
    ticks = '`'*max(3, 1 + max((len(o) for o in re.findall('`+', text)), default=0))
    return f'{ticks}{attrs}\n{text.rstrip()}\n{ticks}'

def output(o, opts, stem):
    "Markdown of an output, as Quarto writes it"
    if o.output_type == 'stream':
        return f'::: {{.cell-output .cell-output-{o.name}}}\n{fence("".join(o.text))}\n:::'
    data = o.get('data', {})
    for mime, end in (('image/svg+xml', 'svg'), ('image/png', 'png'), ('image/jpeg', 'jpg')):
        if mime not in data: continue
        file = out/'figures'/f'{stem}.{end}'
        file.parent.mkdir(exist_ok=True)
        body = ''.join(data[mime])
        file.write_bytes(body.encode() if end == 'svg' else base64.b64decode(body))
        alt = escape(opts.get('fig-alt', ''), quote=True)
        about = f'<figcaption>{escape(opts.get("fig-cap", ""))}</figcaption>'
        image = f'<img src="figures/{file.name}" alt="{alt}">'
        return fence(f'<figure>{image}{about}</figure>', '{=html}')
    if 'text/markdown' in data: return ''.join(data['text/markdown'])
    text = ''.join(data.get('text/plain', ''))
    return f'::: {{.cell-output}}\n{fence(text)}\n:::' if text else ''

def markdown(nb, stem):
    "The page as Markdown"
    res = []
    for i,c in enumerate(nb.cells[1:]):
        if c.cell_type != 'code': res.append(c.source); continue
        opts, code = options(c.source)
        body = fence(code, 'python') if code.strip() and opts.get('echo', True) else ''
        if fold := opts.get('code-fold'):
            start = '<details open>' if fold == 'show' else '<details>'
            summary = f'<summary>{opts.get("code-summary", "Code")}</summary>'
            body = f'{fence(start + summary, "{=html}")}\n\n{body}\n\n{fence("</details>", "{=html}")}'
        outs = [output(o, opts, f'{stem}-{i}-{j}') for j,o in enumerate(c.get('outputs', []))]
        shown = '\n\n'.join(o for o in [body, *outs] if o)
        res.append(f':::: {{.cell {"." + opts["classes"] if "classes" in opts else ""}}}\n'
                   f'{shown}\n::::' if shown else '')
    return '\n\n'.join(res)

def sidebar():
    "Sections and (text, notebook) of the sidebar"
    for section in config['website']['sidebar']['contents']:
        yield section['section'], [(o.get('text', o['href']), o['href']) if isinstance(o, dict)
                                   else (o, o) for o in section['contents']]

AFTER = '\n'.join(o['text'] for o in config['format']['html'].get('include-after-body', []))

def html_page(head, body):
    "A page in the site's style"
    nav = ''.join(f'<b>{s}</b>' + ''.join(f'<a href="{page_name(f)}">{escape(t)}</a>' for t,f in items)
                  for s, items in sidebar())
    title, about = (escape(str(head.get(o, ''))) for o in ('title', 'description'))
    return f'''<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<link rel="icon" href="favicon.svg"><link rel="stylesheet" href="plain.css">
<link rel="stylesheet" href="styles.css"></head><body class="quarto-light">
<nav id="quarto-sidebar">{nav}</nav><main class="content" id="quarto-document-content">
<header id="title-block-header"><h1 class="title">{title}</h1><p class="subtitle">{about}</p></header>
{body}</main>{AFTER}</body></html>'''

def convert(path):
    "The processed page (or a .qmd file) as HTML; what pandoc warns of"
    if path.suffix == '.qmd':
        _, front, text = path.read_text().split('---\n', 2)
        head, name = yaml.safe_load(front), path.with_suffix('.html').name
    else:
        nb = nbformat.read(path, 4)
        head = next(yaml.safe_load_all(nb.cells[0].source))
        name, text = head['output-file'], markdown(nb, path.stem)
    body = pypandoc.convert_text(text, 'html5', 'markdown', extra_args=['--mathml', '--wrap=none'])
    (out/name).write_text(html_page(head, body))
    return name

class Reader(HTMLParser):
    "Anchors, links, images, outside files and text of outputs of a page"
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.outside, self.texts, self.stack = set(), [], [], [], [], []
        self.tables, self.sources, self.folded, self.twice = [], 0, 0, []
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if a.get('id') in self.ids: self.twice.append(a['id'])
        if a.get('id'): self.ids.add(a['id'])
        if tag == 'a' and a.get('href'): self.links.append(a['href'])
        if tag == 'img': self.images.append((a.get('src', ''), (a.get('alt') or '').strip()))
        if tag == 'svg' and not (a.get('aria-label') or a.get('aria-hidden')): self.images.append(('svg', ''))
        source = a.get('src') if tag in ('script', 'img', 'iframe') else a.get('href') if tag == 'link' else ''
        if re.match(r'(https?:)?//', source or ''): self.outside.append(source)
        if tag == 'table': self.tables.append([])
        if tag == 'tr' and self.tables: self.tables[-1].append(0)
        if tag in ('td', 'th') and self.tables and self.tables[-1]:
            self.tables[-1][-1] += float('nan') if 'rowspan' in a else int(a.get('colspan', 1))
        self.folded += tag == 'details' and a.get('class') == 'tested'
        if tag not in void: self.stack.append((tag, a.get('class') or ''))
    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag: pass
    def handle_data(self, data):
        self.sources += self.stack[-1:] == [('summary', '')] and data == 'Source'
        output = any('cell-output' in c or 'wide' in c for _,c in self.stack)
        code = any(t in ('pre', 'script', 'style') for t,_ in self.stack)
        self.texts.append(('output' if output else 'code' if code else 'prose', data))

stumbling = {  # what a page may not contain, and where: in outputs, prose or code
    'a path of the machine': ('output', r'/tmp/\w|/home/\w+/|/root/\w|/work/\w|site-packages/'),
    'nan': ('output', r'^\s*(?i:nan)\s*$|(=|\||  |, |\()(?i:nan)\b'),
    'a bare list of losses': ('output', r'^\s*\[(-?\d+\.\d+,\s*){5,}-?\d+\.\d+\]\s*$'),
    'negative memory': ('output', r'-\d[\d.,]* [KMG]i?B'),
    'a generic docstring': ('output', r'Call self as a function'),
    'a table that is not read as one': ('prose', r'^\s*\|.*\|.*\|\s*$'),
    'a type that is no type': ('output prose code', r'NoneType\s*=\s*None')}

def problems(name, page, pages):
    "What is wrong with a page, in words"
    source = next((f.name for f in nbs.glob('*.ipynb') if page_name(f.name) == name), None)
    if source and f'notebooks/{source}' not in page.links: yield f'no link to download {source}'
    for link in page.links:
        if re.match(r'\w+:|//', link): continue
        file, _, anchor = link.partition('#')
        if file.startswith('notebooks/'):
            if not (nbs/file.removeprefix('notebooks/')).exists(): yield f'no file for the link {link}'
        elif file and file not in pages:
            if not (out/file).exists(): yield f'no page for the link {link}'
        elif anchor and anchor not in pages[file or name].ids: yield f'no anchor for the link {link}'
    yield from (f'two places have the anchor #{o}' for o in page.twice)
    yield from (f'no alt text: {src}' for src, alt in page.images if not alt)
    yield from (f'needs another host: {o}' for o in page.outside)
    yield from (f'a table with shifted columns: its rows have {sorted(set(o))} cells'
                for o in page.tables if len(set(o)) > 1 and all(n == n for n in o))
    for what, (where, pattern) in stumbling.items():
        for kind, text in page.texts:
            m = kind in where and re.search(pattern, text, re.M)
            if m: yield f'{what}: {text[max(0, m.start() - 40):m.end() + 20]!r}'

def unstored(cell):
    "Whether a cell shows a figure or a value when it runs, and its output is not stored"
    s = cell.source
    if cell.outputs or re.search(r'^#\| *(hide|slow|data|cuda|exports?|eval)\b', s, re.M): return False
    try: last = ast.parse(re.sub(r'^[%!].*', '', s, flags=re.M)).body[-1]
    except (SyntaxError, IndexError): return False
    if '#| fig-cap:' in s: return True
    shows = ast.Name, ast.Tuple, ast.Dict, ast.List, ast.JoinedStr, ast.Attribute, ast.Subscript
    table = re.match(r'(print|Markdown|HTML|display|pd\.(DataFrame|Series))\(', ast.unparse(last))
    return isinstance(last, ast.Expr) and not s.rstrip().endswith(';') and bool(
        table or isinstance(last.value, shows))

def source_problems(path):
    "What is wrong with a notebook's cells"
    cells = nbformat.read(path, 4).cells
    prose = '\n'.join(c.source for c in cells if c.cell_type == 'markdown')
    for c in cells:
        s = c.source
        if c.cell_type != 'code': continue
        if re.search(r'^#\| *export$', s, re.M):
            yield from (f'the prose speaks of {o}: its cell is for #| exports' for o in defined(s)
                        if not o.startswith('_') and re.search(rf'`{o}\b', prose))
        if unstored(c): yield f'the output is not stored, run the cell: {s[:60]!r}'
        for line in re.findall(r'^#\| *(fig-\w+:.*)$', s, re.M):
            try: yaml.safe_load(line)
            except yaml.YAMLError: yield f'not YAML, put it in quotes: {line}'
        if any('image/' in k for o in c.outputs for k in o.get('data', {})):
            yield from (f'a figure without {o}: {s[:60]!r}' for o in ('fig-cap', 'fig-alt') if f'#| {o}:' not in s)
        small = re.search(r"(fontsize|labelsize|font\.size'?\s*[:=])\s*=?\s*([1-8](\.\d+)?\b|'(x+-)?small')", s)
        if small: yield f'text smaller than 9 pt: {small[0]}'
        for o in c.outputs:
            drawn = ''.join(o.get('data', {}).get('image/svg+xml', ''))
            sizes = [100*float(x) for x in re.findall(r'scale\(([\d.]+) -', drawn)]
            if sizes and min(sizes) < 9: yield f'text of {min(sizes):.1f} pt in the figure: {s[:60]!r}'
            if o.get('name') == 'stderr': yield f'a warning among the outputs: {o.text[:80]!r}'
            data = o.get('data', {})
            if ''.join(data.get('text/plain', '')).startswith('<Figure') \
                and not any('image/' in k for k in data): yield f'a figure that was not drawn: {s[:60]!r}'
            if o.output_type == 'error': yield f'the page contains an error: {o.ename}: {o.evalue}'

def theme(name):
    "Colours of a theme of the site, for the plain style"
    v = dict(re.findall(r'^\$([\w-]+): (.+);', (nbs/f'{name}.scss').read_text(), re.M))
    rules = {'': ('background', 'body-bg', 'color', 'body-color'), ' a': ('color', 'link-color'),
             ' main :not(pre)>code': ('color', 'code-color', 'background', 'code-bg')}
    return ''.join(f'body.quarto-{name}{rule}{{' + ''.join(
        f'{o[i]}:{v[o[i + 1]]};' for i in range(0, len(o), 2) if o[i + 1] in v) + '}\n'
        for rule, o in rules.items())

PLAIN = '''body{margin:0;font:16px/1.55 system-ui,sans-serif;display:flex}
nav{width:230px;flex:none;padding:1rem;font-size:.85rem;height:100vh;overflow:auto;position:sticky;
top:0;box-sizing:border-box} nav a{display:block;text-decoration:none;padding:.1rem 0}
nav b{display:block;margin-top:.7rem} main{max-width:900px;min-width:0;padding:1rem 1.5rem;flex:1}
pre{overflow:auto;background:var(--panel);padding:.6rem;font-size:.85rem} img{max-width:100%}
figcaption{font-size:.85rem;color:var(--soft)} figure{margin:1rem 0} .subtitle{color:var(--soft)}
table{border-collapse:collapse} td,th{border-bottom:1px solid var(--line);padding:.2rem .5rem;
text-align:left} @media(max-width:700px){body{display:block} nav{display:none}}'''

def main():
    out.mkdir(parents=True, exist_ok=True)
    cache = process()
    done = sorted(p for p in cache.glob('*.ipynb'))
    for f in nbs.iterdir():
        if f.suffix in ('.css', '.svg', '.png', '.js'): shutil.copy(f, out)
    (out/'plain.css').write_text(PLAIN + theme('light') + theme('dark'))
    with ThreadPoolExecutor(2) as pool: names = list(pool.map(convert, [*done, *nbs.glob('*.qmd')]))
    pages = {o: Reader((out/o).read_text()) for o in names}
    bad = [f'{n}: {o}' for n,p in pages.items() for o in problems(n, p, pages)]
    bad += [f'{p.name}: {o}' for p in sorted(nbs.glob('*.ipynb')) for o in source_problems(p)]
    listed, notebooks = {f for _,items in sidebar() for _,f in items}, {p.name for p in done}
    bad += [f'_quarto.yml names {o}, which does not exist' for o in sorted(listed - notebooks)]
    bad += [f'{o} is not in the sidebar of _quarto.yml' for o in sorted(notebooks - listed)]
    picture = nbs/config['website']['image']   # bytes 16 to 24 of a PNG are its width and height
    if not picture.exists(): bad.append(f'_quarto.yml names {picture.name}, which does not exist')
    elif picture.read_bytes()[16:24] != struct.pack('>II', 1200, 630):
        bad.append(f'{picture.name} is not 1200 pixels wide and 630 high, as links are shown')
    readme = (root/'README.md').read_text()
    bad += [f'README.md: no file for the link {o}' for o in re.findall(r'\]\((?!\w+:|#)([^)#]+)', readme)
            if not (root/o).exists()]
    bad += [f'README.md has what only the site shows: {o}' for o in re.findall(
        r'\{=html\}|<p |:::|\bdownload>', readme)]
    count = {k: sum(len(getattr(p, k)) for p in pages.values()) for k in ('links', 'images', 'ids', 'tables')}
    count |= {k: sum(getattr(p, k) for p in pages.values()) for k in ('sources', 'folded')}
    print(f'{len(pages)} pages, {count["links"]} links, {count["ids"]} anchors, {count["images"]} images, '
          f'{count["tables"]} tables; {count["sources"]} sources, {count["folded"]} folds of tests')
    sys.exit('\n'.join(bad) if bad else 0)

if __name__ == '__main__': main()
