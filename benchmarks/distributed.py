"""Images a second of MLDR-KD training on one process and on two, images read from JPEG files, one thread a process.

    python benchmarks/distributed.py [--repeats 5] [--images 1024] [--out benchmarks/distributed.json]

Each turn starts `torchrun` anew with one process, then with two; a turn's figure is the median epoch after a
warm-up epoch. Batch, models and images are the same for both: two processes share each batch. Needs two cores."""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time
from pathlib import Path


def make_images(folder, n, side):
    "A folder of JPEG files in four classes, `n` for training and a few for validation and test"
    import numpy as np
    from PIL import Image
    from mldr_kd.testing import toy_images
    for part, m, seed in (('train', n, 0), ('valid', 32, 1), ('test', 32, 2)):
        x, y = toy_images(m, side, 4, seed)
        for i, (image, label) in enumerate(zip(x, y)):
            path = Path(folder)/part/f'class{int(label)}'/f'{i}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(image.permute(1, 2, 0).numpy()*255)).save(path, quality=90)


def train(a):
    "In each process: train, and print the seconds of every epoch after the first"
    import torch
    from fastai.callback.core import Callback
    from mldr_kd.core import seeded
    from mldr_kd.data import image_dls
    from mldr_kd.dist import join, rank
    from mldr_kd.distill import distill_learner
    from mldr_kd.models.zoo import create_model
    torch.set_num_threads(1)

    class Seconds(Callback):
        order, times = 1000, []
        def before_train(self): self.start = time.perf_counter()
        def after_train(self): self.times.append(time.perf_counter() - self.start)

    with join('cpu'):
        dls = image_dls('folder', a.path, size=a.size, bs=a.bs, num_workers=0, verify=False, device='cpu')
        with seeded(0): teacher = create_model(a.teacher, dls.n_classes, img_size=a.size)
        learn, seconds = distill_learner(dls, a.student, teacher, a.method), Seconds()
        with learn.no_bar(), learn.no_logging(), learn.distrib_ctx(): learn.fit(a.epochs, 1e-3, cbs=seconds)
        images = len(dls.train)*a.bs
        if not rank(): print('RESULT', json.dumps([images/s for s in seconds.times[1:]]))


def turn(a, n):
    "Images a second with `n` processes"
    args = [f'--{k}={getattr(a, k)}' for k in ('path', 'size', 'bs', 'epochs', 'teacher', 'student', 'method')]
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={n}', __file__, '--child', *args]
    out = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    line = next((o for o in out.stdout.splitlines() if o.startswith('RESULT ')), None)
    if line is None: sys.exit(f'{n} processes failed:\n{out.stdout[-2000:]}\n{out.stderr[-4000:]}')
    return statistics.median(json.loads(line.removeprefix('RESULT ')))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=5); p.add_argument('--images', type=int, default=1024)
    p.add_argument('--side', type=int, default=256, help='of the JPEG files, pixels')
    p.add_argument('--size', type=int, default=64, help='of the images that the models see, pixels')
    p.add_argument('--bs', type=int, default=128, help='batch over all processes')
    p.add_argument('--epochs', type=int, default=4); p.add_argument('--teacher', default='vit_mini')
    p.add_argument('--student', default='resnet_mini'); p.add_argument('--method', default='mldr')
    p.add_argument('--path'); p.add_argument('--child', action='store_true'); p.add_argument('--out')
    a = p.parse_args()
    if a.child: return train(a)
    import torch
    with tempfile.TemporaryDirectory() as folder:
        a.path = a.path or folder
        if a.path == folder: make_images(folder, a.images, a.side)
        rates = [(turn(a, 1), turn(a, 2)) for _ in range(a.repeats)]
    ratios = [two/one for one, two in rates]
    res = dict(one=statistics.median(o for o, _ in rates), two=statistics.median(o for _, o in rates),
               ratio=statistics.median(ratios), ratios=ratios, rates=rates, cores=os.cpu_count(), threads=1,
               load=os.getloadavg()[0], machine=platform.machine(), torch=torch.__version__, date=time.strftime('%Y-%m-%d'),
               **{k: getattr(a, k) for k in ('images', 'side', 'size', 'bs', 'epochs', 'teacher', 'student', 'method')})
    print(f"one process {res['one']:.0f} images/s, two {res['two']:.0f}, ratio {res['ratio']:.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f}), {a.repeats} turns, 1 thread each, batch {a.bs}, {a.size} px")
    if a.out: Path(a.out).write_text(json.dumps(res, indent=2) + '\n')


if __name__ == '__main__': main()
