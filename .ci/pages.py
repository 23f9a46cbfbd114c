"The documentation pages without Quarto: nbdev's processing of every notebook, then HTML into the folder that is given. Fails on a page without its title, on an error, on a link to a page that is not there."
import re, sys
from pathlib import Path
import nbformat
from nbconvert import HTMLExporter
from nbdev.serve import proc_nbs

root, out = Path(__file__).parent.parent, Path(sys.argv[1])
cache, bad = proc_nbs(str(root/'nbs'), n_workers=0, force=True), []
pages = sorted(p for p in cache.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
if not pages: sys.exit('no page came out')
for p in pages:
    rel = p.relative_to(cache)
    nb = nbformat.read(p, 4)
    errors = [o for c in nb.cells if c.cell_type == 'code' for o in c.get('outputs', []) if o.output_type == 'error']
    if errors: bad.append(f'{rel}: the processed page holds an error: {errors[0].ename}: {errors[0].evalue}')
    text = '\n'.join(c.source for c in nb.cells)
    if 'title:' not in nb.cells[0].source: bad.append(f'{rel}: the page has no title')
    for link in re.findall(r'\]\(([\w./-]+\.ipynb)', text):
        if not (p.parent/link).exists(): bad.append(f'{rel}: a link to {link}, which is not there')
    html, _ = HTMLExporter().from_notebook_node(nb)
    to = out/rel.with_suffix('.html')
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(html)
listed, names = set(re.findall(r'[\w./]+\.ipynb', (root/'_quarto.yml').read_text())), {str(p.relative_to(cache)) for p in pages}
bad += [f'_quarto.yml names {o}, which is not there' for o in sorted(listed - names)] + [f'{o} is not in the sidebar of _quarto.yml' for o in sorted(names - listed)]
print(f'{len(pages)} pages')
sys.exit('\n'.join(bad) if bad else 0)
