"""Does a plain command train, whatever the pair, the data and the batch size?

    python benchmarks/stability.py [--steps 200] [--size 16] [--only digits resnet_mini ...]

Ten pairs over all families, three data sets (scikit-learn's digits, and toy images of 4 and of 100
classes), three batch sizes, MLDR-KD with the options that a command has by default but for the
number of epochs: it makes a run of some 200 steps, so the warm-up is as short as it can be. The
teachers are confident: their logits are scaled until the right class is 12 above the others.
Images of 16 pixels and narrow token models keep a step short (the first digits rows, of size 32,
have the mini models as they are). One row a run, written as it ends; rows that are there are not
made again. --published leaves the gradient unclipped, as the published protocol does.
"""
import argparse, math, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, torch, torch.nn.functional as F
from fastai.callback.core import Callback
from PIL import Image
from mldr_kd.cli import _recipe_for
from mldr_kd.core import InputError, seeded
from mldr_kd.data import image_dls
from mldr_kd.models.zoo import create_model
from mldr_kd.run.experiment import run_one
from mldr_kd.run.recipes import variant
from mldr_kd.run.teacher import Run
from mldr_kd.testing import toy_images
from mldr_kd.train.export import export_student

SMALL = dict(vim_tiny=dict(patch_size=4, embed_dim=48, depth=4),
             vit_mini=dict(embed_dim=64, depth=4, num_heads=2),
             mixer_mini=dict(embed_dim=64, num_blocks=4))
PAIRS = [('vit_mini', 'resnet_mini'), ('vit_mini', 'mobilenetv2_100'), ('vit_mini', 'vim_tiny'),
         ('mixer_mini', 'resnet_mini'), ('mixer_mini', 'mobilenetv3_small_050'),
         ('vim_tiny', 'resnet_mini'), ('vim_tiny', 'vit_mini'), ('resnet_mini', 'vit_mini'),
         ('resnet_mini', 'mixer_mini'), ('resnet_mini', 'mobilenetv2_100')]
DATA, SIZES = dict(digits=10, toy_4=4, toy_100=100), (16, 64, 128)

def args_of(name): return SMALL.get(name, {})

def folder(data, where, size):
    "Toy images as files in folders of classes; None for the digits"
    C, path = DATA[data], where/data
    if data == 'digits': return None
    for i, (x, y) in enumerate(zip(*toy_images(max(400, 16*C), size, C))):
        (path/f'{y:03}').mkdir(parents=True, exist_ok=True)
        Image.fromarray((x.permute(1, 2, 0)*255).byte().numpy()).save(path/f'{y:03}'/f'{i:05}.png')
    return str(path)

def plain(batch): return [o.as_subclass(torch.Tensor) for o in batch]

def options(data, path, size):
    return dict(dataset='digits' if path is None else 'folder', size=size) | (
        dict(per_class=None) if path is None else dict(path=path))

def teacher(name, data, path, where, size, steps=150, margin=12.):
    "A file with the weights of a confident teacher"
    file = where/f'{name}-{data}.safetensors'
    if file.exists(): return str(file)
    dls = image_dls(options(data, path, size)['dataset'], path, size=size, bs=64, augment='none',
                    device='cpu')
    with seeded(0): model = create_model(name, dls.n_classes, size, model_args=args_of(name))
    opt, done = torch.optim.AdamW(model.parameters(), 1e-3), 0
    while done < steps:
        for x, y in map(plain, dls.train):
            opt.zero_grad(); F.cross_entropy(model(x), y).backward(); opt.step()
            done += 1
    with torch.no_grad():
        x, y = plain(dls.train.one_batch())
        z = model.eval()(x)
        right = z.gather(1, y[:,None])[:,0]
        others = z.masked_fill(F.one_hot(y, z.shape[1]).bool(), -math.inf).amax(1)
        for p in model.model.get_classifier().parameters():
            p *= margin/(right - others).median().clamp(min=.1)
    export_student(model, dls, file)
    return str(file)

class Watch(Callback):
    "The loss of every step"
    order = 90
    def before_fit(self): self.losses = []
    def after_batch(self):
        if self.training: self.losses.append(self.loss.detach())

def one(pair, data, bs, path, where, size, steps, **more):
    "One run by the defaults of a command"
    (t, s), watch = pair, Watch()
    given = options(data, path, size) | dict(
        teacher=t, student=s, bs=bs, teacher_args=args_of(t), student_args=args_of(s),
        teacher_checkpoint=teacher(t, data, path, where, size), **more)
    r = _recipe_for(given)
    with tempfile.TemporaryDirectory() as out:
        run = Run(r, Path(out), 'cpu', log=lambda text: None, bar=False, cbs=(watch,))
        n = len(run.dls.train)
        run.recipe = variant(r, epochs=math.ceil(steps/n))
        start, row = time.perf_counter(), {}
        try: row = run_one(run, 'mldr', 0)
        except InputError as e: print(e)
    losses = torch.stack(watch.losses).double()
    first, last, largest = losses[:5].mean(), losses[-20:].mean(), losses.max()
    return dict(data=data, size=size, teacher=t, student=s, bs=bs, steps=len(losses), first=first.item(),
                largest=largest.item(), last=last.item(), held_out=row.get('valid_top1'),
                seconds=round(time.perf_counter() - start, 1),
                trains=bool(row) and bool(last < first) and bool(largest < 3*first))

if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--steps', type=int, default=200)
    p.add_argument('--size', type=int, default=16)
    p.add_argument('--only', nargs='+', default=(), help='data sets, models or batch sizes')
    p.add_argument('--out', default='benchmarks/stability.csv')
    p.add_argument('--published', action='store_true', help="the published protocol: no clipping")
    a = p.parse_args()
    torch.set_num_threads(1)
    rows = pd.read_csv(a.out).to_dict('records') if Path(a.out).exists() else []
    done = {(r['data'], r['teacher'], r['student'], str(r['bs'])) for r in rows}
    more = dict(clip=None) if a.published else {}
    with tempfile.TemporaryDirectory() as where:
        where = Path(where)
        paths = {data: folder(data, where, a.size) for data in DATA}
        for bs, data, pair in [(b, d, o) for b in SIZES for d in DATA for o in PAIRS]:
            key = data, *pair, str(bs)
            if key in done or not {*a.only} <= {*key}: continue
            rows.append(one(pair, data, bs, paths[data], where, a.size, a.steps, **more))
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()},
                  flush=True)
            pd.DataFrame(rows).round(4).to_csv(a.out, index=False)
