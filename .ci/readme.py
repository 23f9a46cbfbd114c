"README.md from nbs/index.ipynb: nbdev's own processing, then nbconvert. `--check` only compares (nbdev_readme does the same where Quarto is installed)."
import re, sys
from pathlib import Path
from nbconvert import MarkdownExporter
from nbdev.serve import proc_nbs

root = Path(__file__).parent.parent

def readme():
    "The Markdown, and the pictures in it by name"
    body, res = MarkdownExporter().from_filename(str(proc_nbs(str(root/'nbs'), n_workers=0, force=True)/'index.ipynb'), {'output_files_dir': 'index_files'})
    body = re.sub(r'^---\n.*?\n---\n', '', body.lstrip(), flags=re.S)                      # quarto's header
    body = re.sub(r'^(:::.*|<!-- WARNING.*-->)\n', '', body, flags=re.M)
    return re.sub(r'\n{3,}', '\n\n', body).strip() + '\n', res['outputs']

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
