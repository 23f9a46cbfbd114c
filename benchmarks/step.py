"""Images a second of a whole MLDR-KD training step, beside an ordinary DataLoader loop.

    python benchmarks/step.py [--threads 2] [--repeats 5] [--steps 4] [--out benchmarks/step.json]
    python benchmarks/step.py --device cuda [--size 224] [--workers 4]

The first line runs on a CPU, at 32 pixels; the second on a GPU, ResNet18 from ViT-S. The rows take
turns within one process; a row's figure is the median of its turns. Each row adds one ingredient to
the row before it, see `ROWS`. The images are CIFAR-100's if --data is a folder that has it, and
otherwise noise of the same shape: arithmetic and timing do not depend on what an image shows.
"""
import argparse, json, os, platform, statistics, tempfile, time
from functools import partial
from pathlib import Path
import numpy as np, pandas as pd, timm, torch, torchvision
from fastai.callback.core import Callback
from fastai.optimizer import OptimWrapper
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from mldr_kd import datasets, mldr
from mldr_kd.augment import PROTOCOLS, Augment
from mldr_kd.core import seeded
from mldr_kd.data import image_dls
from mldr_kd.dfra import DFRA, dfra, dfra_plain
from mldr_kd.distill import DistillModel, distill_learner
from mldr_kd.files import write_json
from mldr_kd.methods import build_method
from mldr_kd.models.zoo import create_model
from mldr_kd.train.cache import TeacherCache
from mldr_kd.train.precision import autocast

STATS = datasets.DATASETS['cifar100'].stats
ROWS = dict(
    plain=dict(),                                   # timm's transform image by image, six formulas
    streamed=dict(loss='streamed'),                 # the loss in its closed form
    loader=dict(loss='streamed', ours=True),        # this package's loader: seeded, resumable
    cached=dict(loss='streamed', ours=True, cached=True), # the teacher's logits replayed
    learner=dict(learner=True))                     # the same three through distill_learner

def images(n, path):
    "uint8 (n, 32, 32, 3) and labels, one of each class at a time; are they CIFAR-100's?"
    real = path is not None and (Path(path)/'cifar-100-python').exists()
    if real:
        train, _, _, vocab = datasets.cifar100_parts(path, download=False)
        x, y = np.stack([o.image for o in train]), np.array([vocab.index(o.label) for o in train])
    else:
        x = np.random.RandomState(0).randint(0, 256, (n, 32, 32, 3), np.uint8)
        y = np.arange(n) % 100
    turns = pd.Series(y).groupby(y).cumcount().to_numpy().argsort(kind='stable')[:n]
    return x[turns], y[turns], real

def loaders(x, y, a):
    "`DataLoaders` of these images, as a data set of its own"
    vocab = [f'{i:02}' for i in range(100)]
    train = [datasets.Sample(o, vocab[l]) for o, l in zip(x, y)]
    def read(path, download): return datasets.Parts(train, train[:2], train[:2], vocab)
    row = datasets.Dataset(read, size=32, stats=STATS, uniform=True)
    datasets.DATASETS['benchmark'] = row
    return image_dls('benchmark', size=a.size, bs=a.bs, augment=a.augment, seed=0,
                     device=a.device, num_workers=a.workers)

class Single(Dataset):
    "What a torchvision or timm script does with an image"
    def __init__(self, x, y, a):
        protocol = dict(PROTOCOLS[a.augment], mean=STATS[0])
        self.x, self.y, self.tfm = x, y, Augment(a.size, **protocol).image_transform()
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        return torch.as_tensor(self.tfm(Image.fromarray(self.x[i]))), int(self.y[i])

def dfra_six(student, teacher, temperature=1., alpha=2., **_):
    "The formula as written, once for each of the six logit tensors"
    parts = [dfra_plain(z.float(), teacher.float(), temperature, alpha) for z in student]
    return DFRA(*map(torch.stack, zip(*parts)))

class Loop:
    "One row: an endless training loop, `step` by step"
    def __init__(self, x, y, a, teacher, row, folder, workers=0):
        self.a, self.row, self.teacher, self.device = a, row, teacher, torch.device(a.device)
        self.loss = dfra if row.get('loss') == 'streamed' else dfra_six
        with seeded(0):
            student = create_model(a.student, 100, img_size=a.size)
            method = build_method('mldr', student, teacher, 100)
        self.model = DistillModel(student, method, student_stages=True).to(self.device).train()
        fast = self.device.type == 'cuda' and row.get('ours')
        if fast: self.model.to(memory_format=torch.channels_last)
        self.opt = sgd(self.model.parameters(), .01, fast)
        self.cache = TeacherCache(folder, {}, len(x), 100) if row.get('cached') else None
        if row.get('ours'): self.batches = self.seeded_batches(loaders(x, y, a).train)
        else:
            pin = self.device.type == 'cuda'
            self.batches = self.plain_batches(DataLoader(
                Single(x, y, a), a.bs, shuffle=True, drop_last=True, num_workers=workers,
                persistent_workers=workers > 0, pin_memory=pin))

    def seeded_batches(self, dl):
        while True:
            if self.cache: dl.epoch = 0  # filled by the first turn; only replays are timed
            for x, y in dl: yield dl.batch_index, *(o.as_subclass(torch.Tensor) for o in (x, y))

    def plain_batches(self, dl):
        mean, std = (torch.tensor(o, device=self.device)[:, None, None] for o in STATS)
        while True:
            for x, y in dl:
                x, y = (o.to(self.device, non_blocking=True) for o in (x, y))
                yield None, (x.float()/255 - mean)/std, y

    @torch.no_grad()
    def ask(self, x):
        with autocast(self.device, self.a.precision): return self.teacher(x)

    def step(self):
        index, x, y = next(self.batches)
        z = self.cache.logits(0, index, index, x, self.ask) if self.cache else self.ask(x)
        mldr.dfra = self.loss  # which of the two the method calls
        with autocast(self.device, self.a.precision): logits, terms = self.model(x, y, (z, None))
        loss = cross_entropy(logits.float(), y, label_smoothing=.1) + sum(terms.values())
        self.opt.zero_grad(); loss.backward(); self.opt.step()

    def turn(self):
        "Seconds of `steps` steps"
        for _ in range(self.lead): self.step()  # what workers had ready from before
        return timed(self.step, self.a)

def sgd(params, lr, fused):
    args = dict(fused=True) if fused else {}
    return torch.optim.SGD(params, lr, momentum=.9, nesterov=True, weight_decay=2e-3, **args)

def timed(step, a):
    "Seconds of `steps` calls"
    sync(a.device)
    start = time.perf_counter()
    for _ in range(a.steps): step()
    sync(a.device)
    return time.perf_counter() - start

def sync(device):
    if torch.device(device).type == 'cuda': torch.cuda.synchronize()

class Stopwatch(Callback):
    "Seconds of the training part of an epoch"
    order = -1000
    def before_train(self): sync(self.dls.device); self.start = time.perf_counter()
    def after_train(self):
        sync(self.dls.device)
        self.seconds = time.perf_counter() - self.start

class LearnerRow:
    "The library's own loop: one epoch of as many steps as a turn has"
    def __init__(self, x, y, a, teacher, folder):
        n, gpu = a.steps*a.bs, a.device.startswith('cuda')
        self.dls, self.watch = loaders(x[:n], y[:n], a), Stopwatch()
        fast = dict(precision=a.precision, channels_last=True, compile=a.compile) if gpu else {}
        with seeded(0): student = create_model(a.student, 100, img_size=a.size)
        opt = lambda params, lr: OptimWrapper(params, partial(sgd, fused=gpu), lr=lr)
        self.learn = distill_learner(self.dls, student, teacher, 'mldr', teacher_cache=folder,
                                     opt_func=opt, path=folder, **fast)
        self.turn()

    def turn(self):
        self.dls.train.epoch = 0  # the same epoch again: filled the first time, then replayed
        mldr.dfra = dfra
        with self.learn.no_bar(), self.learn.no_logging():
            self.learn.fit(1, 1e-2, cbs=self.watch, reset_opt=False)
        return self.watch.seconds

def models_alone(loop, a, with_teacher):
    "Seconds of `steps` steps of the models' own arithmetic: no data, no distillation loss"
    _, x, _ = next(loop.batches)
    def step():
        with autocast(loop.device, a.precision): z, f = loop.model.student.forward_stages(x)
        if with_teacher: loop.ask(x)
        (z.float().sum() + sum(o.float().sum() for o in f)).backward()
        loop.opt.step(); loop.opt.zero_grad()
    for _ in range(2): step()
    return timed(step, a)

def options():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = p.add_argument
    add('--device', default='cpu'); add('--threads', type=int, default=torch.get_num_threads())
    add('--repeats', type=int, default=5, help='turns behind each median')
    add('--steps', type=int, help='steps a turn; 4 on a CPU, 30 on a GPU')
    add('--bs', type=int, default=128); add('--size', type=int, help='32 on a CPU, 224 on a GPU')
    add('--augment', default='conv', choices=('conv', 'tokens'))
    add('--workers', type=int, help='of the ordinary loader; 0 on a CPU, 4 on a GPU')
    add('--teacher', help='vit_mini on a CPU, vit_small on a GPU')
    add('--student', help='resnet_mini on a CPU, resnet18 on a GPU')
    add('--precision', choices=('bf16', 'fp16'), help='of all rows; bf16 on a GPU')
    add('--no_compile', dest='compile', action='store_false', help='no torch.compile on a GPU')
    add('--data', help='a folder with cifar-100-python'); add('--out', help='a JSON file to write')
    a = p.parse_args()
    defaults = dict(steps=(4, 30), size=(32, 224), workers=(0, 4), precision=(None, 'bf16'),
                    teacher=('vit_mini', 'vit_small'), student=('resnet_mini', 'resnet18'))
    for k, v in defaults.items():
        if getattr(a, k) is None: setattr(a, k, v[a.device.startswith('cuda')])
    torch.set_num_threads(a.threads)
    return a

def make_rows(x, y, a, teacher, folder):
    "The rows, warm and with their caches filled"
    rows = {}
    for k, row in ROWS.items():
        if row.get('learner'): rows[k] = LearnerRow(x, y, a, teacher, folder/k)
        else: rows[k] = Loop(x, y, a, teacher, row, folder/k, a.workers)
        if k == 'plain' and a.device == 'cpu':
            rows[f'plain, {a.threads} workers'] = Loop(x, y, a, teacher, row, folder, a.threads)
    for k, o in rows.items():
        if not isinstance(o, Loop): continue
        workers = a.threads if k.endswith('workers') else a.workers
        o.lead = 0 if o.row.get('ours') else 2*workers
        for _ in range(len(x)//a.bs if o.cache else 1): o.step()
    return rows

def measure(rows, a)->tuple:
    "Seconds of each turn by row, and the share of a step that is not the models' own arithmetic"
    seconds, share = {k: [] for k in rows}, {}
    for _ in range(a.repeats):
        for k, o in rows.items(): seconds[k].append(o.turn())
    for name, k in {'with the teacher': 'loader', 'teacher replayed': 'cached'}.items():
        alone = [models_alone(rows[k], a, k == 'loader') for _ in range(a.repeats)]
        share[name] = 1 - statistics.median(alone)/statistics.median(seconds[k])
    return seconds, share

def main():
    a = options()
    x, y, real = images(max(10*a.bs, 2*a.steps*a.bs), a.data)
    with seeded(1): teacher = create_model(a.teacher, 100, img_size=a.size)
    teacher.to(a.device).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        seconds, share = measure(make_rows(x, y, a, teacher, Path(folder)), a)
    def ratio(v): return statistics.median(b/c for b, c in zip(seconds['plain'], v))
    speed = {k: a.steps*a.bs/statistics.median(v) for k, v in seconds.items()}
    times = {k: ratio(v) for k, v in seconds.items()}
    for k, v in seconds.items():
        spread = min(v)/max(v)
        print(f'{k:>18}  {speed[k]:8.1f} images/s  {times[k]:5.2f}x  spread {spread:.2f}')
    print("not the models' arithmetic:", {k: f'{v:.1%}' for k, v in share.items()})
    used = {k: v for k, v in vars(a).items() if k not in ('data', 'out', 'compile')}
    gpu = torch.cuda.get_device_name() if a.device.startswith('cuda') else None
    versions = {m.__name__: m.__version__ for m in (torch, torchvision, timm)}
    res = dict(used, gpu=gpu, cores=os.cpu_count(), load=os.getloadavg()[0], classes=100,
               machine=platform.machine(), precision=a.precision or 'fp32',
               images='CIFAR-100' if real else 'noise', images_per_second=speed, times_plain=times,
               not_the_models=share, seconds=seconds, versions=versions,
               date=time.strftime('%Y-%m-%d'))
    if a.out: write_json(a.out, res)

if __name__ == '__main__': main()
