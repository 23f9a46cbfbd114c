"""How fast is the streamed selective scan on a CPU, and how much memory does it need?

    pip install -e '.[bench]'
    python benchmarks/scan.py                # about seven minutes; writes benchmarks/scan.json
    python benchmarks/scan.py --tiny         # a few seconds, small sizes, to see that it runs

nbs/91_benchmark_scan.ipynb shows the results. All implementations do the same job, forward and
backward. They are checked against each other first. Then each runs in a process of its own, so that
the gigabytes that one allocates and frees don't disturb another's memory, and they take turns, so
that whatever else the machine does affects all of them alike. A turn warms up with one run and then
lasts two seconds, and three runs at the least. Medians are kept, with the fastest and the slowest
run, and the speed-up of the streamed scan turn by turn. Memory is what the peak of a process rises
by while one forward and backward pass runs.
"""
import argparse, gc, json, os, platform, statistics, subprocess, sys, time
from datetime import date
from importlib.metadata import version
from pathlib import Path
import torch
import torch.nn.functional as F
from mldr_kd.models import vim
from mldr_kd.models.ssm import selective_scan, selective_scan_loop

SIZES = [(16, 197, 384, 16), (32, 65, 384, 16), (32, 17, 384, 16)]  # (B, L, D, N)


def inputs(b, L, d, n, seed=0):
    "u, delta, A, B, C, D as a freshly initialised Mamba layer has them, and a gradient for y"
    torch.manual_seed(seed)
    steps = F.softplus(torch.randn(b, d, L) + torch.empty(d, 1).uniform_(-6.9, -2.3))
    A, B, C = -torch.arange(1., n+1).repeat(d, 1), torch.randn(b, n, L), torch.randn(b, n, L)
    args = torch.randn(b, d, L), steps, A, B, C, torch.ones(d)
    return [o.requires_grad_() for o in args], torch.randn(b, d, L)


def mambapy_scan(u, delta, A, B, C, D):
    "The same by mambapy's block with its parallel scan; time comes before channels there"
    from mambapy.mamba import MambaBlock
    u, delta, B, C = (o.mT for o in (u, delta, B, C))
    return MambaBlock.selective_scan(None, u, delta, A, B, C, D).mT


SCANS = dict(streamed=selective_scan, mambapy=mambapy_scan, loop=selective_scan_loop)


def scan_step(name, size):
    "A function that runs forward and backward once and returns y and the gradients"
    args, gy = inputs(*size)
    if name != 'loop':  # time before channels in memory, as a Mamba layer's linear maps give them
        def lay(o): return o.detach().mT.contiguous().mT if o.ndim == 3 else o.detach()
        args, gy = [lay(o).requires_grad_() for o in args], lay(gy)
    def step():
        y = SCANS[name](*args)
        return y.detach(), *torch.autograd.grad(y, args, gy)
    return step


def vim_step(name, batch=2, img_size=224, **model_args):
    "One training step of Vim-tiny with the scan `name`"
    torch.manual_seed(0)
    model = vim.VisionMamba(img_size=img_size, num_classes=100, **model_args)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x, y = torch.randn(batch, 3, img_size, img_size), torch.randint(100, (batch,))
    def step():
        vim.selective_scan = SCANS[name]
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        vim.selective_scan = selective_scan
        return loss.detach()[None],
    return step


def mixer_steps(batch=8, L=197, width=192, N=16):
    "One-directional mixers with the same weights: transformers' without kernels, and ours"
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=width, state_size=N, expand=2, conv_kernel=4, use_bias=False,
                         use_conv_bias=True, time_step_rank=width//16, use_mambapy=False)
    m, x = MambaMixer(config, layer_idx=0), torch.randn(batch, L, width)
    torch.nn.init.constant_(m.dt_proj.bias, -4.)
    leaves = list(m.parameters())
    def ours():
        u, z = m.in_proj(x).chunk(2, -1)
        y = vim.scan_direction(u.mT, m.conv1d, m.x_proj, m.dt_proj, m.A_log, m.D)
        return m.out_proj(y.mT*F.silu(z))
    def step(f):
        y = f()
        return y.detach(), *torch.autograd.grad(y.square().mean(), leaves)
    return dict(streamed=lambda: step(ours), transformers=lambda: step(lambda: m._slow_forward(x)))


class Worker:
    "A process that runs a job when it is asked to"
    def __init__(self, job, threads):
        cmd = [sys.executable, __file__, '--threads', str(threads), '--work', *map(str, job)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(cmd, **pipes)
        self.process.stdout.readline()  # everything is imported and made

    def turn(self, seconds):
        "Milliseconds of the runs in `seconds`, three at the least, after one that warms up"
        print(seconds, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def work(kind, name, *size):
    "What a `Worker`'s process does"
    size = tuple(map(int, size))
    if kind == 'scan': step = scan_step(name, size)
    else: step = vim_step(name, *size) if kind == 'vim' else mixer_steps(*size)[name]
    print(flush=True)
    for line in sys.stdin:
        gc.collect()
        times, end = [], time.perf_counter() + float(line)
        while len(times) < 4 or time.perf_counter() < end:
            start = time.perf_counter()
            step()
            times.append((time.perf_counter()-start)*1e3)
        print(json.dumps(times[1:]), flush=True)


def interleaved(jobs, turns, threads, seconds):
    "Milliseconds of each of `jobs`, name -> arguments of `work`; they take turns"
    workers, times = {k: Worker(o, threads) for k,o in jobs.items()}, {k: [] for k in jobs}
    for _ in range(turns):
        for k, o in workers.items(): times[k].append(o.turn(seconds))
    for o in workers.values(): o.end()
    def figures(turns):
        runs = sum(turns, [])
        return dict(median=statistics.median(runs), low=min(runs), high=max(runs), runs=len(runs),
                    turns=[statistics.median(o) for o in turns])
    return {k: figures(v) for k,v in times.items()}


def ratio(slow, fast):
    "The speed-up by the medians of all runs, and the lowest and the highest of the turns"
    turns = [a/b for a,b in zip(slow['turns'], fast['turns'])]
    return dict(median=slow['median']/fast['median'], low=min(turns), high=max(turns))


def check(steps, eps=1e-3):
    "Refuse to time implementations that don't agree"
    results = {k: f() for k,f in steps.items()}
    first = next(iter(results.values()))
    for k, res in results.items():
        for a, b in zip(first, res):
            err = (a-b).abs().max()/a.abs().max()
            assert err <= eps, f'{k} differs by {err:.1e}'


def status(key):
    "A line of /proc/self/status in MiB"
    return int(next(o for o in open('/proc/self/status') if o.startswith(key)).split()[1])/1024


def memory(name, *size):
    "Rise of the process's peak memory over one forward and backward pass, in MiB"
    scan_step(name, (1, 5, 8, 4))()  # libraries loaded, threads started
    step = scan_step(name, tuple(map(int, size)))
    gc.collect()
    before = status('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # resets the recorded peak
    keep = step()
    return status('VmHWM') - before


def memory_of(name, size):
    "`memory` in a new process"
    cmd = [sys.executable, __file__, '--memory', name, *map(str, size)]
    return float(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout)


def scan_row(size, turns, threads, seconds):
    "Time and memory of the scans at one size"
    check({k: scan_step(k, (2, *size[1:])) for k in SCANS})
    def jobs(*names): return {k: ('scan', k, *size) for k in names}
    ms = interleaved(jobs('streamed', 'mambapy'), turns, threads, seconds)
    mib = {k: statistics.median(memory_of(k, size) for _ in range(3)) for k in ms}
    row = dict(size=size, ms=ms | interleaved(jobs('loop'), 1, threads, seconds), mib=mib,
               speedup=ratio(ms['mambapy'], ms['streamed']), memory=mib['streamed']/mib['mambapy'])
    print(size, {k: round(v['median'], 1) for k,v in row['ms'].items()}, 'ms,',
          {k: round(v) for k,v in mib.items()}, 'MiB, speed-up over mambapy',
          {k: round(v, 1) for k,v in row['speedup'].items()}, flush=True)
    return row


def main(turns, threads, out, tiny):
    import mambapy, transformers
    seconds, sizes = (.1, [(8, 65, 64, 16)]) if tiny else (2, SIZES)
    vim_size, mixer_size = ((1, 32), (1, 9, 32)) if tiny else ((), ())
    cpu = [o.split(':')[1].strip() for o in open('/proc/cpuinfo') if o.startswith('model name')]
    res = dict(date=str(date.today()), threads=threads, torch=torch.__version__,
               python=platform.python_version(), transformers=transformers.__version__,
               mambapy=version('mambapy'), load_before=os.getloadavg()[0],
               machine=f'{len(cpu)} cores, {cpu[0]}')
    res['scan'] = [scan_row(o, turns, threads, seconds) for o in sizes]
    check({k: vim_step(k, *vim_size) for k in ('streamed', 'loop')})
    check(mixer_steps(*mixer_size))
    for title, kind, other, size in (('vim_tiny_step', 'vim', 'loop', vim_size),
                                     ('mixer', 'mixer', 'transformers', mixer_size)):
        jobs = {k: (kind, k, *size) for k in ('streamed', other)}
        res[title] = interleaved(jobs, 2, threads, seconds)
        print(title, {k: round(v['median'], 1) for k,v in res[title].items()}, flush=True)
    res['load_after'] = os.getloadavg()[0]
    if not tiny: Path(out).write_text(json.dumps(res, indent=1)+'\n')


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--turns', type=int, default=6)
    p.add_argument('--threads', type=int, default=torch.get_num_threads())
    p.add_argument('--out', default=Path(__file__).with_suffix('.json'))
    p.add_argument('--tiny', action='store_true', help='small sizes, short turns; writes nothing')
    p.add_argument('--memory', nargs=5, metavar=('NAME', 'B', 'L', 'D', 'N'),
                   help='print the memory of one pass, in MiB')
    p.add_argument('--work', nargs='+', metavar='WORD',
                   help='time a job for as many seconds as each line of the standard input says')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.work: work(*a.work)
    elif a.memory: print(memory(*a.memory))
    else: main(a.turns, a.threads, a.out, a.tiny)
