"""What temperature, weights, label smoothing and optimizer change in KD: a row a run, appended to two CSV files

    python benchmarks/kd_defaults.py --data data --out nbs/results

A Vision Transformer learns ten classes of CIFAR-100 (all their 5,000 training images) and teaches a small ResNet on 64
images of each. kd_defaults.csv: a plain loop in PyTorch, with the loss written out here, apart from the package.
kd_learner.csv: the same loop and `distill_learner` with T 1, without augmentation, under two optimizers.
"""
import argparse, pickle
from functools import partial
from pathlib import Path
import torch, torch.nn.functional as F
from fastai.data.core import DataLoader, DataLoaders
from fastai.optimizer import Adam, OptimWrapper
from mldr_kd.core import seeded
from mldr_kd.distill import distill_learner
from mldr_kd.models.zoo import create_model
from mldr_kd.testing import ToySet

SETTINGS = { # temperature (0: no teacher), weight of the cross-entropy, of KL with T², label smoothing
    'scratch': (0, 1, 0, .1),
    'T 1, weights 1 and 1': (1, 1, 1, .1),
    'T 1, weights 1 and 1, no smoothing': (1, 1, 1, 0.),
    'T 1, weights 0.1 and 1': (1, .1, 1, .1),
    'T 4, weights 1 and 1': (4, 1, 1, .1),
    'T 4, weights 0.1 and 1': (4, .1, 1, .1),
    'T 4, weights 0.1 and 0.9, no smoothing': (4, .1, .9, 0.)}

def read(data, part):
    "The images and labels of every tenth class"
    with open(Path(data)/'cifar-100-python'/part, 'rb') as f: d = pickle.load(f, encoding='bytes')
    y = torch.tensor(d[b'fine_labels'])
    keep = y % 10 == 3
    x = torch.tensor(d[b'data']).reshape(-1, 3, 32, 32)[keep].float()/255
    mean, std = (torch.tensor(o)[:, None, None] for o in ((.5071, .4865, .4409), (.2673, .2564, .2762)))
    return (x - mean)/std, y[keep]//10

def augment(x, g):
    "Flip half of the images, move the batch by up to 4 pixels"
    flip = torch.rand(len(x), generator=g) < .5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    i, j = torch.randint(0, 9, (2,), generator=g).tolist()
    return F.pad(x, (4,)*4)[:, :, i:i + 32, j:j + 32]

def train(model, x, y, loss, seed, epochs, bs=64, lr=2e-3, wd=.05, augment=augment):
    "A plain loop: AdamW, one cycle"
    g, n = torch.Generator().manual_seed(seed), epochs*(len(x)//bs)
    opt = torch.optim.AdamW(model.parameters(), lr, weight_decay=wd)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=n)
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(x), generator=g).split(bs):
            if len(rows) < bs: continue
            images = augment(x[rows], g)
            value = loss(model(images), images, y[rows])
            opt.zero_grad(); value.backward(); opt.step(); sched.step()

@torch.no_grad()
def top1(model, x, y): return round(100*(model.eval()(x).argmax(1) == y).float().mean().item(), 2)

def kd_loss(teacher, T, ce, weight, smoothing):
    def loss(z, images, y):
        value = ce*F.cross_entropy(z, y, label_smoothing=smoothing)
        if not T: return value
        t, s = ((o/T).log_softmax(1) for o in (teacher(images), z))
        return value + weight*T*T*F.kl_div(s, t, reduction='batchmean', log_target=True)
    return loss

def learner(teacher, x, y, seed, opt_func, bs=64, lr=2e-3):
    "The student that `distill_learner` trains on the same images, one cycle"
    train, valid = (DataLoader(ToySet(x[:n], y[:n]), bs=bs, shuffle=True, drop_last=True, num_workers=0)
                    for n in (len(x), bs))
    dls = DataLoaders(train, valid, device='cpu')
    dls.n_classes = 10
    learn = distill_learner(dls, student(seed), teacher, 'kd', method_args=dict(temperature=1.),
                            opt_func=opt_func, seed=seed)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(10, lr)
    return learn.student

def student(seed):
    with seeded(seed): return create_model('resnet_mini', 10, img_size=32)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default='data'); p.add_argument('--out', default='.')
    p.add_argument('--seeds', type=int, default=8)
    a = p.parse_args()
    torch.set_num_threads(1)
    train_set, test_set = (read(a.data, o) for o in ('train', 'test'))
    size = dict(patch_size=4, embed_dim=96, depth=4)
    with seeded(0): teacher = create_model('vit_mini', 10, img_size=32, model_args=size)
    train(teacher, *train_set, kd_loss(None, 0, 1, 0, .1), seed=0, epochs=15)
    print(f'teacher {top1(teacher, *test_set)}%')
    teacher.requires_grad_(False)
    x, y = train_set
    few = torch.cat([(y == c).nonzero()[:64, 0] for c in range(10)])
    x, y = x[few], y[few]
    def loop(setting, seed, **kw):
        model = student(seed)
        train(model, x, y, kd_loss(teacher, *setting), seed, epochs=10, **kw)
        return model
    adamw = partial(OptimWrapper, opt=partial(torch.optim.AdamW, weight_decay=.01))
    same = dict(wd=.01, augment=lambda x, g: x)
    parts = dict(kd_defaults={k: partial(loop, v) for k, v in SETTINGS.items()}, kd_learner={
        'plain loop, AdamW': partial(loop, SETTINGS['T 1, weights 1 and 1'], **same),
        'distill_learner, AdamW': partial(learner, teacher, x, y, opt_func=adamw),
        "distill_learner, fastai's Adam": partial(learner, teacher, x, y, opt_func=Adam)})
    for part, runs in parts.items():
        with open(Path(a.out)/f'{part}.csv', 'a') as f:
            if not f.tell(): f.write('setting,seed,top1\n')
            for name, run in runs.items():
                for seed in range(a.seeds):
                    f.write(f'"{name}",{seed},{top1(run(seed=seed), *test_set)}\n'); f.flush()

if __name__ == '__main__': main()
