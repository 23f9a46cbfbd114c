"""Sizes and speed of the models that have a short name: python benchmarks/models.py

One row a model in benchmarks/models.jsonl: parameters, MACs of one image (the count of the
package's report, with attention and selective scan), the four stages, the common image sizes that it takes, and images a second of a forward pass without gradient on one thread of a
CPU: the median of five turns after one that is not counted, in CPU time, so that other processes on
the machine hardly count.
"""
import argparse, json, platform, statistics, time
from pathlib import Path
import timm, torch
from mldr_kd.models.zoo import ALIASES, _resolve, _working_sizes, create_model
from mldr_kd.run.report import macs

FAMILIES = dict(resnet='CNN', mobilenet='CNN', convnext='CNN', deit='Transformer',
                vit='Transformer', swin='Transformer', resmlp='MLP', mixer='MLP', vim='Mamba')

def processor():
    "The processor's own name"
    info = Path('/proc/cpuinfo')
    names = [o for o in info.read_text().splitlines() if o.startswith('model name')] if info.exists() else []
    return names[0].split(':')[1].strip() if names else platform.machine()

def measure(name, size, bs):
    "The row of a model with 100 classes"
    model = create_model(name, 100, img_size=size).eval()
    x = torch.randn(bs, 3, size, size)
    with torch.no_grad():
        times = []
        for _ in range(6):
            start = time.process_time()
            model(x)
            times.append(time.process_time() - start)
    speed = bs/statistics.median(times[1:])
    return dict(name=name, family=next(v for k,v in FAMILIES.items() if name.startswith(k)),
                img_size=size, parameters=sum(p.numel() for p in model.parameters()),
                macs=macs(model, size), images_per_second=float(f'{speed:.3g}'),
                image_sizes=_working_sizes(*_resolve(name), near=size, n=99),
                stages=[[s.kind, s.channels, s.grid] for s in model.stages])

if __name__ == '__main__':
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--models', nargs='+', default=list(ALIASES))
    args.add_argument('--bs', type=int, default=8)
    args.add_argument('--out', default=str(Path(__file__).with_suffix('.jsonl')))
    a = args.parse_args()
    torch.set_num_threads(1)
    machine = dict(bs=a.bs, threads=1, turns=5, cpu=processor(),
                   torch=torch.__version__, timm=timm.__version__)
    rows = []
    for name in a.models:
        rows.append({**measure(name, 32 if name.endswith('_mini') else 224, a.bs), **machine})
        print(rows[-1], flush=True)
    Path(a.out).write_text(''.join(json.dumps(r) + '\n' for r in rows))
