"""What every method adds to a training step: python benchmarks/methods.py

One row a method in benchmarks/methods.csv: milliseconds of a step (forward, loss, backward) without
the teacher's own forward pass, which is given apart, beside the same student from scratch; the
method's own parameters and buffers; and what a forward pass keeps for the backward pass. On one
thread of a CPU, in CPU time: the methods take turns, and a method's figure is the median over the
turns of its difference to scratch in the same turn. CAB needs a Vision Mamba as student and is
compared with that student from scratch.
"""
import argparse, statistics, time
from pathlib import Path
import pandas as pd, torch
from mldr_kd.core import seeded
from mldr_kd.distill import DistillModel, TaskLoss
from mldr_kd.methods import METHODS, build_method
from mldr_kd.models.stages import read_model
from mldr_kd.models.zoo import create_model

STUDENTS = dict(resnet_mini={}, vim_tiny=dict(patch_size=8, embed_dim=48, depth=4))

class Step:
    "A training step of one method"
    def __init__(self, name, student_name, a):
        self.row = METHODS[name]
        with seeded(0):
            student = create_model(student_name, a.classes, img_size=32, model_args=STUDENTS[student_name])
            self.teacher = create_model('vit_mini', a.classes, img_size=32).eval()
            targets = torch.randint(a.classes, (a.n,)) if self.row.index else None
            method = build_method(name, student, self.teacher, a.classes, targets=targets)
            self.x, self.y = torch.randn(a.bs, 3, 32, 32), torch.randint(a.classes, (a.bs,))
            self.index = torch.randperm(a.n)[:a.bs] if self.row.index else None
        self.model = DistillModel(student, method, student_stages=self.row.student_stages).train()
        self.method, self.loss, self.answer = method, TaskLoss(.1), None

    def ask(self):
        with torch.no_grad(): self.answer = read_model(self.teacher, self.x, self.row.teacher_stages)

    def __call__(self):
        self.model.zero_grad()
        if self.method is None: loss = self.loss(self.model(self.x), self.y)
        else:
            logits, terms = self.model(self.x, self.y, self.answer, self.index)
            loss = self.loss(logits, self.y)*self.method.ce_weight + sum(terms.values())
        loss.backward()

    def kept(self):
        "MiB that a forward pass keeps for the backward pass, each storage once"
        seen = {}
        def pack(t): seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes(); return t
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t): self()
        return sum(seen.values())/2**20

def seconds(f):
    start = time.process_time()
    f()
    return time.process_time() - start

def rows(a, names, student):
    "Figures of some methods of one student, beside scratch"
    steps = {o: Step(o, student, a) for o in ['scratch', *names]}
    for s in steps.values(): s.ask(); s()
    times = {o: [] for o in steps}
    teacher = []
    for _ in range(a.turns):
        for o, s in steps.items(): times[o].append(seconds(s))
        teacher.append(seconds(steps['scratch'].ask))
    scratch, kept = statistics.median(times['scratch']), steps['scratch'].kept()
    for o, s in steps.items():
        module = s.method if isinstance(s.method, torch.nn.Module) else torch.nn.Module()
        more = statistics.median(t - u for t, u in zip(times[o], times['scratch']))
        buffers = sum(b.numel()*b.element_size() for b in module.buffers())
        yield dict(method=o, student=student, step_ms=round(1e3*(scratch + more), 2),
                   scratch_ms=round(1e3*scratch, 2), teacher_ms=round(1e3*statistics.median(teacher), 2),
                   parameters=sum(p.numel() for p in module.parameters()),
                   buffers_mib=round(buffers/2**20, 2), kept_mib=round(s.kept(), 2),
                   scratch_kept_mib=round(kept, 2), bs=a.bs, classes=a.classes, images=a.n,
                   turns=a.turns, threads=1, torch=torch.__version__)

if __name__ == '__main__':
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--bs', type=int, default=128)
    args.add_argument('--classes', type=int, default=100)
    args.add_argument('--n', type=int, default=50000, help='training images')
    args.add_argument('--turns', type=int, default=15)
    args.add_argument('--out', default=str(Path(__file__).with_suffix('.csv')))
    a = args.parse_args()
    torch.set_num_threads(1)
    found = [*rows(a, [o for o in METHODS if o not in ('scratch', 'cab')], 'resnet_mini')]
    found += [o for o in rows(a, ['cab'], 'vim_tiny') if o['method'] == 'cab']
    pd.DataFrame(found).to_csv(a.out, index=False)
    print(pd.DataFrame(found).iloc[:, :9].to_string())
