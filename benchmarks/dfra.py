"""DFRA, plain against streamed (and interpolated): time and peak memory of one MLDR-KD step's six comparisons, forward and backward.

    python benchmarks/dfra.py --limit 8 --out benchmarks/dfra.csv     # about six minutes; nbs/90_benchmark_training.ipynb shows the rows

The plain side is the formula as written (`dfra_plain`), called six times. The sides alternate within one process, and medians are reported; peak memory is that of a process of its own, less the
memory it had before the first call. The plain side is left out where its matrices would not fit (`--limit` GiB)."""
import argparse, csv, os, statistics, subprocess, sys, threading, time
import torch
from mldr_kd.dfra import dfra, dfra_plain

L = 6
METHODS = dict(plain=lambda S, t: sum(dfra_plain(s, t).total for s in S), streamed=lambda S, t: dfra(S, t).total.sum(),
               interpolated=lambda S, t: dfra(S, t, method='interpolated').total.sum())

def logits(B, C):
    "Student logits (6, B, C) and a teacher's, of a trained network's spread"
    g = torch.Generator().manual_seed(0)
    return (torch.randn(L, B, C, generator=g)*2).requires_grad_(), torch.randn(B, C, generator=g)*2.5

def step(f, S, t):
    S.grad = None
    f(S, t).backward()

def plain_gib(B, C): return 24*(B*C*C + C*B*B)*4/2**30 # six comparisons, about four stored float32 tables each, before any is freed

def times(B, C, methods, repeats):
    "Median seconds of each method, the methods taking turns"
    S, t = logits(B, C)
    out = {m: [] for m in methods}
    for r in range(repeats + 1): # the first round warms up
        for m in methods:
            t0 = time.perf_counter()
            step(METHODS[m], S, t)
            if r: out[m].append(time.perf_counter() - t0)
    return {m: statistics.median(v) for m, v in out.items()}

def peak(B, C, method, threads):
    "Extra MiB at the worst moment of a step, measured in a process of its own"
    run = subprocess.run([sys.executable, __file__, '--peak', method, str(B), str(C), '--threads', str(threads)], capture_output=True, text=True)
    return float(run.stdout.split()[-1]) if run.returncode == 0 else float('nan')

def resident(): return int(open('/proc/self/statm').read().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20 # MiB

def print_peak(method, B, C):
    "Look at the process's size every millisecond of a step"
    step(METHODS[method], *logits(16, 64)) # threads and libraries are there
    S, t = logits(B, C)
    before, seen, done = resident(), [0.], threading.Event()
    def watch():
        while not done.wait(.001): seen.append(resident())
    watcher = threading.Thread(target=watch)
    watcher.start()
    step(METHODS[method], S, t)
    done.set(); watcher.join()
    print(max(*seen, resident()) - before)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--threads', type=int, default=torch.get_num_threads(), help='torch threads')
    p.add_argument('--repeats', type=int, default=5, help='rounds behind each median')
    p.add_argument('--limit', type=float, default=6., help='GiB that the plain side may take')
    p.add_argument('--quick', action='store_true', help='three sizes only')
    p.add_argument('--out', help='write the rows to this csv file too')
    p.add_argument('--peak', nargs=3, metavar=('METHOD', 'B', 'C'), help=argparse.SUPPRESS)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak: return print_peak(args.peak[0], int(args.peak[1]), int(args.peak[2]))
    sizes = [(128, 100), (128, 200), (64, 1000)]
    if not args.quick: sizes += [(4, C) for C in (10, 30, 100, 300, 1000, 3000, 10000, 21841)] + [(B, 100) for B in (1, 8, 32, 512)]
    print(f'torch {torch.__version__}, {args.threads} threads, load average {os.getloadavg()[0]:.1f}, medians of {args.repeats}, six logit tensors, forward and backward, float32')
    rows = []
    if args.out and os.path.exists(args.out): os.remove(args.out)
    for B, C in sizes:
        methods = [m for m in METHODS if m != 'plain' or plain_gib(B, C) < args.limit]
        s, mib = times(B, C, methods, args.repeats), {m: peak(B, C, m, args.threads) for m in methods}
        row = dict(B=B, C=C, threads=args.threads, load=round(os.getloadavg()[0], 1), **{f'{m}_ms': round(1e3*s[m], 2) if m in s else '' for m in METHODS},
                   **{f'{m}_mib': round(mib[m], 1) if m in mib else '' for m in METHODS}, speedup=round(s['plain']/s['streamed'], 1) if 'plain' in s else '')
        rows.append(row)
        print('  '.join(f'{k} {v}' for k, v in row.items()), flush=True)
        if args.out:
            with open(args.out, 'a', newline='') as f:
                w = csv.DictWriter(f, row)
                if len(rows) == 1: w.writeheader()
                w.writerow(row)

if __name__ == '__main__': main()
