"""The study's rows, one recipe after another: rows that are there are kept, so it may be stopped
and started again, and several processes may share the work.

    python benchmarks/study.py --path DATA --out runs --methods scratch kd mldr --seeds 3 NAME ...

It differs from `mldr_compare` in the switches alone: convolutions in the memory layout (B, H, W, C)
and, with --cache FOLDER, the teacher's logits stored once for all methods that need nothing else.
Beside the rows stands how far each student follows its teacher: fidelity.csv, with agreement of the
predicted class (percent), mean KL(teacher || student), rank correlation of the logits of the wrong
classes, and calibration error, on the test part.

    python benchmarks/study.py --out runs --keep nbs/results/study --seeds 3 NAME ...

copies what a page reads, and trains nothing: the rows of the methods that have all their seeds."""
import argparse, json
from dataclasses import replace
from pathlib import Path
import torch
from mldr_kd.files import atomic_write
from mldr_kd.methods import METHODS
from mldr_kd.run.analysis import read_predictions, student_table
from mldr_kd.run.experiment import Run, compare
from mldr_kd.run.recipes import read_recipe, read_results
from mldr_kd.run.report import agreement
from mldr_kd.run.teacher import teacher_folder

def name_of(row): return f"{row['method']}-seed{row['seed']}"

def write_fidelity(folder, rows=None, to=None):
    "fidelity.csv, of the runs that have a row"
    if not (folder/'teacher-predictions.safetensors').exists(): return
    teacher, labels = read_predictions(folder, 'teacher')
    runs = map(name_of, read_results(folder) if rows is None else rows)
    logits = {o: read_predictions(folder, o)[0] for o in runs}
    table = student_table(logits, teacher, labels)
    table['kl'] = [agreement(z, teacher)['kl'] for z in logits.values()]
    with atomic_write((to or folder)/'fidelity.csv') as f: table.round(4).to_csv(f)

def here_left_out(d, root):
    "Without the data folder of this machine, and with the teacher's file as seen from `root`"
    recipe, teacher = d.get('config', d.get('recipe')), d.get('teacher')
    if isinstance(recipe, dict): recipe['path'] = None
    file = isinstance(teacher, dict) and teacher.get('file')
    if file and Path(file).is_relative_to(root.resolve()):
        teacher['file'] = str(Path(file).relative_to(root.resolve()))
    return d

def keep(folder, to, seeds):
    "Copy rows, settings and fidelity; returns the methods"
    rows, root = read_results(folder), folder.parent
    seeds_of = {}
    for r in rows: seeds_of.setdefault(r['method'], set()).add(r['seed'])
    whole = [m for m, s in seeds_of.items() if s >= {*range(seeds)}]
    rows = [r for m in METHODS for r in sorted(rows, key=lambda r: r['seed'])
            if r['method'] == m and m in whole and r['seed'] < seeds]
    if not rows: return []
    to.mkdir(parents=True, exist_ok=True)
    config = json.loads((folder/'config.json').read_text())
    with atomic_write(to/'config.json') as f:
        f.write_text(json.dumps(here_left_out(config, root), indent=2) + '\n')
    with atomic_write(to/'results.jsonl') as f:
        f.write_text(''.join(json.dumps(here_left_out(r, root)) + '\n' for r in rows))
    write_fidelity(folder, rows, to)
    return whole

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
p.add_argument('recipes', nargs='+')
p.add_argument('--path', help='folder of the data')
p.add_argument('--out', default='runs')
p.add_argument('--methods', nargs='+', default=['scratch', 'kd', 'mldr'], choices=METHODS)
p.add_argument('--seeds', type=int, default=3)
p.add_argument('--cache', help='folder for the logits of the teacher')
p.add_argument('--keep', help='folder for the rows; trains nothing')
p.add_argument('--threads', type=int, default=1)
o = p.parse_args()
torch.set_num_threads(o.threads)
for name in o.recipes:
    if o.keep:
        whole = keep(Path(o.out)/name, Path(o.keep)/name, o.seeds)
        print(f'{name}: {", ".join(whole) or "no method with all its seeds"}')
        continue
    r = replace(read_recipe(name), path=o.path)
    switches = dict(channels_last=True) | (dict(teacher_cache=o.cache) if o.cache else {})
    run = Run(r, Path(o.out)/name, workers=0, bar=False, switches=switches, save_every=200,
              teachers=teacher_folder(r, o.out))
    run.folder.mkdir(parents=True, exist_ok=True)
    compare(run, o.methods, range(o.seeds))
    write_fidelity(run.folder)
