"""What every method adds to a training step: python benchmarks/methods.py

One row a method in benchmarks/methods.csv: seconds of a step (forward, loss, backward) beyond that
of the same student from scratch, without the teacher's own forward pass, which is given apart; the
parameters and the memory of its own; and what a step keeps for the backward pass beyond scratch. On
one thread of a CPU, in CPU time, the median of the turns; the methods take turns. CAB needs a Vision
Mamba as student and is compared with that student from scratch.
"""
import argparse, statistics, time
from pathlib import Path
import pandas as pd, torch
from mldr_kd.core import seeded
from mldr_kd.distill import DistillModel, TaskLoss
from mldr_kd.methods import METHODS, build_method
from mldr_kd.models.stages import read_model
from mldr_kd.models.zoo import create_model

VIM = dict(patch_size=8, embed_dim=48, depth=4)

class Step:
    "A training step of one method"
    def __init__(self, name, a):
        self.row, self.name = METHODS[name], name
        self.student_name = 'vim_tiny' if name == 'cab' or a.vim else 'resnet_mini'
        args = VIM if self.student_name == 'vim_tiny' else {}
        with seeded(0):
            student = create_model(self.student_name, a.classes, img_size=32, model_args=args)
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

def rows(a, names):
    "Figures of some methods of one student, beside scratch"
    steps = {o: Step(o, a) for o in ['scratch', *names]}
    for s in steps.values(): s.ask(); s()
    times = {o: [] for o in steps}
    teacher = []
    for _ in range(a.turns):
        for o, s in steps.items(): times[o].append(seconds(s))
        teacher.append(seconds(steps['scratch'].ask))
    scratch, kept = statistics.median(times['scratch']), steps['scratch'].kept()
    for o, s in steps.items():
        own = [] if not isinstance(s.method, torch.nn.Module) else [*s.method.parameters()]
        held = [] if not isinstance(s.method, torch.nn.Module) else [*s.method.buffers()]
        more = statistics.median(t - u for t, u in zip(times[o], times['scratch']))
        yield dict(method=o, student=s.student_name, step_ms=round(1e3*(scratch + more), 2),
                   scratch_ms=round(1e3*scratch, 2), teacher_ms=round(1e3*statistics.median(teacher), 2),
                   parameters=sum(p.numel() for p in own), memory_mib=round(
                   sum(b.numel()*b.element_size() for b in held)/2**20, 2),
                   kept_mib=round(s.kept() - kept, 2), bs=a.bs, classes=a.classes, images=a.n,
                   turns=a.turns, threads=1, torch=torch.__version__)

if __name__ == '__main__':
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--bs', type=int, default=128)
    args.add_argument('--classes', type=int, default=100)
    args.add_argument('--n', type=int, default=50000, help='training images')
    args.add_argument('--turns', type=int, default=9)
    args.add_argument('--out', default=str(Path(__file__).with_suffix('.csv')))
    a = args.parse_args()
    torch.set_num_threads(1)
    a.vim = False
    found = [*rows(a, [o for o in METHODS if o not in ('scratch', 'cab')])]
    a.vim = True
    found += [o for o in rows(a, ['cab']) if o['method'] == 'cab']
    pd.DataFrame(found).to_csv(a.out, index=False)
    print(pd.DataFrame(found).iloc[:, :8].to_string())
