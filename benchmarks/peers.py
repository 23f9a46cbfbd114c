"""Knowledge distillation by other packages on the same pair, images and steps: a row a run, in a CSV file

    python benchmarks/peers.py --data data --out nbs/results

The pair and the images are those of kd_defaults.py. All runs of a seed have the same initial student, the same batches
and the same AdamW with one cycle. `same`: T 4, T², weights 1 and 1, label smoothing 0.1, through the interface of each
package; `own`: what the package does without such options. `difference`: largest distance of a test logit to the plain
loop's with the same settings and seed.
"""
import argparse, csv, time
from functools import partial
from pathlib import Path
import torch, torch.nn.functional as F
from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from fasterai.distill.distillation_callback import KnowledgeDistillationCallback
from fasterai.distill.losses import SoftTarget
from timm.task import LogitDistillationTask
from torch import nn
from torchdistill.losses.mid_level import KDLoss
from kd_defaults import augment, kd_loss, read, student, train
from mldr_kd.core import seeded
from mldr_kd.distill import distill_learner
from mldr_kd.models.zoo import create_model
from mldr_kd.testing import ToySet

EPOCHS, BS, LR, WD, SMOOTHING, T = 10, 64, 2e-3, .05, .1, 4.
CE = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)

def batches(x, y, seed):
    "All batches of a run, in their order"
    g = torch.Generator().manual_seed(seed)
    rows = (o for _ in range(EPOCHS) for o in torch.randperm(len(x), generator=g).split(BS))
    return [(augment(x[i], g), y[i]) for i in rows if len(i) == BS]

def loop(model, data, loss):
    "A plain loop; `loss` is a function of images and labels"
    opt = torch.optim.AdamW(model.parameters(), LR, weight_decay=WD)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, LR, total_steps=len(data))
    model.train()
    for x, y in data:
        value = loss(x, y)
        opt.zero_grad(); value.backward(); opt.step(); schedule.step()
    return model

class Cycle(Callback):
    "The same schedule in a fastai `Learner`"
    def before_fit(self):
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.opt.opt, LR, total_steps=len(self.dls.train))
    def after_step(self): self.schedule.step()

class SkipValidation(Callback):
    def before_validate(self): raise CancelValidException()

def fastai_fit(make, data):
    "One fit of a fastai Learner over the batches"
    images = ToySet(*map(torch.cat, zip(*data)))
    dls = DataLoaders(*[DataLoader(images, bs=BS, num_workers=0)]*2, device='cpu')
    dls.n_classes = 10
    adamw = partial(OptimWrapper, opt=partial(torch.optim.AdamW, weight_decay=WD))
    learn = make(dls, opt_func=adamw, lr=LR)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, LR, cbs=[Cycle(), SkipValidation()])
    return learn

def plain(model, teacher, data, temperature=T, ce=1., weight=1.):
    value = kd_loss(teacher, temperature, ce, weight, SMOOTHING)
    return loop(model, data, lambda x, y: value(model(x), x, y))

def ours(model, teacher, data, method='kd'):
    fastai_fit(lambda dls, **kw: distill_learner(dls, model, teacher, method, label_smoothing=SMOOTHING, **kw), data)
    return model

def timms(model, teacher, data, **options):
    for m in (model.model, teacher.model):  # the images are normalised for both already
        m.pretrained_cfg = m.pretrained_cfg | dict(mean=(0,)*3, std=(1,)*3)
    task = LogitDistillationTask(model.model, teacher.model, criterion=CE, verbose=False, **options)
    task.train()
    loop(model, data, lambda x, y: task(x, y)['loss'])
    return model

def torchdistills(model, teacher, data, **options):
    value = KDLoss('net', 'output', 'net', 'output', label_smoothing=SMOOTHING, **options)
    @torch.no_grad()
    def answer(x): return dict(net=dict(output=teacher(x)))
    return loop(model, data, lambda x, y: value(dict(net=dict(output=model(x))), answer(x), y))

def fasterais(model, teacher, data, scale=1., **options):
    def soft(**kw): return scale*SoftTarget(**kw, **options)
    kd = KnowledgeDistillationCallback(teacher, soft)
    fastai_fit(lambda dls, **kw: Learner(dls, model, loss_func=lambda z, y: scale*CE(z, y), cbs=kd, **kw), data)
    return model

RUNS = {  # (package, settings) -> how it trains a student
    ('plain loop', 'no teacher'): partial(plain, temperature=0),
    ('plain loop', 'same'): plain,
    ('mldr_kd, kd', 'same'): ours,
    ('timm', 'same'): partial(timms, temperature=T),
    ('torchdistill', 'same'): partial(torchdistills, temperature=T, alpha=1., beta=1.),
    ('fasterai', 'same'): partial(fasterais, scale=2., T=T),  # its weight 0.5 halves both
    ('timm', 'own: T 1, weights 1 and 1'): timms,
    ('torchdistill', 'own: T 4, weights 0.5 and 0.5'): partial(torchdistills, temperature=T, alpha=.5),
    ('fasterai', 'own: T 5, weights 0.5 and 0.5'): fasterais,
    ('mldr_kd, mldr', 'own'): partial(ours, method='mldr')}

@torch.no_grad()
def logits(model, x): return model.eval()(x)

def trained_teacher(x, y):
    size = dict(patch_size=4, embed_dim=96, depth=4)
    with seeded(0): teacher = create_model('vit_mini', 10, img_size=32, model_args=size)
    train(teacher, x, y, kd_loss(None, 0, 1, 0, SMOOTHING), seed=0, epochs=15)
    return teacher.eval().requires_grad_(False)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default='data'); p.add_argument('--out', default='.')
    p.add_argument('--seeds', type=int, default=8)
    a = p.parse_args()
    torch.set_num_threads(1)
    (x, y), (test_x, test_y) = (read(a.data, o) for o in ('train', 'test'))
    teacher = trained_teacher(x, y)
    few = torch.cat([(y == c).nonzero()[:64, 0] for c in range(10)])
    with open(Path(a.out)/'peers.csv', 'w') as f:
        out = csv.writer(f, lineterminator='\n')
        out.writerow(['package', 'settings', 'seed', 'top1', 'difference', 'seconds'])
        for seed in range(a.seeds):
            data = batches(x[few], y[few], seed)
            for (package, settings), run in RUNS.items():
                start = time.process_time()
                z = logits(run(student(seed), teacher, data), test_x)
                seconds = time.process_time() - start
                if (package, settings) == ('plain loop', 'same'): reference = z
                away = (z - reference).abs().max().item() if settings == 'same' else ''
                top1 = round(100*(z.argmax(1) == test_y).float().mean().item(), 2)
                out.writerow([package, settings, seed, top1, away, round(seconds, 2)]); f.flush()

if __name__ == '__main__': main()
