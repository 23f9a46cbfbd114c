"""The gate's weights over trainings on scikit-learn's digits, for the figure of 31_msdf: 5
labelled images per class alone (36 epochs, 72 steps), all labels, and all labels without the terms
that compare each stage with the teacher.

    python benchmarks/gate.py --out nbs/results/gate.csv --runs runs/gate --seeds 3

One row for each epoch and stage of each run: the mean over the training images and classes, and the
lowest and highest class; top1 is the run's on the test part. Runs that ended are kept, so it may be stopped and started again."""
import argparse, re
from dataclasses import replace
from pathlib import Path
import pandas as pd, torch
from mldr_kd.run.analysis import read_gate
from mldr_kd.run.experiment import compare
from mldr_kd.run.recipes import read_recipe
from mldr_kd.run.tables import read_rows
from mldr_kd.run.teacher import Run

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
p.add_argument('--out', default='nbs/results/gate.csv')
p.add_argument('--runs', default='runs/gate', help='folder of the runs')
p.add_argument('--seeds', type=int, default=3)
p.add_argument('--threads', type=int, default=1)
o = p.parse_args()
torch.set_num_threads(o.threads)
few = replace(read_recipe('digits'), unlabelled=None, bs=25, epochs=36)
every, rows = replace(few, per_class=None), []
settings = {'5 labels per class': few, 'all labels': every,
            'all labels, no stage terms': replace(every, method_args=dict(mldr=dict(
                levels=('logit', 'fused'))))}
for setting, recipe in settings.items():
    folder = Path(o.runs)/re.sub(r'\W+', '_', setting)
    folder.mkdir(parents=True, exist_ok=True)
    compare(Run(recipe, folder, 'cpu', bar=False), ['mldr'], range(o.seeds))
    top1 = read_rows(folder).set_index('seed').top1
    for seed in range(o.seeds):
        weights = read_gate(folder, f'mldr-seed{seed}')
        rows += [dict(setting=setting, seed=seed, top1=top1[seed], epoch=epoch, stage=stage,
                      mean=w.mean(), low=w.min(), high=w.max())
                 for epoch, stages in enumerate(weights.numpy(), 1)
                 for stage, w in enumerate(stages, 1)]
pd.DataFrame(rows).to_csv(o.out, index=False, float_format='%.5f')
