"Packaging: every value comes from settings.ini, which nbdev reads too."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
cfg = ConfigParser(delimiters=['='])
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
extras = {name: cfg[f'{name}_requirements'].split() for name in ('dev', 'bench', 'mamba', 'onnx', 'teachers')}
tested = '3.10', '3.11', '3.12', '3.13'  # by .ci/run, here or in .github/workflows/test.yml

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    keywords=cfg['keywords'], author=cfg['author'], author_email=cfg['author_email'],
    url=cfg['git_url'], license='Apache-2.0',
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research',
                 *(f'Programming Language :: Python :: {v}' for v in tested)],
    packages=find_packages(include=['mldr_kd*']), include_package_data=True, zip_safe=False,
    python_requires=f">={cfg['min_python']}", install_requires=cfg['requirements'].split(),
    extras_require=extras, long_description=(root/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    entry_points={'console_scripts': cfg['console_scripts'].split('\n'),
                  'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]})
