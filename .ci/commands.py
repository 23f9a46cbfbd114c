"""The shell lines of README.md, run as printed, in an empty folder and a fresh environment.

PYTHON .ci/commands.py list           the lines, one per line
PYTHON .ci/commands.py prepare FOLDER what the lines need: images, data and weights, made here
PYTHON .ci/commands.py run N FOLDER   line N; exit code 77 where it is skipped
PYTHON .ci/commands.py cells NOTEBOOK the code cells of a notebook, one after the other
PYTHON .ci/commands.py lowest         the lowest versions that settings.ini allows

PYTHON is the environment's own. Long lines get options appended, of which the last one counts.
"""
import configparser, json, os, re, subprocess, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
cifar100 = root.parent/'shared'/'data'/'cifar-100-python'
small_vit = '{"patch_size": 16, "embed_dim": 96, "depth": 4, "num_heads": 3}'  # quick to train
weak = '--epochs 1 --allow_weak_teacher'  # the teachers' weights are random here
cifar = f"{weak} --size 32 --per_class 2 --teacher_args '{small_vit}'"
study = f"--teacher_epochs 1 --teacher_args '{small_vit}'"
short = {  # beginning of a line: what is appended to it; the longest beginning counts
    'mldr_distill': '--seeds 1 --name ci',
    'mldr_distill --dataset folder': f'{weak} --teacher_epochs 1 --bs 8 --teacher_bs 8',
    'mldr_distill --dataset cifar100': cifar,
    'torchrun': cifar,
    'mldr_distill --resume': '',
    'mldr_teacher': f'--allow_weak_teacher {study}',
    'mldr_compare': f'{weak} --seeds 1 {study}',
    'mldr_report': '--seconds 0.1', 'mldr_export': '--seconds 0.1',
    'mldr_table': ''}

def lines():
    "The lines of the ```sh blocks, without comments"
    text = (root/'README.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```sh\n(.*?)^```', text, flags=re.M | re.S)
    found = (re.sub(r'\s+#.*', '', o).strip() for b in blocks for o in b.splitlines())
    return [o for o in found if o and not o.startswith('#')]

def skipped(line):
    "Why a line is not run, None if it is"
    if '[mamba]' in line:
        import torch
        return None if torch.cuda.is_available() else 'the kernels of mamba-ssm need CUDA'
    if line.startswith('pip install') and '&&' not in line: return '.ci/run installs the package'
    if re.search(r'--path data\b|study_', line) and not cifar100.is_dir():
        return f'CIFAR-100 is not in {cifar100}'

def shortened(line):
    "The line with what is appended; of a line that installs first, the rest"
    line = line.split('&&')[-1].strip() if '[mamba]' not in line else line
    beginnings = [o for o in short if line.startswith(o)]
    return f'{line} {short[max(beginnings, key=len)]}'.strip() if beginnings else line

def environment(folder):
    "This environment's commands first; caches in the folder, no network"
    cache, bin = Path(folder).resolve()/'.cache', Path(sys.executable).parent
    return {**os.environ, 'PATH': f'{bin}{os.pathsep}{os.environ["PATH"]}', 'HF_HUB_OFFLINE': '1',
            'TORCH_HOME': str(cache/'torch'), 'HF_HOME': str(cache/'huggingface')}

def run(n, folder):
    "Run a line; its exit code"
    line = lines()[int(n)]
    if reason := skipped(line): print(reason); return 77
    command = shortened(line)
    print(command, flush=True)
    return subprocess.run(['bash', '-c', command], env=environment(folder),
                          cwd=root if '[mamba]' in line else folder).returncode

def images(folder, classes=('cat', 'dog', 'fox'), n=20):
    "A folder of images by class: noise around a colour"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    for i, c in enumerate(classes):
        (folder/c).mkdir(parents=True)
        for j in range(n):
            x = rng.normal(80 + 50*np.eye(3)[i], 40, (48, 64, 3)).clip(0, 255)
            Image.fromarray(x.astype('uint8')).save(folder/c/f'{j}.jpg')

def weights(cache):
    "Random weights where the lines look for published ones"
    import timm, torch
    from safetensors.torch import save_file
    from mldr_kd.models.zoo import create_model
    vit = create_model('vit_small', 100, img_size=32, model_args=json.loads(small_vit))
    file = cache/'torch'/'hub'/'checkpoints'/'vit_small_patch16_224_cifar100.pth'
    file.parent.mkdir(parents=True)
    torch.save(vit.model.state_dict(), file)
    name = 'swin_tiny_patch4_window7_224.ms_in1k'
    repo, revision = cache/'huggingface'/'hub'/f'models--timm--{name}', '0'*40
    (repo/'snapshots'/revision).mkdir(parents=True); (repo/'refs').mkdir()
    (repo/'refs'/'main').write_text(revision)
    save_file(timm.create_model(name).state_dict(), repo/'snapshots'/revision/'model.safetensors')

def prepare(folder):
    "Make what the lines need in an empty folder"
    folder = Path(folder)
    (folder/'data').mkdir(parents=True)
    images(folder/'my_images')
    weights(folder.resolve()/'.cache')
    if cifar100.is_dir(): (folder/'data'/'cifar-100-python').symlink_to(cifar100)

def lowest():
    "The packages that settings.ini names, each in the lowest version that it allows"
    ini = configparser.ConfigParser(delimiters='=')
    ini.read(root/'settings.ini')
    print(ini['DEFAULT']['requirements'].replace('>=', '=='))

def cells(path):
    "Run a notebook's code cells in one namespace, but those that need nbdev, a GPU, data or time"
    os.chdir(Path(path).parent)
    names = {'__name__': '__main__'}
    for c in json.loads(Path(Path(path).name).read_text("utf-8"))['cells']:
        source = ''.join(c['source'])
        left_out = re.search(r'^#\| *(slow|cuda|data)\b|nbdev_export', source, re.M)
        if c['cell_type'] != 'code' or left_out: continue
        source = re.sub(r'^from nbdev\S* import .*$|^show_doc\(.*$', '', source, flags=re.M)
        exec(compile(source, f'{Path(path).name}: {source[:60]!r}', 'exec'), names)

if __name__ == '__main__':
    action, *args = sys.argv[1:]
    if action == 'list': print('\n'.join(lines()))
    elif action == 'lowest': lowest()
    else: sys.exit(dict(prepare=prepare, run=run, cells=cells)[action](*args))
