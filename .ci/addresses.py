"In a workflow: settings.ini and _quarto.yml with the addresses of the repository it runs in"
import os
from pathlib import Path
from mldr_kd.site import with_addresses

root, env = Path(__file__).resolve().parent.parent, os.environ
files = root/'settings.ini', root/'_quarto.yml'
texts = with_addresses(*(f.read_text() for f in files), env['GITHUB_REPOSITORY'],
                       env.get('SITE_URL', ''), env.get('GITHUB_SERVER_URL', 'https://github.com'))
for f,t in zip(files, texts): f.write_text(t)
