"""Faults, one after the other, against a small run: what was tried, what survived, what was lost.

python benchmarks/faults.py [--kills 50] [--out nbs/results/faults.json]    (Linux, no GPU in use; about ten minutes on two cores)

"Survived" means: the run ended with one sentence (or was killed), and, started again, came to the weights and the metrics.csv of the undisturbed run, bit for bit.
"""
import argparse, json, os, platform, random, resource, signal, socket, subprocess, sys, tempfile, time
from datetime import date
from pathlib import Path
import numpy as np, torch
from fastai.callback.core import Callback
from PIL import Image
from mldr_kd import resume
from mldr_kd.cli import sentence
from mldr_kd.core import InputError, ToyCNN, atomic_write, seeded, toy_dls
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

def on_mount(n, options, then=None):
    "A run on a small file system of its own: (it was refused, what it said, how often it was tried: 0 where this machine does not let us mount)"
    path = Path(tempfile.mkdtemp())/'m'
    path.mkdir(parents=True)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(path)], capture_output=True).returncode: return False, 'not tried: this machine does not let us mount', 0
    try:
        if then: then(path)
        return *refused(lambda: run(path), n), 1
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

def refused(f, n=1)->tuple:
    "(every process was refused in a sentence, the first sentence)"
    codes, text = wait(start(f, n)), said()
    return codes == [2]*n and 'TRACEBACK' not in text, text.splitlines()[0] if text else f'it ended with {codes}'

def pictures():
    "A folder of four pictures, one of them cut off"
    home = Path(tempfile.mkdtemp())
    for c in 'ab':
        (home/c).mkdir()
        for name in 'xy': Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home/c/f'{name}.png')
    (home/'a'/'x.png').write_bytes((home/'a'/'x.png').read_bytes()[:40])
    return home

def picture(n):
    home = pictures()
    ok, text = refused(lambda: readable(folder_parts(home).train), n)
    return ok and len(readable(folder_parts(home).train, skip=True)) == 3, text

def other_version(path):
    "The run as another PyTorch would begin it"
    known = resume.versions_of
    resume.versions_of = lambda *names: {**known(*names), 'torch': '2.4.0'}
    run(path)

def on_two_machines(path, *args):
    "torchrun with two nodes of a process each, both on this machine: how they ended, and what they said"
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    cmd = [sys.executable, '-m', 'torch.distributed.run', '--nnodes', '2', '--nproc-per-node', '1', '--master-addr', '127.0.0.1', '--master-port', str(port)]
    nodes = [subprocess.Popen([*cmd, '--node-rank', str(i), __file__, '--machine', str(path), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for i in range(2)]
    out = ''.join(o.communicate()[0] for o in nodes)
    return [o.returncode for o in nodes], out

def machine(path, die):
    "What one process of `on_two_machines` does"
    torch.set_num_threads(1)
    try:
        with processes('cpu', 30): run(path, [stop_at(9)] if die else ())
    except InputError as e: sys.exit(f'SAID {sentence(e)}')

def lost_machine(reference):
    "The first of two machines is lost in the middle of a run; then both begin again"
    path = Path(tempfile.mkdtemp())/'run'
    codes, out = on_two_machines(path, '--die')
    text = next((o.split('SAID ', 1)[1] for o in out.splitlines() if 'SAID ' in o), out[-300:])
    again, out = on_two_machines(path)
    return 0 not in codes and 'another process of this run ended' in text and again == [0, 0] and same(path, reference), text if again == [0, 0] else out[-300:]

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

def table(n_kills=50, processes=(1, 2))->list[dict]:
    rows = []
    def add(fault, n, survived, what, tried=1):
        rows.append(dict(fault=fault, processes=n, tried=tried, survived=int(survived)*tried, lost=tried - int(survived)*tried, what=str(what)[:300]))
        print(rows[-1], flush=True)
    for n in processes:
        reference = whole(n)
        k = kills(n_kills, n, reference=reference)
        add('SIGKILL at random moments' + (', of one of the two' if n == 2 else ''), n, k['same_ends'] == k['ends'] and not k['half_written'],
            f"{k['ends']} runs, killed {k['tried']} times; {k['same_ends']} came to the same end; {k['half_written']} half-written files left", k['tried'])
        for name, f, kw in (('full disk (limit on a file\'s size)', limited, {}), ('NaN in a batch', lambda p: run(p, [NaNAt(8)]), {}), ('Ctrl-C', interrupted, dict(expect=(130, 2))),
                            ('damaged state', lambda p: run(p, [stop_at(9)]), dict(mend=damage, expect=(-9, 2)))):
            ok, text, more = disturbed(f, n, reference, **kw)
            add(name, n, ok, text if ok else (text, more))
        path = Path(tempfile.mkdtemp())/'run'
        wait(start(lambda: run(path, [stop_at(9)]), n)); said(); damage(path, both=True)
        ok, text = refused(lambda: run(path), n)
        add('both states damaged', n, ok and 'no state that can be trusted' in text, text)
        ok, text = refused(lambda: run(reference, teacher=2), n)
        add('wrong teacher (another one\'s state)', n, ok and 'teacher is ' in text, text)
        ok, text = refused(lambda: other_version(reference), n)
        add('a state of another PyTorch', n, ok and 'versions.torch is ' in text, text)
        add('two runs into one folder', n, *two_runs(n, reference))
        add('full disk (a small file system)', n, *on_mount(n, 'size=40k'))
        add('read-only folder', n, *on_mount(n, 'size=4m', lambda path: subprocess.run(['mount', '-o', 'remount,ro', str(path)], check=True)))
        add('damaged picture', n, *picture(n))
        add('no network', n, *refused(lambda: cifar100_parts(tempfile.mkdtemp(), archive=CIFAR._replace(url='http://127.0.0.1:9/cifar.tar.gz')), n))
        add('wrong teacher (other classes)', n, *refused(lambda: distill_learner(toy_dls(n=16, size=16, bs=8), staged(0), staged(1, 10), 'mldr'), n))
        if n == 2: add('lost machine (torchrun, two nodes, both on this one)', n, *lost_machine(reference))
    return rows

if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--kills', type=int, default=50)
    p.add_argument('--processes', type=int, nargs='+', default=[1, 2], help='do the part with so many processes; the rows of the other part stay')
    p.add_argument('--out', default='nbs/results/faults.json')
    p.add_argument('--machine', help='the folder of a run of which this process does a part')
    p.add_argument('--die', action='store_true')
    a = p.parse_args()
    if a.machine: machine(a.machine, a.die); sys.exit()
    torch.set_num_threads(1)
    old = json.loads(Path(a.out).read_text())['rows'] if Path(a.out).exists() else []
    rows = sorted(table(a.kills, a.processes) + [o for o in old if o['processes'] not in a.processes], key=lambda o: o['processes'])
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(a.out) as tmp: tmp.write_text(json.dumps(dict(date=str(date.today()), torch=torch.__version__, python=platform.python_version(), cores=os.cpu_count(), rows=rows), indent=1) + '\n')
