"""README.md from nbs/index.ipynb: nbdev's own processing, then nbconvert.

`--check` only compares. nbdev_readme does the same where Quarto is installed.
"""
import re, sys
from pathlib import Path
import nbformat, yaml
from nbconvert import MarkdownExporter
from nbdev.serve import proc_nbs

root = Path(__file__).parent.parent
site = 'https://mldr-kd.github.io/mldr_kd'

def shown(nb):
    "The processed page with a heading, with addresses as links, without cells that the site hides"
    head = next(yaml.safe_load_all(nb.cells[0].source))
    nb.cells[0] = nbformat.v4.new_markdown_cell(f"# {head['title']}\n\n> {head['description']}")
    for c in nb.cells:
        hidden = c.cell_type == 'code' and re.search(r'^#\| *echo: *false', c.source, re.M)
        text = '' if hidden else c.source
        c.source = re.sub(r'\]\((?:\d+_)?(\w[\w./]*)\.ipynb\)', rf']({site}/\1.html)', text)
    return nb

def readme():
    "The Markdown, and the images in it by name"
    page = proc_nbs(str(root/'nbs'), n_workers=0, force=True)/'index.ipynb'
    body, res = MarkdownExporter().from_notebook_node(
        shown(nbformat.read(page, 4)), {'output_files_dir': 'index_files'})
    body = re.sub(r'^(:::.*|<!-- WARNING.*-->|```\n```|```\n\n+```)\n', '', body, flags=re.M)
    body = re.sub(r'^ +(?=!\[)', '', body, flags=re.M)
    return re.sub(r'\n\s*\n\s*\n', '\n\n', body).strip() + '\n', res['outputs']

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
