"""Checks and figures of one GPU, the most important first; every row is written as it comes.

    python benchmarks/gpu.py --minutes 8 --out benchmarks/gpu.jsonl
    python benchmarks/gpu.py --device cpu --quick       # the script itself, at toy sizes

It needs what the package needs; the images are synthetic, and mamba-ssm is used where it is
installed. A part that the minutes do not reach is left out, and a part that fails writes its error
and the next one begins. nbs/92_benchmark_gpu.ipynb shows the rows."""
import argparse, contextlib, json, linecache, os, platform, re, signal, statistics, subprocess, sys, tempfile
import time, traceback, warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
import numpy as np, torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoader, DataLoaders
from fastai.optimizer import OptimWrapper
from torch.nn.functional import cross_entropy
from mldr_kd import datasets
from mldr_kd.augment import PROTOCOLS, Augment, Draws
from mldr_kd.core import seeded
from mldr_kd.data import image_dls
from mldr_kd.dfra import dfra, dfra_plain
from mldr_kd.distill import distill_learner
from mldr_kd.files import versions, weights_digest
from mldr_kd.methods import METHODS
from mldr_kd.models import ssm
from mldr_kd.models.zoo import create_model
from mldr_kd.testing import toy_dls, toy_pair
from mldr_kd.train.precision import autocast
from mldr_kd.train.resume import Resume

# ---- tools

def sync(device):
    if torch.device(device).type == 'cuda': torch.cuda.synchronize(device)

def milliseconds(f, device, repeats=7, calls=5):
    "Median over `repeats` of the mean time of `calls` calls; the first round warms up"
    times = []
    for _ in range(repeats + 1):
        sync(device)
        start = time.perf_counter()
        for _ in range(calls): f()
        sync(device)
        times.append((time.perf_counter() - start)/calls*1e3)
    return statistics.median(times[1:])

def peak_mib(f, device):
    "MiB that a call takes beyond what is there before it"
    if torch.device(device).type != 'cuda': return None
    f(); sync(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    f(); sync(device)
    return round((torch.cuda.max_memory_allocated(device) - before)/2**20, 1)

def error(a, b):
    "Largest difference, relative to the largest value of `b`"
    a, b = (o.detach().double().cpu() for o in (a, b))
    return ((a - b).abs().max()/b.abs().max().clamp_min(1e-12)).item()

def sgd(params, lr, device):
    return torch.optim.SGD(params, lr, momentum=.9, nesterov=True, weight_decay=5e-4,
                           fused=torch.device(device).type == 'cuda')

class Stopwatch(Callback):
    "Seconds of the training part of every epoch"
    order = -2000
    def __init__(self): self.seconds = []
    def before_train(self): sync(self.dls.device); self.start = time.perf_counter()
    def after_train(self):
        sync(self.dls.device)
        self.seconds.append(time.perf_counter() - self.start)

class Repeated(DataLoader):
    "One batch, `steps` times: what is measured is the step, not the loader"
    def __init__(self, x, y, steps):
        self.batch, self.steps = (x, y), steps
        super().__init__(range(len(x)*steps), bs=len(x), num_workers=0, drop_last=True)
    def __iter__(self): return iter([self.batch]*self.steps)
    def __len__(self): return self.steps

def repeated_dls(size, n_classes, bs, steps, device):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(bs, 3, size, size, generator=g).to(device)
    y = torch.randint(n_classes, (bs,), generator=g).to(device)
    dls = DataLoaders(Repeated(x, y, steps), Repeated(x, y, 1), device=torch.device(device))
    dls.n_classes = dls.c = n_classes
    dls.size, dls.stats, dls.vocab = size, ((0.,)*3, (1.,)*3), [*range(n_classes)]
    return dls

# ---- checks

def check_dfra(a):
    "Value and gradient of every exact backend in float32 against the formula in float64"
    worst = {}
    for L, B, C in [(1,1,10), (6,32,100), (2,130,5), (3,8,1000)]:
        for scale in (.3, 3., 1e3):
            g = torch.Generator().manual_seed(0)
            S, t = (torch.randn(*o, generator=g)*scale for o in ((L, B, C), (B, C)))
            S64 = S.double().requires_grad_()
            want = dfra_plain(S64, t.double()).total
            want.sum().backward()
            for backend in a.backends:
                leaf = S.detach().clone().to(a.device).requires_grad_()
                got = dfra(leaf, t.to(a.device), backend=backend).total
                got.sum().backward()
                e = max(error(got, want), error(leaf.grad, S64.grad))
                worst[backend] = max(worst.get(backend, 0.), e)
    for backend, e in worst.items(): yield dict(backend=backend, worst_error=e, ok=e < 2e-5)

def scan_args(a, b, d, n, L):
    g = torch.Generator().manual_seed(0)
    r = lambda *s: torch.randn(*s, generator=g)
    args = dict(u=r(b, d, L), delta=r(b, d, L)*.5 - 1, A=-r(d, n).exp(), B=r(b, n, L), C=r(b, n, L),
                D=r(d), z=r(b, d, L), delta_bias=r(d)*.1)
    return {k: v.to(a.device) for k, v in args.items()}

def check_scan(a):
    "Each scan in float32, output and gradients, against the loop in float64"
    def run(f, args):
        leaves = [v.detach().requires_grad_() for v in args.values()]
        y = f(**dict(zip(args, leaves)), delta_softplus=True)
        return y, *torch.autograd.grad(y.sum(), leaves)
    args = scan_args(a, 4, 64, 16, 197)
    want = run(ssm.selective_scan_loop, {k: v.double() for k, v in args.items()})
    ours = {'streamed': ssm._streamed_scan}
    if ssm._scan_backend(*args.values()) == 'mamba-ssm': ours['mamba-ssm'] = ssm._kernel_scan
    for name, f in ours.items():
        e = max(map(error, run(f, args), want))
        yield dict(backend=name, worst_error=e, ok=e < 1e-4)

def check_augmentation(a):
    "The whole-batch steps on this device against a CPU"
    x = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    for name in ('tokens', 'gentle'):
        aug, draws = Augment(32, **PROTOCOLS[name]), Draws(9, 0, [*range(64)])
        def steps(x): return aug.after_normalize(aug.after_collate(x, draws)/255, draws).cpu()
        e = (steps(x) - steps(x.to(a.device))).abs().max().item()
        yield dict(protocol=name, largest=e, ok=e < 1e-3)

class _Watch(Callback):
    "Report everything for which the CPU waits within the steps 3 to 5"
    order = -3000
    def __init__(self): self.sites, self.stack = {}, contextlib.ExitStack()
    def before_batch(self):
        if not self.training or not 2 <= self.iter < 5: return
        self.seen = self.stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        self.on = True
    def close(self):
        if not getattr(self, 'on', False): return
        torch.cuda.set_sync_debug_mode('default')
        self.stack.close()
        self.on = False
        for w in self.seen:
            if 'synchroniz' not in str(w.message): continue
            site = f'{"/".join(Path(w.filename).parts[-2:])}:{w.lineno}'
            self.sites[site] = self.sites.get(site, 0) + 1

class _Close(Callback):
    order = 20_000
    def __init__(self, watch): self.watch = watch
    def after_batch(self): self.watch.close()
    def after_fit(self): self.watch.close()

def check_waiting(a):
    "Where a step waits for the GPU: every method, and the teacher cache"
    if not a.gpu: return
    data = image_dls('digits', size=32, bs=32, device=a.device, seed=0)
    teachers = {o: create_model(o, 10, img_size=32) for o in ('resnet_mini', 'vit_mini')}
    for method in [*METHODS, 'mldr with teacher cache']:
        name, *cached = method.split(' ', 1)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter('ignore')
            student, of = ('vim_tiny', 'vit_mini') if name == 'cab' else ('resnet_mini',)*2
            size = dict(patch_size=8, embed_dim=32, depth=4) if name == 'cab' else {}
            student = create_model(student, 10, img_size=32, model_args=size)
            learn = distill_learner(data, student, None if name == 'scratch' else teachers[of],
                                    name, teacher_cache=folder if cached else None)
            watch = _Watch()
            with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=[watch, _Close(watch)])
        yield dict(method=method, waits=sum(watch.sites.values()), sites=watch.sites,
                   ok=not watch.sites)

class _Kill(Callback):
    def __init__(self, at): self.at, self.n = at, 0
    def after_batch(self):
        self.n += self.training
        if self.n == self.at: os.kill(os.getpid(), signal.SIGKILL)

def child(a):
    "Train a toy pair, resume what is in the folder; die at a step, or print the weights' digest"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    student, teacher = toy_pair()
    dls = toy_dls(n=128, size=16, bs=16)
    learn = distill_learner(dls, student, teacher, device=a.device, path=a.child)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 1e-2, cbs=_Kill(a.kill_at), resume=Resume(every=3, log=lambda o: None))
    print('DIGEST', weights_digest(learn.model))

def check_resume(a):
    "A run that is killed (SIGKILL) at a step and resumed, against one that is not"
    def run(folder, kill_at=0):
        out = subprocess.run([sys.executable, __file__, '--device', a.device, '--child', folder,
                              '--kill-at', str(kill_at)], capture_output=True, text=True)
        found = re.search(r'DIGEST (\w+)', out.stdout)
        return found[1] if found else out.returncode, out.stderr[-400:]
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as killed:
        want, _ = run(whole)
        died, _ = run(killed, 11)
        got, trace = run(killed)
    ok = died == -signal.SIGKILL and got == want
    yield dict(killed_at_step=11, exit_code=died, whole=want, resumed=got, ok=ok,
               **({} if ok else dict(error=trace)))

def check_notebooks(a):
    "The cells flagged `cuda` of every notebook, after the cells before them; needs a checkout"
    folder = Path(__file__).parent.parent/'nbs'
    if not a.gpu or not folder.exists(): return
    def run(path):
        out = subprocess.run([sys.executable, __file__, '--notebook', str(path)],
                             capture_output=True, text=True, timeout=240)
        lines = [o for o in (out.stdout + out.stderr).splitlines() if o.strip()]
        return dict(notebook=path.stem, ok=out.returncode == 0, output=lines[-6:])
    paths = [o for o in sorted(folder.glob('*.ipynb')) if '#| cuda' in o.read_text()]
    with ThreadPoolExecutor(8) as ex: yield from ex.map(run, paths)

def notebook(path):
    "Run the code cells up to the last cuda cell; what cuda cells print is shown"
    cells = [''.join(c['source']) for c in json.loads(Path(path).read_text())['cells']
             if c['cell_type'] == 'code']
    flags = lambda s: set(re.findall(r'^#\|\s*(\w+)', s, re.M))
    last = max(i for i, s in enumerate(cells) if 'cuda' in flags(s))
    os.chdir(Path(path).parent)
    sys.path.insert(0, '..')
    space = {'__name__': '__main__', 'display': print, 'get_ipython': lambda: None}
    for i, s in enumerate(cells[:last + 1]):
        if flags(s) & {'slow', 'data'} or 'nbdev_export()' in s: continue
        s = re.sub(r'^((from|import) nbdev|%).*$', '', s, flags=re.M)
        show = contextlib.nullcontext() if 'cuda' in flags(s) else \
            contextlib.redirect_stdout(open(os.devnull, 'w'))
        name = f'{Path(path).name}, cell {i}'
        linecache.cache[name] = len(s), None, s.splitlines(True), name # Triton reads its source
        with show: exec(compile(s, name, 'exec'), space)

def check_two_gpus(a):
    "One process against two with nccl, the whole batch the same; needs two GPUs"
    if a.gpu and torch.cuda.device_count() < 2: return
    digests = []
    for n in (1, 2):
        out = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone',
                              f'--nproc_per_node={n}', __file__, '--shared', '--device',
                              a.device.split(':')[0]], capture_output=True, text=True)
        found = re.search(r'WEIGHTS (.*)', out.stdout)
        if not found: raise RuntimeError(out.stderr[-600:])
        digests.append(torch.tensor(json.loads(found[1])))
    e = error(digests[1], digests[0])
    yield dict(processes=2, worst_error=e, ok=e < 1e-4)

def shared(a):
    "One of the processes of `check_two_gpus`"
    from mldr_kd.dist import join, rank
    with join(None if a.gpu else 'cpu') as device:
        student, teacher = toy_pair()
        dls = image_dls('digits', size=16, bs=32, num_workers=0, device=device)
        with seeded(0): student, teacher = (create_model('resnet_mini', 10, img_size=16)
                                            for _ in range(2))
        learn = distill_learner(dls, student, teacher)
        with learn.no_bar(), learn.no_logging(), learn.distrib_ctx(): learn.fit(1, 1e-3)
        w = torch.cat([o.flatten() for o in learn.student.parameters()])
        if not rank(): print('WEIGHTS', json.dumps(w[::97].tolist()))

# ---- figures

def measure_dfra(a):
    "One call with six students: milliseconds and MiB, forward and backward"
    sizes = [(16, 50)] if a.quick else [(128, 100), (128, 1000), (128, 21841)]
    for B, C in sizes:
        g = torch.Generator().manual_seed(0)
        S = (torch.randn(6, B, C, generator=g)*2).to(a.device).requires_grad_()
        t = (torch.randn(B, C, generator=g)*2.5).to(a.device)
        def step(f):
            S.grad = None
            f().sum().backward()
        sides = {b: partial(lambda b: dfra(S, t, backend=b).total, b) for b in a.backends}
        sides['plain'] = lambda: torch.stack([dfra_plain(s, t).total for s in S])
        for name, f in sides.items():
            gib = 24*(B*C*C + C*B*B)*4/2**30
            if name == 'plain' and gib > a.space_gib*.8:
                yield dict(B=B, C=C, backend=name, gib_needed=round(gib))
                continue
            ms = milliseconds(partial(step, f), a.device, *((3, 1) if C > 2000 else ()))
            yield dict(B=B, C=C, backend=name, ms=round(ms, 3),
                       mib=peak_mib(partial(step, f), a.device))

def pair(a):
    "Names of student and teacher, image size, batch, classes, steps of a turn"
    if a.quick: return 'resnet_mini', 'vit_mini', 32, 16, 10, 2
    return 'resnet18', 'vit_small_patch16_224', 224, 128, 100, 30

def models_alone(a, precision, fast):
    "Milliseconds of a training step of the student alone, and of the teacher's forward pass"
    s, t, size, bs, n, steps = pair(a)
    dls = repeated_dls(size, n, bs, 1, a.device)
    (x, y), layout = next(iter(dls.train)), torch.channels_last if fast else torch.contiguous_format
    with seeded(0):
        student, teacher = (create_model(o, n, img_size=size).to(a.device) for o in (s, t))
    student.to(memory_format=layout).train()
    teacher.eval().requires_grad_(False)
    opt, x_s = sgd(student.parameters(), .01, a.device), x.contiguous(memory_format=layout)
    def student_step():
        with autocast(x.device, precision): loss = cross_entropy(student(x_s).float(), y)
        opt.zero_grad(); loss.backward(); opt.step()
    def teacher_step():
        with torch.inference_mode(), autocast(x.device, precision): teacher(x)
    return [milliseconds(f, a.device, 3, steps) for f in (student_step, teacher_step)]

def learner_step(a, method, precision, fast, compiled=False, **kwargs):
    "Milliseconds of a step of `distill_learner`, fastai's whole loop included; peak MiB"
    s, t, size, bs, n, steps = pair(a)
    dls = repeated_dls(size, n, bs, steps, a.device)
    with seeded(0): teacher = create_model(t, n, img_size=size)
    opt = lambda params, lr: OptimWrapper(params, partial(sgd, device=a.device), lr=lr)
    learn = distill_learner(dls, s, teacher, method, precision=precision, channels_last=fast,
                            compile=compiled, opt_func=opt, **kwargs)
    watch = Stopwatch()
    if a.gpu: torch.cuda.reset_peak_memory_stats()
    with learn.no_bar(), learn.no_logging(): learn.fit(4, 1e-3, cbs=watch)
    mib = torch.cuda.max_memory_allocated()/2**20 if a.gpu else 0
    return statistics.median(watch.seconds[1:])/steps*1e3, mib, learn

def measure_step(a, compiled=False):
    "A step of MLDR and KD beside the two models alone"
    s, t, size, bs, n, steps = pair(a)
    for precision, fast in (('bf16', True), ('fp32', False)):
        if compiled and precision == 'fp32': continue
        alone = [] if compiled else models_alone(a, precision, fast)
        row = dict(student=s, teacher=t, size=size, batch=bs, precision=precision,
                   channels_last=fast, compiled=compiled)
        for name, ms in zip(('student alone', 'teacher alone'), alone):
            yield dict(row, what=name, ms=round(ms, 2), images_per_second=round(bs/ms*1e3))
        for method in ('mldr', 'kd'):
            ms, mib, _ = learner_step(a, method, precision, fast, compiled)
            own = {'share_beside_models': round(1 - sum(alone)/ms, 3)} if alone else {}
            yield dict(row, what=method, ms=round(ms, 2), mib=round(mib),
                       images_per_second=round(bs/ms*1e3), **own)
        gc_cuda(a)

def gc_cuda(a):
    import gc
    gc.collect()
    if a.gpu: torch.cuda.empty_cache()

def data_set(folder, n, side, jpeg):
    "A data set of noise, in memory or as JPEG files, under the name 'benchmark'"
    from PIL import Image
    rng = np.random.RandomState(0)
    coarse = rng.randint(0, 256, (n, 8, 8, 3), np.uint8)
    pixels = [np.asarray(Image.fromarray(o).resize((side, side), Image.BILINEAR)) for o in coarse]
    def image(i):
        if not jpeg: return pixels[i]
        Image.fromarray(pixels[i]).save(path := Path(folder)/f'{i}.jpg', quality=90)
        return path
    with ThreadPoolExecutor(8) as ex: images = [*ex.map(image, range(n))]
    vocab = [f'{i:02}' for i in range(100)]
    train = [datasets.Sample(o, vocab[i % 100]) for i, o in enumerate(images)]
    def read(path, download): return datasets.Parts(train, train[:2], train[:2], vocab)
    datasets.DATASETS['benchmark'] = datasets.Dataset(read, size=side, uniform=True,
                                                      stats=((.5,)*3, (.25,)*3))

def measure_loading(a):
    "Worker processes: the loader alone, and whole training steps"
    n, bs = (256, 32) if a.quick else (12_800, 128)
    workers = 0 if a.quick else min(8, os.cpu_count())
    for side, jpeg in ((32, False), (64, True)):
        with tempfile.TemporaryDirectory() as folder:
            data_set(folder, n, side, jpeg)
            start = time.perf_counter()
            dls = image_dls('benchmark', bs=bs, device=a.device, num_workers=workers)
            ready, times = time.perf_counter() - start, []
            for _ in range(3):
                sync(a.device); start = time.perf_counter()
                for _ in dls.train: pass
                sync(a.device); times.append(time.perf_counter() - start)
            row = dict(side=side, files='JPEG' if jpeg else 'arrays in memory', images=n,
                       batch=bs, workers=workers, start_seconds=round(ready, 2))
            yield dict(row, what='loader alone', images_per_second=round(n/min(times[1:])))
            models = ('resnet_mini', 'vit_mini') if a.quick else ('resnet18', 'vit_tiny_patch16_224')
            with seeded(0): teacher = create_model(models[1], 100, img_size=side)
            opt = lambda params, lr: OptimWrapper(params, partial(sgd, device=a.device), lr=lr)
            learn, watch = distill_learner(dls, models[0], teacher, precision='bf16',
                                           opt_func=opt), Stopwatch()
            with learn.no_bar(), learn.no_logging(): learn.fit(3, 1e-3, cbs=watch)
            yield dict(row, what='MLDR-KD, ' + ' from '.join(models), images_per_second=round(
                len(dls.train)*bs/statistics.median(watch.seconds[1:])))

@contextlib.contextmanager
def without_kernels():
    "The scan and the convolution in PyTorch, also where mamba-ssm is installed"
    kept = ssm._gpu_kernel
    ssm._gpu_kernel = lambda what, device: ssm._Kernel(None, 'switched off')
    try: yield
    finally: ssm._gpu_kernel = kept

def measure_vim(a):
    "A training step of Vim-tiny at 224 pixels, with mamba-ssm's scan and without"
    size, bs, calls = (32, 2, 1) if a.quick else (224, 64, 2)
    x = torch.randn(bs, 3, size, size, device=a.device)
    y = torch.arange(bs, device=a.device) % 100
    for kernels in (contextlib.nullcontext, without_kernels):
        with kernels():
            with seeded(0): m = create_model('vim_tiny_patch16_224', 100, img_size=size)
            m = m.to(a.device).train()
            opt = sgd(m.parameters(), .01, a.device)
            def step():
                with autocast(x.device, 'bf16'): loss = cross_entropy(m(x).float(), y)
                opt.zero_grad(); loss.backward(); opt.step()
            step()
            used = {o: ssm.last_backend(o) for o in ('scan', 'conv')}
            if kernels is contextlib.nullcontext and used['scan'] == 'pytorch': continue
            ms = milliseconds(step, a.device, 2, calls)
            yield dict(model='vim_tiny_patch16_224', size=size, batch=bs, precision='bf16', **used,
                       ms=round(ms, 1), images_per_second=round(bs/ms*1e3, 1),
                       mib=peak_mib(step, a.device))

def measure_profile(a):
    "The 15 operations of an MLDR-KD step that take most of the GPU's time"
    from torch.profiler import ProfilerActivity, profile
    *_, learn = learner_step(a, 'mldr', 'bf16', True)
    acts = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA]*a.gpu
    with profile(activities=acts) as prof, learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    key = 'self_cuda_time_total' if a.gpu else 'self_cpu_time_total'
    rows = sorted(prof.key_averages(), key=lambda o: -getattr(o, key.replace('cuda', 'device')))
    total = sum(getattr(o, key.replace('cuda', 'device')) for o in rows) or 1
    yield dict(steps=pair(a)[-1], text=prof.key_averages().table(sort_by=key, row_limit=15,
                                                                 max_name_column_width=60),
               top=[dict(name=o.key[:80], calls=o.count, share=round(
                   getattr(o, key.replace('cuda', 'device'))/total, 3)) for o in rows[:15]])

PARTS = dict(check_dfra=check_dfra, check_scan=check_scan, check_augmentation=check_augmentation,
             check_resume=check_resume, check_waiting=check_waiting, check_notebooks=check_notebooks,
             check_two_gpus=check_two_gpus, dfra=measure_dfra, step=measure_step,
             loading=measure_loading, vim=measure_vim, profile=measure_profile,
             compiled=partial(measure_step, compiled=True))

def machine(a):
    out = dict(device='cpu', cores=os.cpu_count(), cpu=platform.machine(), python=platform.python_version(),
               threads=torch.get_num_threads(), date=time.strftime('%Y-%m-%d'),
               **versions('mldr_kd', 'torch', 'triton', 'timm', 'fastai', 'mamba_ssm', 'causal_conv1d'))
    if not a.gpu: return out
    smi = subprocess.run(['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader'],
                         capture_output=True, text=True).stdout.split()
    p = torch.cuda.get_device_properties(a.device)
    return out | dict(device=p.name, gib=round(p.total_memory/2**30), cuda=torch.version.cuda,
                      capability=f'{p.major}.{p.minor}', driver=smi[0] if smi else None)

def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=8., help='no part begins after these')
    p.add_argument('--out', help='write the rows to this file, one JSON object a line')
    p.add_argument('--device', default='cuda', help="'cuda', or 'cpu' to try the script")
    p.add_argument('--parts', nargs='+', choices=PARTS, default=[*PARTS], metavar='PART',
                   help=f'some of: {", ".join(PARTS)}')
    p.add_argument('--quick', action='store_true', help='toy sizes')
    for hidden in ('--child', '--notebook'): p.add_argument(hidden, help=argparse.SUPPRESS)
    p.add_argument('--kill-at', type=int, default=0, help=argparse.SUPPRESS)
    p.add_argument('--shared', action='store_true', help=argparse.SUPPRESS)
    a = p.parse_args()
    a.gpu = a.device.startswith('cuda')
    if a.gpu and not torch.cuda.is_available(): p.error('no CUDA device is available')
    a.backends = ('triton', 'streamed', 'interpolated') if a.gpu else ('streamed', 'interpolated')
    a.space_gib = torch.cuda.get_device_properties(0).total_memory/2**30 if a.gpu else 4
    return a

def main():
    a = arguments()
    if a.child: return child(a)
    if a.notebook: return notebook(a.notebook)
    if a.shared: return shared(a)
    start, out = time.perf_counter(), open(a.out, 'w') if a.out else None
    def write(part, row):
        line = json.dumps(dict(part=part, at=round(time.perf_counter() - start, 1), **row))
        print(line[:600], flush=True)
        if out: print(line, file=out, flush=True)
    write('machine', machine(a))
    for name in a.parts:
        if time.perf_counter() - start > a.minutes*60:
            write(name, dict(left_out='no time left'))
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                for row in PARTS[name](a): write(name, row)
        except Exception as e: # the next part shall run, whatever this one met
            write(name, dict(ok=False, error=f'{type(e).__name__}: {e}'[:600],
                             trace=traceback.format_exc()[-1500:]))
        gc_cuda(a)

if __name__ == '__main__': main()
