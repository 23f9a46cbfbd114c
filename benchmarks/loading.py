"""Start-up and loading beside torchvision: the same files, transforms, batches and workers.

    python benchmarks/loading.py [--path FOLDER] [--out benchmarks/loading.csv]

FOLDER is one of images by class, for torchvision's ImageFolder; without it 200 classes of 50 JPEG
images of 64 pixels are made, and for the start-up 200 classes of 500 files, as in Tiny-ImageNet.
Start-up is the time until a loader could be asked for its first batch: this package lists the files
and splits them in three parts, torchvision's ImageFolder lists them. Loading is a pass over some
batches: decode, random resized crop, flip, normalise, collate. The two take turns; medians. One
thread of PyTorch in each process."""
import argparse, csv, io, statistics, tempfile, time
from pathlib import Path
import numpy as np, torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder
from mldr_kd.data import image_dls

def make_images(folder, classes=200, n=50, side=64):
    "JPEG images of smooth noise, as large as photographs of that size; a hundred of them, repeated"
    rng, content = np.random.default_rng(0), []
    for i in range(100):
        low = rng.integers(0, 256, (12, 12, 3)).astype('uint8')
        Image.fromarray(low).resize((side, side), Image.BICUBIC).save(b := io.BytesIO(), 'JPEG')
        content.append(b.getvalue())
    for c in range(classes):
        (folder/f'class{c:03}').mkdir(parents=True)
        for i in range(n): (folder/f'class{c:03}'/f'{i}.jpg').write_bytes(content[i % 100])
    return folder

def seconds(f):
    "How long a call takes, and what it gives"
    start = time.perf_counter()
    out = f()
    return time.perf_counter() - start, out

def ours(path, size, bs, workers):
    return image_dls('folder', path, size=size, bs=bs, augment='conv', num_workers=workers,
                     device='cpu', valid_pct=.1, test_dir='none')

def theirs(path, size, bs, workers):
    normalise = T.Normalize((.485, .456, .406), (.229, .224, .225))
    data = ImageFolder(path, T.Compose([T.RandomResizedCrop(size), T.RandomHorizontalFlip(),
                                        T.ToTensor(), normalise]))
    return DataLoader(data, bs, shuffle=True, num_workers=workers, drop_last=True,
                      generator=torch.Generator().manual_seed(0))

def passed(loader, limit):
    "Images a second of a pass, over so many batches at the most"
    n, start = 0, time.perf_counter()
    for k, (x, *_) in enumerate(loader):
        n += len(x)
        if k + 1 == limit: break
    return n/(time.perf_counter() - start)

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
p.add_argument('--path')
p.add_argument('--out', default='benchmarks/loading.csv')
p.add_argument('--size', type=int, default=64)
p.add_argument('--bs', type=int, default=64)
p.add_argument('--batches', type=int, default=40, help='of a pass')
p.add_argument('--repeats', type=int, default=9)
o = p.parse_args()
torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as made:
    path = Path(o.path) if o.path else make_images(Path(made)/'images')
    many = path if o.path else make_images(Path(made)/'many', n=500)
    rows = []
    def count(folder): return sum(1 for f in folder.rglob('*') if f.is_file())
    def add(what, workers, turns, unit, folder):
        a, b = map(statistics.median, zip(*turns))
        rows.append(dict(what=what, workers=workers, ours=a, torchvision=b, unit=unit,
                         files=count(folder), size=o.size, bs=o.bs, repeats=o.repeats))
        print(rows[-1], flush=True)
    def start(f): return seconds(lambda: f(many, o.size, o.bs, 0))[0]
    start(ours), start(theirs)   # the file system's cache
    add('start-up', 0, [(start(ours), start(theirs)) for _ in range(o.repeats)], 'seconds', many)
    for workers in (0, 1, 2):
        a, b = ours(path, o.size, o.bs, workers).train, theirs(path, o.size, o.bs, workers)
        passed(a, 3), passed(b, 3)
        turns = [(passed(a, o.batches), passed(b, o.batches)) for _ in range(o.repeats)]
        add('loading', workers, turns, 'images a second', path)
    with open(o.out, 'w', newline='') as f:
        out = csv.DictWriter(f, [*rows[0]], lineterminator='\n')
        out.writeheader()
        out.writerows({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}
                      for r in rows)
