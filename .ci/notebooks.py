"Quarto's post-render step: the notebooks beside the pages, for the link Download notebook"
import os, shutil
from pathlib import Path

to = Path(os.environ.get('QUARTO_PROJECT_OUTPUT_DIR', '_docs'))/'notebooks'
to.mkdir(parents=True, exist_ok=True)
for f in (Path(__file__).resolve().parent.parent/'nbs').glob('*.ipynb'): shutil.copy(f, to)
