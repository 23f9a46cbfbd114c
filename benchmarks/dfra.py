"""DFRA, plain against streamed (and interpolated): time and memory of a step's six comparisons.

    python benchmarks/dfra.py --limit 8 --out benchmarks/dfra.csv     # about six minutes

nbs/90_benchmark_training.ipynb shows the rows. The plain side is the formula as written
(`dfra_plain`), called six times, forward and backward. The sides alternate within one process, and
medians are reported; peak memory is that of a process of its own, less the memory it had before the
first call. The plain side is left out where its matrices would not fit (`--limit` GiB)."""
import argparse, csv, os, statistics, subprocess, sys, threading, time
import torch
from mldr_kd.dfra import dfra, dfra_plain

L = 6
def plain(S, t): return sum(dfra_plain(s, t).total for s in S)
def streamed(S, t): return dfra(S, t).total.sum()
def interpolated(S, t): return dfra(S, t, backend='interpolated').total.sum()
SIDES = dict(plain=plain, streamed=streamed, interpolated=interpolated)

def logits(B, C):
    "Student logits (6, B, C) and a teacher's, with the spread of a trained network"
    g = torch.Generator().manual_seed(0)
    S = (torch.randn(L, B, C, generator=g)*2).requires_grad_()
    return S, torch.randn(B, C, generator=g)*2.5

def step(f, S, t):
    S.grad = None
    f(S, t).backward()

def plain_gib(B, C):
    "Six comparisons, about four stored float32 tables each, before any is freed"
    return 24*(B*C*C + C*B*B)*4/2**30

def times(B, C, sides, repeats):
    "Median seconds of each side, the sides taking turns"
    S, t = logits(B, C)
    out = {m: [] for m in sides}
    for r in range(repeats + 1): # the first round warms up
        for m in sides:
            t0 = time.perf_counter()
            step(SIDES[m], S, t)
            if r: out[m].append(time.perf_counter() - t0)
    return {m: statistics.median(v) for m, v in out.items()}

def peak(B, C, side, threads):
    "Largest extra memory of a step in MiB, measured in a process of its own"
    command = [sys.executable, __file__, '--peak', side, str(B), str(C), '--threads', str(threads)]
    run = subprocess.run(command, capture_output=True, text=True)
    return float(run.stdout.split()[-1]) if run.returncode == 0 else float('nan')

def resident(): # MiB
    return int(open('/proc/self/statm').read().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20

def print_peak(side, B, C):
    "Read the size of the process every millisecond of a step"
    step(SIDES[side], *logits(16, 64)) # loads threads and libraries
    S, t = logits(B, C)
    before, sizes, done = resident(), [0.], threading.Event()
    def watch():
        while not done.wait(.001): sizes.append(resident())
    watcher = threading.Thread(target=watch)
    watcher.start()
    step(SIDES[side], S, t)
    done.set(); watcher.join()
    print(max(*sizes, resident()) - before)

def row_of(B, C, args):
    sides = [m for m in SIDES if m != 'plain' or plain_gib(B, C) < args.limit]
    s = times(B, C, sides, args.repeats)
    mib = {m: peak(B, C, m, args.threads) for m in sides}
    row = dict(B=B, C=C, threads=args.threads, load=round(os.getloadavg()[0], 1))
    row |= {f'{m}_ms': round(1e3*s[m], 2) if m in s else '' for m in SIDES}
    row |= {f'{m}_mib': round(mib[m], 1) if m in mib else '' for m in SIDES}
    return row | dict(speedup=round(s['plain']/s['streamed'], 1) if 'plain' in s else '')

def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--threads', type=int, default=torch.get_num_threads(), help='torch threads')
    p.add_argument('--repeats', type=int, default=5, help='rounds behind each median')
    p.add_argument('--limit', type=float, default=6., help='GiB that the plain side may take')
    p.add_argument('--quick', action='store_true', help='three sizes only')
    p.add_argument('--out', help='write the rows to this csv file too')
    p.add_argument('--peak', nargs=3, metavar=('SIDE', 'B', 'C'), help=argparse.SUPPRESS)
    return p.parse_args()

def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.peak: return print_peak(args.peak[0], *map(int, args.peak[1:]))
    sizes = [(128, 100), (128, 200), (64, 1000)]
    if not args.quick:
        sizes += [(4, C) for C in (10, 30, 100, 300, 1000, 3000, 10000, 21841)]
        sizes += [(B, 100) for B in (1, 8, 32, 512)]
    print(f'torch {torch.__version__}, {args.threads} threads, load {os.getloadavg()[0]:.1f}, '
          f'medians of {args.repeats}, six logit tensors, forward and backward, float32')
    rows = []
    for B, C in sizes:
        rows.append(row_of(B, C, args))
        print('  '.join(f'{k} {v}' for k, v in rows[-1].items()), flush=True)
        if args.out:
            with open(args.out, 'w', newline='') as f:
                w = csv.DictWriter(f, rows[0])
                w.writeheader(); w.writerows(rows)

if __name__ == '__main__': main()
