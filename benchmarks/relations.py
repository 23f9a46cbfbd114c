"""Gradients of MLDR-KD's terms over a training, and what a weight of the relations does to accuracy.

    python benchmarks/relations.py --data PATH [--seeds 3] [--out benchmarks]

PATH is the folder that holds cifar-100-python, or 'digits'. A small ResNet (resnet_mini) learns
from 150 digits and an MLP-Mixer, or from 6400 images of CIFAR-100 and a wider ResNet, whose teachers
have seen more images (1197 and 30,000), but not the held-out ones; plain SGD with a gradient clip, images shifted and
(CIFAR-100) flipped. The accuracy is that after the last epoch on the held-out part of the training
images; the test images are not read. Writes OUT/relation_runs.csv, a row a run, and
OUT/relation_norms.csv: gradient norms of the released formula and of 'balanced', every 20 steps.
"""
import argparse, math, time
from pathlib import Path
import numpy as np, pandas as pd, torch, torch.nn.functional as F
from mldr_kd import datasets
from mldr_kd.core import seeded
from mldr_kd.dfra import RelationBalance, dfra
from mldr_kd.distill import DistillModel
from mldr_kd.dist import gather
from mldr_kd.methods import build_method
from mldr_kd.mldr import MLDRTerms
from mldr_kd.models.zoo import create_model
from sklearn.datasets import load_digits

LEVELS = ['logit', 'stage 1', 'stage 2', 'stage 3', 'stage 4', 'fused']

def cifar(path, n, held):
    parts = datasets.cifar100_parts(path, download=False)
    train, vocab = parts.train, parts.vocab
    order = np.random.RandomState(0).permutation(len(train))
    x = torch.from_numpy(np.stack([train[i].image for i in order])).permute(0, 3, 1, 2).float()
    y = torch.tensor([vocab.index(train[i].label) for i in order])
    x = (x/255 - torch.tensor(datasets.DATASETS['cifar100'].stats[0])[:,None,None])/.26
    return (x[:n], y[:n]), (x[-held:], y[-held:]), (x[:30000], y[:30000])

def digits(n, held):
    d = load_digits()
    order = np.random.RandomState(0).permutation(len(d.target))
    x, y = torch.tensor(d.images[order]).float()/8 - 1, torch.tensor(d.target[order])
    x = F.interpolate(x[:,None].expand(-1, 3, -1, -1), size=16)
    return (x[:n], y[:n]), (x[-held:], y[-held:]), (x[:-held], y[:-held])

def batches(x, y, bs, flip, g):
    "Shuffled batches, each shifted by up to an eighth, and flipped"
    for b in torch.randperm(len(y), generator=g)[:len(y)//bs*bs].split(bs):
        p = x.shape[-1]//8
        i, j = torch.randint(0, 2*p + 1, (2,), generator=g).tolist()
        o = F.pad(x[b], (p,)*4)[..., i:i + x.shape[-1], j:j + x.shape[-1]]
        if flip: o = torch.where((torch.rand(len(b), generator=g) < .5)[:,None,None,None], o.flip(-1), o)
        yield o, y[b]

@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    hits = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(x.split(250), y.split(250)))
    model.train()
    return 100*hits/len(y)

def one_cycle(step, steps, lr): return lr*min((step + 1)/(.1*steps), .5 + .5*math.cos(math.pi*step/steps))

def train_teacher(name, args, x, y, C, epochs, flip):
    with seeded(0): model = create_model(name, C, x.shape[-1], model_args=args)
    g, opt, step = torch.Generator().manual_seed(0), torch.optim.AdamW(model.parameters(), 1e-3), 0
    for _ in range(epochs):
        for a, b in batches(x, y, 128, flip, g):
            for group in opt.param_groups: group['lr'] = one_cycle(step, epochs*(len(y)//128), 2e-3)
            opt.zero_grad()
            F.cross_entropy(model(a), b, label_smoothing=.1).backward(); opt.step(); step += 1
    return model.eval().requires_grad_(False)

class Variant(MLDRTerms):
    "MLDR-KD with relations of standardised logits, or with sqrt(B) in the sample relation"
    def __init__(self, *args, standardize=False, root_b=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.standardize, self.root_b = standardize, root_b

    def _dfra(self, logits, teacher_logits):
        z, w = torch.stack([*logits, teacher_logits]).float(), self.relation_weight
        both = dfra(z[:-1], z[-1], relation_weight=w)
        if self.standardize:
            s = (z - z.mean(-1, keepdim=True))/z.std(-1, keepdim=True)
            own = dfra(s[:-1], s[-1], relation_weight=w)
            return own.total + 2*(both.probability - own.probability)
        if self.root_b: # logits times k: products divided by sqrt(B) in the place of sqrt(C)
            k = (z.shape[2]/z.shape[1])**.25
            sample = dfra(k*z[:-1], k*z[-1], terms=('sample_relation',)).sample_relation
            return both.class_relation + sample + 2*both.probability
        return both.total

class Keep:
    "Hands on the weights, and keeps the norms every 20 steps"
    def __init__(self, weight): self.weight, self.rows, self.step = weight, [], 0
    def __call__(self, norms):
        w = self.weight(norms) if callable(self.weight) else (self.weight,)*2
        if self.step % 20 == 0: self.rows.append((self.step, norms.clone(), torch.stack(
            [torch.as_tensor(o, dtype=torch.float32).expand(norms.shape[1]) for o in w])))
        self.step += 1
        return w

VARIANTS = dict(
    scratch=None, kd={}, mldr_0=dict(relation_weight=0.), mldr={},
    mldr_10=dict(relation_weight=10.),
    balanced=dict(relation_weight='balanced'),
    balanced_2=dict(relation_weight='balanced', relation_share=2.),
    standardized=dict(relation_weight='balanced', standardize=True), root_b=dict(root_b=True))

def student(name, teacher, data, held, C, seed, epochs, bs, flip, lr=.05, clip=5.):
    "Train one student; its accuracy, and the norms that were kept"
    (x, y), options = data, VARIANTS[name]
    with seeded(seed):
        model = create_model('resnet_mini', C, x.shape[-1])
        dim = max(model.feature_dim, teacher.feature_dim)
        loss = None if options is None else build_method('kd', model, teacher, C) if name == 'kd' \
            else Variant(model.stages, C, dim, **options)
    keep = Keep(getattr(loss, 'relation_weight', 1.))
    if isinstance(loss, Variant):
        if callable(loss.relation_weight): loss.balance = loss.relation_weight # its mode is train
        del loss.relation_weight
        loss.relation_weight = keep
    net = DistillModel(model, loss, None, isinstance(loss, Variant)).train()
    opt = torch.optim.SGD(net.parameters(), lr, .9, weight_decay=5e-4, nesterov=True)
    g, step, start = torch.Generator().manual_seed(seed), 0, time.perf_counter()
    for _ in range(epochs):
        for a, b in batches(x, y, bs, flip, g):
            for group in opt.param_groups: group['lr'] = one_cycle(step, epochs*(len(y)//bs), lr)
            if loss is None: z, terms = net(a), {}
            else:
                with torch.no_grad(): t = teacher(a)
                z, terms = net(a, b, (t, None))
            total = F.cross_entropy(z, b, label_smoothing=.1) + sum(terms.values())
            opt.zero_grad(); total.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
            opt.step(); step += 1
    return dict(accuracy=round(accuracy(model, *held), 2), loss=round(total.item(), 3),
                seconds=round(time.perf_counter() - start, 1)), keep.rows

def norm_rows(data, name, kept):
    return [dict(data=data, variant=name, step=s, level=LEVELS[i], term=term, norm=f'{n[j,i]:.4g}',
                 weight=f'{w[j,i]:.4g}' if j < 2 else 1)
            for s, n, w in kept for j, term in enumerate(('class', 'sample', 'probability'))
            for i in range(n.shape[1])]

if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--data', default='digits')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--variants', nargs='+', default=[*VARIANTS])
    p.add_argument('--out', default='benchmarks')
    a = p.parse_args()
    torch.set_num_threads(1)
    if a.data == 'digits':
        name, C, flip, bs, epochs = 'digits', 10, False, 25, 36
        data, held, whole = digits(150, 600)
        teacher = train_teacher('mixer_mini', dict(embed_dim=64, num_blocks=4), *whole, C, 40, flip)
    else:
        name, C, flip, bs, epochs = 'cifar100', 100, True, 64, 4
        data, held, whole = cifar(a.data, 6400, 2000)
        teacher = train_teacher('resnet18', dict(layers=[1]*4, channels=[32, 64, 128, 256],
            stem_type='deep', stem_width=16), *whole, C, 8, flip)
    taught_by = round(accuracy(teacher, *held), 2)
    teacher.eval()
    print(f'teacher: {taught_by}%', flush=True)
    runs, norms = Path(a.out)/'relation_runs.csv', Path(a.out)/'relation_norms.csv'
    def add(path, rows):
        pd.DataFrame(rows).to_csv(path, mode='a', index=False, header=not path.exists())
    for seed in range(a.seeds):
        for v in a.variants:
            row, kept = student(v, teacher, data, held, C, seed, epochs, bs, flip)
            add(runs, [dict(data=name, teacher=taught_by, variant=v, seed=seed, **row)])
            print(name, v, seed, row, flush=True)
            if kept and not seed and v in ('mldr', 'balanced'): add(norms, norm_rows(name, v, kept))
