"""Faults, one after the other, against a small run: what was tried, what survived, what was lost.

python benchmarks/faults.py [--kills 50] [--out nbs/results/faults.json]    (Linux, no GPU in use; about five minutes on two cores)

"Survived" means: the run ended with one sentence (or was killed), and, started again, came to the weights and the metrics.csv of the undisturbed run, bit for bit.
"""
import argparse, json, os, platform, random, resource, signal, subprocess, sys, tempfile, time
from datetime import date
from pathlib import Path
import numpy as np, torch
from fastai.callback.core import Callback
from PIL import Image
from mldr_kd.cli import sentence
from mldr_kd.core import InputError, ToyCNN, seeded, toy_dls
from mldr_kd.data import CIFAR, cifar100_parts, folder_parts, readable
from mldr_kd.distill import distill_learner
from mldr_kd.models.stages import StagedModel
from mldr_kd.parallel import processes
from mldr_kd.resume import MetricsCSV, Resume, rank

NODES = ['stage1', 'stage2', 'stage3', 'stage4']

def staged(seed, n_classes=4):
    with seeded(seed): return StagedModel(ToyCNN(n_classes, widths=(4, 8, 8, 8)), nodes=NODES, img_size=16)

class NaNAt(Callback):
    "A batch with a NaN in it"
    order, remove_on_fetch = -20, True
    def __init__(self, step): self.step = step
    def before_batch(self):
        if self.training and self.train_iter == self.step: self.learn.xb = (self.x*float('nan'),)

def run(path, cbs=(), teacher=1, every=1, epochs=3):
    "The run that is disturbed: MLDR-KD, three epochs of six batches, a state after every step"
    with seeded(0):
        learn = distill_learner(toy_dls(n=48, size=16, bs=8), staged(0), staged(teacher), 'mldr', path=path)
        with learn.no_bar(), learn.no_logging(), learn.parallel():
            learn.fit(epochs, 1e-2, cbs=[MetricsCSV(Path(path)/'metrics.csv'), *cbs], resume=Resume(every=every, say=lambda _: None))
    if not rank(): learn.export_student(Path(path)/'student.safetensors')

def start(f, n=1)->list[int]:
    "Fork `n` processes that run `f` together; their ids. A refusal goes to the file `said` beside, exit code 2"
    meet, pids = tempfile.mktemp(), []
    for i in range(n):
        pids.append(os.fork())
        if pids[-1]: continue
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            torch.set_num_threads(1)
            if n == 1: f()
            else:
                with processes('cpu', 30, (f'file://{meet}', i, n)): f()
            code = 0
        except InputError as e: code = 2; Path(SAID).open('a').write(sentence(e) + '\n')
        except KeyboardInterrupt: code = 130
        except BaseException as e: code = 1; Path(SAID).open('a').write(f'TRACEBACK {type(e).__name__}: {e}\n')
        finally: os._exit(code)
    return pids

SAID = Path(tempfile.mkdtemp())/'said'
def wait(pids): return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]
def said():
    text = SAID.read_text() if SAID.exists() else ''
    SAID.unlink(missing_ok=True)
    return text.strip()

def same(a, b): return all((Path(a)/f).exists() and (Path(a)/f).read_bytes() == (Path(b)/f).read_bytes() for f in ('student.safetensors', 'metrics.csv'))

def kills(n_kills, n=1, seed=0, reference=None):
    "Kill a run at random moments, over and over, until `n_kills` kills are done; each run ends at last and is compared. (kills, ends that were the same, ends, half-written files)"
    rng, home, done, ends, good, litter = random.Random(seed), Path(tempfile.mkdtemp()), 0, 0, 0, 0
    t0 = time.time()
    undisturbed = whole(n)
    reference, span = reference or undisturbed, time.time() - t0
    while done < n_kills:
        path = home/f'{ends}'
        for attempt in range(1000):
            pids = start(lambda: run(path), n)
            time.sleep(rng.uniform(0, span))
            hit = False
            if done < n_kills:
                try: os.kill(rng.choice(pids), signal.SIGKILL); hit = True
                except ProcessLookupError: pass
            codes = wait(pids)
            done += -9 in codes
            if codes == [0]*n: break
        ends += 1; good += same(path, reference)
        litter += len([o for o in path.rglob('.*') if o.is_file() and o.name != '.lock'])
    said()
    return dict(tried=done, same_ends=good, ends=ends, half_written=litter)

def whole(n=1):
    path = Path(tempfile.mkdtemp())
    assert wait(start(lambda: run(path), n)) == [0]*n, said()
    return path

def disturbed(f, n, reference, mend=lambda path: None, expect=(2,)):
    "One run under a fault, then started again without it: (it ended as expected, what it said, the end is the same)"
    path = Path(tempfile.mkdtemp())/'run'
    codes = wait(start(lambda: f(path), n))
    text = said()
    mend(path)
    again = wait(start(lambda: run(path), n))
    ok = all(c in expect for c in codes) and again == [0]*n and same(path, reference) and 'TRACEBACK' not in text
    return ok, text.splitlines()[0] if text else f'it ended with {codes}', (codes, again, said())

def limited(path, size=20_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    run(path)

def on_mount(path, options, then=None):
    "A run on a small file system of its own; None where this machine does not let us mount"
    path.mkdir(parents=True)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(path)], capture_output=True).returncode: return None
    try:
        if then: then(path)
        code = wait(start(lambda: run(path)))
        return code == [2], said()
    finally: subprocess.run(['umount', '-l', str(path)], capture_output=True)

def interrupted(path):
    class Stop(Callback):
        order, remove_on_fetch = 100, True
        def after_batch(self):
            if self.training and self.train_iter == 8: os.kill(os.getpid(), signal.SIGINT)
    run(path, [Stop()])

def damage(path, both=False):
    "Change a byte in the newest state, or in both"
    files = sorted((path/'state').glob('state-*.pt'), key=lambda o: o.stat().st_mtime_ns)
    for f in files if both else files[-1:]:
        data = bytearray(f.read_bytes()); data[len(data)//2] ^= 255; f.write_bytes(data)

def stop_at(step):
    class Die(Callback):
        order, remove_on_fetch = 20_000, True
        def after_batch(self):
            if self.training and self.train_iter == step and rank() == 0: os.kill(os.getpid(), signal.SIGKILL)
    return Die()

def refused(f)->tuple:
    try: f()
    except InputError as e: return True, ' '.join(str(e).split())
    return False, 'it went on'

def picture():
    home = Path(tempfile.mkdtemp())
    for c in 'ab':
        (home/c).mkdir()
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home/c/'x.png')
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home/c/'y.png')
    (home/'a'/'x.png').write_bytes((home/'a'/'x.png').read_bytes()[:40])
    ok, text = refused(lambda: readable(folder_parts(home).train))
    return ok and len(readable(folder_parts(home).train, skip=True)) == 3, text

def two_runs(n, reference):
    "Begin a second run into the folder of the first"
    path = Path(tempfile.mkdtemp())/'run'
    first = start(lambda: run(path), n)
    while not (path/'state'/'.lock').exists(): time.sleep(.01)
    time.sleep(.05)
    second = start(lambda: run(path), n)
    b, a = wait(second), wait(first)
    text = said()
    return a == [0]*n and b == [2]*n and same(path, reference) and 'another run is writing' in text, text.splitlines()[0] if text else f'{a} {b}'

def table(n_kills=50, n_kills2=12)->list[dict]:
    rows = []
    def add(fault, n, survived, what, tried=1, lost=None): rows.append(dict(fault=fault, processes=n, tried=tried, survived=int(survived)*tried if isinstance(survived, bool) else survived, lost=tried - (int(survived)*tried if isinstance(survived, bool) else survived), what=str(what)[:300])); print(rows[-1], flush=True)
    for n in (1, 2):
        reference = whole(n)
        k = kills(n_kills if n == 1 else n_kills2, n, reference=reference)
        ok = k['same_ends'] == k['ends'] and not k['half_written']
        add('SIGKILL at random moments' + (', of one of the two' if n == 2 else ''), n, ok, f"{k['ends']} runs, killed {k['tried']} times; {k['same_ends']} came to the same end; {k['half_written']} half-written files left", k['tried'])
        for name, f, kw in (('full disk (limit on a file\'s size)', limited, {}), ('NaN in a batch', lambda p: run(p, [NaNAt(8)]), {}), ('Ctrl-C', interrupted, dict(expect=(130, 2))),
                            ('damaged state', lambda p: run(p, [stop_at(9)]), dict(mend=damage, expect=(-9, 2)))):
            ok, text, more = disturbed(f, n, reference, **kw)
            add(name, n, ok, text if ok else (text, more))
        path = Path(tempfile.mkdtemp())/'run'
        wait(start(lambda: run(path, [stop_at(9)]), n)); said(); damage(path, both=True)
        codes = wait(start(lambda: run(path), n)); text = said()
        add('both states damaged', n, codes == [2]*n and 'no state that can be trusted' in text, text.splitlines()[0] if text else codes)
        codes = wait(start(lambda: run(reference, teacher=2), n)); text = said()
        add('wrong teacher (another one\'s state)', n, codes == [2]*n and 'teacher is ' in text, text.splitlines()[0] if text else codes)
        add('two runs into one folder', n, *two_runs(n, reference))
    full = on_mount(Path(tempfile.mkdtemp())/'m', 'size=40k')
    add('full disk (a small file system)', 1, bool(full and full[0]), full[1] if full else 'not tried: this machine does not let us mount', tried=int(full is not None))
    def read_only(path): subprocess.run(['mount', '-o', 'remount,ro', str(path)], check=True)
    ro = on_mount(Path(tempfile.mkdtemp())/'m', 'size=4m', read_only)
    add('read-only folder', 1, bool(ro and ro[0]), ro[1] if ro else 'not tried: this machine does not let us mount', tried=int(ro is not None))
    add('damaged picture', 1, *picture())
    add('no network', 1, *refused(lambda: cifar100_parts(tempfile.mkdtemp(), archive=CIFAR._replace(url='http://127.0.0.1:9/cifar.tar.gz'))))
    add('wrong teacher (other classes)', 1, *refused(lambda: distill_learner(toy_dls(n=16, size=16, bs=8), staged(0), staged(1, 10), 'mldr')))
    return rows

if __name__ == '__main__':
    p = argparse.ArgumentParser(); p.add_argument('--kills', type=int, default=50); p.add_argument('--kills2', type=int, default=12); p.add_argument('--out', default='nbs/results/faults.json'); a = p.parse_args()
    torch.set_num_threads(1)
    t0 = time.time()
    rows = table(a.kills, a.kills2)
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    Path(a.out).write_text(json.dumps(dict(date=str(date.today()), torch=torch.__version__, python=platform.python_version(), cores=os.cpu_count(), seconds=round(time.time() - t0), rows=rows), indent=1) + '\n')
