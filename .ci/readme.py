"README.md from nbs/index.ipynb: nbdev's own processing, then nbconvert. `--check` only compares (nbdev_readme does the same where Quarto is installed)."
import re, sys
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter
from nbdev.serve import proc_nbs

root = Path(__file__).parent.parent

site = 'https://mldr-kd.github.io/mldr_kd'

def shown(nb):
    "The processed page without the cells that the site hides, with its title as a heading and its links as addresses of the site"
    head = dict(re.findall(r'^(title|description): *[\'"]?(.*?)[\'"]?$', nb.cells[0].source, re.M))
    nb.cells[0] = nbformat.v4.new_markdown_cell(f"# {head['title']}\n\n> {head['description']}")
    for c in nb.cells:
        if c.cell_type == 'code' and re.search(r'^#\| *echo: *false', c.source, re.M): c.source = ''
        c.source = re.sub(r'\]\((?:\d+_)?(\w[\w./]*)\.ipynb\)', rf']({site}/\1.html)', c.source)
    return nb

def readme():
    "The Markdown, and the pictures in it by name"
    nb = shown(nbformat.read(proc_nbs(str(root/'nbs'), n_workers=0, force=True)/'index.ipynb', 4))
    body, res = MarkdownExporter().from_notebook_node(nb, {'output_files_dir': 'index_files'})
    body = re.sub(r'^(:::.*|<!-- WARNING.*-->|```\n```|```\n\n+```)\n', '', body, flags=re.M)
    return re.sub(r'\n\s*\n\s*\n', '\n\n', re.sub(r'^ +(?=!\[)', '', body, flags=re.M)).strip() + '\n', res['outputs']

if __name__ == '__main__':
    text, pictures = readme()
    if '--check' in sys.argv:
        if (root/'README.md').read_text() != text: sys.exit('README.md is not what nbs/index.ipynb says: run python .ci/readme.py')
        missing = [o for o in pictures if not (root/o).exists()]
        if missing: sys.exit(f'pictures of README.md are missing: {missing}: run python .ci/readme.py')
    else:
        (root/'README.md').write_text(text)
        for name, data in pictures.items():
            (root/name).parent.mkdir(exist_ok=True)
            (root/name).write_bytes(data)
