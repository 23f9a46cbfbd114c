"""A whole MLDR-KD training step: resident data and cached teacher against an ordinary DataLoader loop with the loss as its formula stands. Images a second.

    python benchmarks/step.py [--threads 2] [--repeats 5] [--steps 4] [--out benchmarks/step.json]      CPU, 32 pixels, CIFAR-100
    python benchmarks/step.py --device cuda [--size 224] [--workers 4]                                 a GPU, ResNet18 from ViT-S

The rows take turns within one process; a row's figure is the median of its turns. Each row adds one ingredient to the row before it: see `ROWS`. Real pictures where shared/data has CIFAR-100, otherwise noise of the same shape
(arithmetic and timing do not depend on what is on a picture). The GPU part has not been run by its author, who had no GPU."""
import argparse, contextlib, json, os, platform, statistics, tempfile, time
from functools import partial
from pathlib import Path
import numpy as np, timm, torch, torchvision
from fastai.callback.core import Callback
from fastai.optimizer import OptimWrapper
from torch.utils.data import DataLoader, Dataset
from PIL import Image
from mldr_kd import mldr
from mldr_kd.augment import BatchAugment, Draws
from mldr_kd.cache import TeacherCache
from mldr_kd.core import seeded
from mldr_kd.data import image_dls, train_transform
from mldr_kd.dfra import DFRA, dfra, dfra_plain
from mldr_kd.distill import DistillModel, autocast, build_mldr, distill_learner
from mldr_kd.models.zoo import create_model

MEAN, STD = (.5071, .4865, .4409), (.2673, .2564, .2762)
ROWS = dict(plain=dict(),                                                  # PIL and timm picture by picture, teacher every step, the formula of METHOD.md section 2 as written, six times
            streamed=dict(loss='streamed'),                                # the loss in its closed form
            resident=dict(loss='streamed', data='resident'),               # pictures on the device, augmented as a batch
            cached=dict(loss='streamed', data='resident', teacher='cached'), # the teacher's logits replayed
            learner=dict(learner=True))                                    # the same three through distill_learner: fastai's loop, its metrics and callbacks included

def pictures(n, shared):
    "uint8 (n, 32, 32, 3) and labels: CIFAR-100 where it is, else noise"
    folder = Path(shared)/'cifar-100-python'
    if folder.exists():
        from mldr_kd.data import cifar100_parts
        train = cifar100_parts(folder, download=False).train[:n]
        names = sorted({o.label for o in train})
        return np.stack([o.image for o in train]), np.array([names.index(o.label) for o in train]), True
    rng = np.random.RandomState(0)
    return rng.randint(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.randint(0, 100, n), False

class Single(Dataset):
    "What a torchvision or timm script does with a picture"
    def __init__(self, x, y, size, augment): self.x, self.y, self.tfm = x, y, train_transform(size, augment, mean=MEAN)
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.tfm(Image.fromarray(self.x[i])), int(self.y[i])

def dfra_six(student, teacher, temperature=1., alpha=2., *_):
    "The formula as written, once for each logit tensor"
    if student.ndim == 2: return dfra_plain(student.float(), teacher.float(), temperature, alpha)
    return DFRA(*(torch.stack(o) for o in zip(*(dfra_plain(s.float(), teacher.float(), temperature, alpha) for s in student))))

class Loop:
    "One row: an endless training loop, `step` by step"
    def __init__(self, x, y, a, teacher, row, folder, workers=None):
        self.a, self.row, self.teacher, self.device, self.n, self.epoch = a, row, teacher, torch.device(a.device), 0, 0
        with seeded(0):
            student = create_model(a.student, 100, img_size=a.size)
            self.model = DistillModel(student, build_mldr(student, teacher, 100)).to(self.device).train()
        self.model.collect = True
        fast = self.device.type == 'cuda' and row.get('data') == 'resident'
        if fast: self.model.to(memory_format=torch.channels_last)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=.01, momentum=.9, nesterov=True, weight_decay=2e-3, **dict(fused=True) if fast else {})
        self.mean, self.std = (torch.tensor(o, device=self.device)[:, None, None] for o in (MEAN, STD))
        self.augment = BatchAugment(a.size, a.augment, mean=MEAN)
        if row.get('data') == 'resident': self.x, self.y = torch.tensor(x, device=self.device).permute(0, 3, 1, 2).contiguous(), torch.tensor(y, device=self.device)
        else:
            workers = a.workers if workers is None else workers
            self.loader = DataLoader(Single(x, y, a.size, a.augment), a.bs, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=self.device.type == 'cuda')
        self.cache = TeacherCache(folder, {}, len(x), 100) if row.get('teacher') == 'cached' else None
        self.batches, self.loss = self.stream(), dfra if row.get('loss') == 'streamed' else dfra_six

    def stream(self):
        while True:
            if self.row.get('data') == 'resident':
                order = torch.from_numpy(np.random.RandomState(self.epoch).permutation(len(self.x))[:len(self.x)//self.a.bs*self.a.bs])
                for at in order.split(self.a.bs):
                    draws = Draws(0, self.epoch, at)
                    yield at, self.augment.finish((self.augment(self.x[at.to(self.device)], draws)/255 - self.mean)/self.std, draws), self.y[at.to(self.device)]
            else:
                for u, y in self.loader: yield None, (u.to(self.device, non_blocking=True).float()/255 - self.mean)/self.std, y.to(self.device, non_blocking=True)
            if self.cache is None: self.epoch += 1 # a replayed stream repeats its epoch here: the first turn fills it, and only replays are timed

    @torch.no_grad()
    def ask(self, x):
        with autocast(self.device, self.a.precision): return self.teacher(x)

    def step(self):
        at, x, y = next(self.batches)
        with autocast(self.device, self.a.precision): z, features = self.model(x)
        t = self.ask(x) if self.cache is None else self.cache.answer(self.epoch, at, at, x, self.ask)
        mldr.dfra = self.loss # which of the two `MLDRLoss` calls
        loss = torch.nn.functional.cross_entropy(z.float(), y, label_smoothing=.1) + sum(self.model.method(z, features, t, None, y).values())
        self.opt.zero_grad(); loss.backward(); self.opt.step()

class LearnerRow:
    "The library's own loop: one epoch of as many steps as a turn has"
    def __init__(self, x, y, a, teacher, folder):
        from mldr_kd.data import Parts, Picture, ToImage, augment_for, build_dls, make_resident, transforms_for
        self.a = a
        items, vocab = [Picture(o, str(l)) for o, l in zip(x[:a.steps*a.bs], y)], [str(i) for i in range(100)]
        one, batch = transforms_for('cifar100', a.size, a.augment, None, (MEAN, STD))
        dls = build_dls(Parts(items, items[:2], items[:2], vocab), ToImage(a.size, None), batch[:2], a.bs, 0, 0, torch.device(a.device))
        self.dls = make_resident(dls, augment_for('cifar100', a.size, a.augment, None, (MEAN, STD)))
        self.dls.stats, self.dls.size = (MEAN, STD), a.size
        kw = dict(precision=a.precision or 'fp32', channels_last=True, compile=a.compile) if a.device == 'cuda' else {}
        with seeded(0): student = create_model(a.student, 100, img_size=a.size)
        opt = lambda p, lr: OptimWrapper(p, partial(torch.optim.SGD, momentum=.9, nesterov=True, weight_decay=2e-3, fused=a.device == 'cuda'), lr=lr)
        self.learn = distill_learner(self.dls, student, teacher, 'mldr', teacher_cache=folder, opt_func=opt, **kw)
        self.turn()

    def turn(self):
        self.dls.train.epoch = 0 # the same epoch again: filled the first time, replayed ever after
        seconds = []
        class Watch(Callback):
            order = -1000
            def before_train(self): sync(self.dls.device); self.t0 = time.perf_counter()
            def after_train(self): sync(self.dls.device); seconds.append(time.perf_counter() - self.t0)
        with self.learn.no_bar(), self.learn.no_logging(): self.learn.fit(1, 1e-2, cbs=Watch(), reset_opt=False)
        return seconds[0]

def sync(device):
    if torch.device(device).type == 'cuda': torch.cuda.synchronize()

def turn(o, a):
    "Seconds of `steps` steps"
    if isinstance(o, LearnerRow): return o.turn()
    for _ in range(o.lead): o.step() # what workers had ready from before
    sync(a.device)
    t0 = time.perf_counter()
    for _ in range(a.steps): o.step()
    sync(a.device)
    return time.perf_counter() - t0

def models_alone(loop, a, with_teacher):
    "Seconds of `steps` steps of the two models' own arithmetic: the same pictures again, no data, no distillation loss"
    _, x, y = next(loop.batches)
    def step():
        with autocast(loop.device, a.precision): z, f = loop.model(x)
        if with_teacher: loop.ask(x)
        (z.float().sum() + sum(o.float().sum() for o in f)).backward()
        loop.opt.step(); loop.opt.zero_grad()
    for _ in range(2): step()
    sync(a.device); t0 = time.perf_counter()
    for _ in range(a.steps): step()
    sync(a.device)
    return time.perf_counter() - t0

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--device', default='cpu'); p.add_argument('--threads', type=int, default=torch.get_num_threads())
    p.add_argument('--repeats', type=int, default=5, help='turns behind each median'); p.add_argument('--steps', type=int, help='steps a turn; 4 on a CPU, 30 on a GPU')
    p.add_argument('--bs', type=int, default=128); p.add_argument('--size', type=int, help='32 on a CPU, 224 on a GPU'); p.add_argument('--augment', default='conv', choices=('conv', 'tokens'))
    p.add_argument('--workers', type=int, help='of the ordinary loader; none on a CPU (and a row with one per thread), 4 on a GPU')
    p.add_argument('--teacher', help='vit_mini on a CPU, vit_small on a GPU'); p.add_argument('--student', help='resnet_mini on a CPU, resnet18 on a GPU')
    p.add_argument('--precision', choices=('bf16', 'fp16'), help='mixed precision for all rows; bf16 on a GPU'); p.add_argument('--no_compile', dest='compile', action='store_false', help='no torch.compile in the learner row on a GPU')
    p.add_argument('--data', default=str(Path(__file__).parents[1].parent/'shared'/'data')); p.add_argument('--out', help='write the result to this JSON file')
    a = p.parse_args()
    gpu = a.device.startswith('cuda')
    for k, v in dict(steps=(4, 30), size=(32, 224), workers=(0, 4), teacher=('vit_mini', 'vit_small'), student=('resnet_mini', 'resnet18'), precision=(None, 'bf16')).items():
        if getattr(a, k) is None: setattr(a, k, v[gpu])
    torch.set_num_threads(a.threads)
    x, y, real = pictures(max(10*a.bs, 2*a.steps*a.bs), a.data)
    with seeded(1): teacher = create_model(a.teacher, 100, img_size=a.size).to(a.device).eval().requires_grad_(False)
    tmp = tempfile.TemporaryDirectory()
    rows = {k: LearnerRow(x, y, a, teacher, Path(tmp.name)/k) if 'learner' in row else Loop(x, y, a, teacher, row, Path(tmp.name)/k) for k, row in ROWS.items()}
    if not gpu: rows = dict(list(rows.items())[:1], **{f'plain, {a.threads} workers': Loop(x, y, a, teacher, {}, None, workers=a.threads)}, **dict(list(rows.items())[1:]))
    for k, o in rows.items():
        if isinstance(o, Loop):
            o.lead = 2*(a.workers if not k.endswith('workers') else a.threads) if 'data' not in o.row else 0
            for _ in range(len(x)//a.bs if o.cache else 1): o.step() # warm; the cache is filled
    print(f'torch {torch.__version__}, {a.device}, {a.threads} threads, load average {os.getloadavg()[0]:.1f}, {a.student} from {a.teacher} at {a.size} px, batch {a.bs}, 100 classes, '
          f'{"CIFAR-100" if real else "noise"}, medians of {a.repeats} turns of {a.steps} steps', flush=True)
    seconds = {k: [] for k in rows}
    for r in range(a.repeats):
        for k, o in rows.items(): seconds[k].append(turn(o, a))
    per_second = {k: a.steps*a.bs/statistics.median(v) for k, v in seconds.items()}
    faster = {k: statistics.median(b/c for b, c in zip(seconds['plain'], v)) for k, v in seconds.items()}
    share = {}
    for name, key, with_teacher in (('with the teacher', 'resident', True), ('teacher replayed', 'cached', False)):
        alone = statistics.median(models_alone(rows[key], a, with_teacher) for _ in range(a.repeats))
        share[name] = 1 - alone/statistics.median(seconds[key])
    for k in rows: print(f'{k:>18}  {per_second[k]:8.1f} images/s  {faster[k]:5.2f}x  spread {min(seconds[k])/max(seconds[k]):.2f}')
    print('share of the step that is not the two models\' own arithmetic:', {k: f'{v:.1%}' for k, v in share.items()})
    res = dict(device=a.device, gpu=torch.cuda.get_device_name() if gpu else None, threads=a.threads, cores=os.cpu_count(), load=os.getloadavg()[0], machine=platform.machine(), student=a.student, teacher=a.teacher, size=a.size, bs=a.bs,
               classes=100, augment=a.augment, precision=a.precision or 'fp32', workers=a.workers, pictures='CIFAR-100' if real else 'noise', repeats=a.repeats, steps=a.steps, images_per_second=per_second, times_plain=faster,
               not_the_models=share, seconds=seconds, versions=dict(torch=torch.__version__, torchvision=torchvision.__version__, timm=timm.__version__), date=time.strftime('%Y-%m-%d'))
    if a.out: Path(a.out).write_text(json.dumps(res, indent=2) + '\n')
    tmp.cleanup()

if __name__ == '__main__': main()
