"""README.md from nbs/index.ipynb: nbdev's own processing, then nbconvert.

`--check` only compares. settings.ini names no `readme_nb` that exists, so that nbdev's own steps
(nbdev_docs, nbdev_prepare) leave README.md alone. Its links are relative: pages become notebooks.
"""
import re, sys
from pathlib import Path
import nbformat, yaml
from nbconvert import MarkdownExporter
from nbdev.processors import FilterDefaults
from nbdev.serve_drv import exec_nb
from mldr_kd.site import page_name

root = Path(__file__).parent.parent
notebooks = {page_name(p.name): f'nbs/{p.name}' for p in (root/'nbs').glob('*.ipynb')}

def shown(nb):
    "The processed page with a heading, with addresses as links, without cells that the site hides"
    head = next(yaml.safe_load_all(nb.cells[0].source))
    nb.cells[0] = nbformat.v4.new_markdown_cell(f"# {head['title']}\n\n> {head['description']}")
    def notebook(m): return f"]({notebooks.get(m[1], m[1])})"
    def local(text):   # without what only the site shows
        text = re.sub(r'^::: \{\.content-visible.*?^:::$', '', text, flags=re.M | re.S)
        text = re.sub(r'^```\{=html\}\n<p class="page-head">.*?^```$', '', text, flags=re.M | re.S)
        text = re.sub(r'^(?=\[\*\*)', '- ', text, flags=re.M)   # cards
        text = re.sub(r'(!\[[^\]]*\]\()(?=[\w.]+\.svg\))', r'\1nbs/', text)
        return re.sub(r'\]\(([\w.]+\.html)(?:#[^)]*)?\)', notebook, text)
    for c in nb.cells:
        about = [re.search(rf"^#\| *fig-{o}: *'(.*)'$", c.source, re.M) for o in ('alt', 'cap')]
        if all(about): c.metadata['about'] = tuple(o[1] for o in about)
        for o in c.get('outputs', []):
            if 'text/markdown' in o.get('data', {}):
                o.data['text/markdown'] = local(o.data['text/markdown'])
        hidden = c.cell_type == 'code' and re.search(r'^#\| *echo: *false', c.source, re.M)
        text = '' if hidden else c.source
        c.source = local(text)
    return nb

def readme():
    "The Markdown, and the images in it by name"
    page = root/'_proc'/'index.ipynb'
    page.parent.mkdir(exist_ok=True)
    exec_nb(root/'nbs'/'index.ipynb', page, FilterDefaults)
    nb = shown(nbformat.read(page, 4))
    body, res = MarkdownExporter().from_notebook_node(nb, {'output_files_dir': 'index_files'})
    about = iter([c.metadata.about for c in nb.cells if 'about' in c.metadata])
    def figure(m):
        alt, caption = next(about)
        return f'![{alt}]{m[1]}\n\n*{caption}*'
    body = re.sub(r'!\[(?:png|svg)\](\(.*?\))', figure, body)
    body = re.sub(r'^(:::.*|<!-- WARNING.*-->|```\n```|```\n\n+```)\n', '', body, flags=re.M)
    body = re.sub(r'^ +(?=!\[)', '', body, flags=re.M)
    ground = rb'\1<rect width="100%" height="100%" fill="#fff"/>'   # for a dark theme
    images = {k: re.sub(b'(<svg[^>]*>)', ground, v, count=1) for k,v in res['outputs'].items()}
    return re.sub(r'\n\s*\n\s*\n', '\n\n', body).strip() + '\n', images

if __name__ == '__main__':
    text, images = readme()
    if '--check' in sys.argv:
        again = 'run python .ci/readme.py'
        if (root/'README.md').read_text() != text:
            sys.exit(f'README.md differs from nbs/index.ipynb: {again}')
        missing = [o for o in images if not (root/o).exists()]
        if missing: sys.exit(f'images of README.md are missing: {missing}: {again}')
    else:
        (root/'README.md').write_text(text)
        for name, data in images.items():
            (root/name).parent.mkdir(exist_ok=True)
            (root/name).write_bytes(data)
