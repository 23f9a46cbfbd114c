"""The documentation pages without Quarto: python .ci/pages.py FOLDER

nbdev's processing of every notebook, then HTML in the folder. It fails on a page without a title,
on an error in a page, on a link to a page that does not exist, on a page missing in the sidebar.
"""
import re, sys
from pathlib import Path
import nbformat
from nbconvert import HTMLExporter
from nbdev.serve import proc_nbs

root, out = Path(__file__).parent.parent, Path(sys.argv[1])
cache = proc_nbs(str(root/'nbs'), n_workers=0, force=True)
pages = sorted(p for p in cache.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
if not pages: sys.exit('no page was made')

def problems(path, nb):
    "What is wrong with a page, in words"
    if 'title:' not in nb.cells[0].source: yield 'the page has no title'
    for o in (o for c in nb.cells for o in c.get('outputs', []) if o.output_type == 'error'):
        yield f'the page contains an error: {o.ename}: {o.evalue}'
    for link in re.findall(r'\]\(([\w./-]+\.ipynb)', '\n'.join(c.source for c in nb.cells)):
        if not (path.parent/link).exists(): yield f'a link to {link}, which does not exist'

bad = []
for p in pages:
    name, nb = p.relative_to(cache), nbformat.read(p, 4)
    bad += [f'{name}: {o}' for o in problems(p, nb)]
    to = out/name.with_suffix('.html')
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(HTMLExporter().from_notebook_node(nb)[0])
listed = set(re.findall(r'[\w./]+\.ipynb', (root/'_quarto.yml').read_text()))
names = {str(p.relative_to(cache)) for p in pages}
bad += [f'_quarto.yml names {o}, which does not exist' for o in sorted(listed - names)]
bad += [f'{o} is not in the sidebar of _quarto.yml' for o in sorted(names - listed)]
print(f'{len(pages)} pages')
sys.exit('\n'.join(bad) if bad else 0)
