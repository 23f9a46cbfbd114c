"""Faults, one after the other, done to a small run: what was tried, what survived, what was lost.

    python benchmarks/faults.py [--kills 50] [--out nbs/results/faults.json]
    python benchmarks/faults.py --stops nbs/results/faults_state.csv [--how kill] [--minutes 60]

Linux, no GPU in use; about ten minutes on two cores. A fault is survived if the run ended with one
sentence (or was killed) and, started again, came to the weights and the metrics.csv of an
undisturbed run, bit for bit. With --stops a whole mldr_distill is stopped ahead of one of its
operations on files, resumed and compared, operation after operation; rows that the file has are
not done again.
"""
import argparse, csv, hashlib, http.server, json, os, platform, random, re, resource, shutil
import signal, socket, subprocess, sys, tarfile, tempfile, threading, time
from datetime import date
from functools import partial
from pathlib import Path
import numpy as np, torch
import mldr_kd.compat  # ahead of fastai
from fastai.callback.core import Callback
from PIL import Image
from safetensors.torch import load_file, save_file
from mldr_kd.cli import mldr_distill
from mldr_kd.core import InputError
from mldr_kd.datasets import CIFAR, Archive, cifar100_parts, folder_parts, locate, readable
from mldr_kd.dist import join, rank
from mldr_kd.distill import distill_learner
from mldr_kd.files import write_json
from mldr_kd.testing import folder_content, stopped, toy_dls, toy_pair
from mldr_kd.train import resume
from mldr_kd.train.resume import MetricsCSV, Resume, read_state, write_state

class NaNAt(Callback):
    "A batch with NaN in it"
    order, remove_on_fetch = -20, True
    def __init__(self, step): self.step = step
    def before_batch(self):
        if self.training and self.train_iter == self.step: self.learn.xb = (self.x*float('nan'),)

class SignalAt(Callback):
    "A signal to this process after a step"
    remove_on_fetch = True
    def __init__(self, step, signal, order=20_000, ranks=(0, 1)):
        self.step, self.signal, self.order, self.ranks = step, signal, order, ranks
    def after_batch(self):
        if self.training and self.train_iter == self.step and rank() in self.ranks:
            os.kill(os.getpid(), self.signal)

def killed_at(step): return SignalAt(step, signal.SIGKILL, ranks=(0,))

def run(path, cbs=(), teacher=0):
    "The run that is disturbed: MLDR-KD, three epochs of six batches, a state after every step"
    learn = distill_learner(toy_dls(n=48, size=16, bs=8), toy_pair(0)[0], toy_pair(teacher)[1],
                            'mldr', path=path)
    state = Resume(every=1, log=lambda _: None)
    with learn.no_bar(), learn.no_logging(), learn.distrib_ctx():
        learn.fit(3, 1e-2, cbs=[MetricsCSV(Path(path)/'metrics.csv'), *cbs], resume=state)
    if not rank(): learn.export_student(Path(path)/'student.safetensors')

def without_places(text)->str:
    "A message without the temporary folders in it"
    place = re.escape(tempfile.gettempdir()) + r'/[\w-]+'
    return re.sub(place, 'FOLDER', re.sub(place + '/', '', str(text)))

MESSAGES = Path(tempfile.mkdtemp())/'messages'

def messages()->str:
    "What the processes printed since the last call"
    text = MESSAGES.read_text() if MESSAGES.exists() else ''
    MESSAGES.unlink(missing_ok=True)
    return text.strip()

def sentence(e)->str:
    "An error on one line, without what fastai puts ahead of it"
    text = ' '.join(str(e).split())
    return re.sub(r'^Exception occured in `\w+` when calling event `\w+`:\s*', '', text)

def start(f, n=1)->list[int]:
    "Fork `n` processes that run `f` together; their ids. An InputError ends one with exit code 2"
    address = f'file://{tempfile.mktemp()}'
    return [os.fork() or _child(f, n, (address, i, n)) for i in range(n)]

def _child(f, n, init):
    code, text = 0, ''
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)
        if n == 1: f()
        else:
            with join('cpu', 30, init): f()
    except InputError as e: code, text = 2, sentence(e)
    except KeyboardInterrupt: code = 130
    except BaseException as e: code, text = 1, f'TRACEBACK {type(e).__name__}: {e}'
    finally:
        if text: MESSAGES.open('a').write(text + '\n')
        os._exit(code)

def wait(pids)->list[int]:
    "How the processes ended: exit codes, negative for a signal"
    return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]

def new_folder(): return Path(tempfile.mkdtemp())/'run'

def undisturbed(n=1):
    "The folder of a run to its end"
    path = new_folder()
    assert wait(start(lambda: run(path), n)) == [0]*n, messages()
    return path

def same(a, b)->bool:
    "Do two folders hold the same student and metrics, bit for bit?"
    files = 'student.safetensors', 'metrics.csv'
    return all((a/f).exists() and (a/f).read_bytes() == (b/f).read_bytes() for f in files)

def kills(n_kills, n=1, seed=0, reference=None)->dict:
    "Kill a run at random moments, again and again, until `n_kills` kills hit; then let it end"
    rng, home = random.Random(seed), Path(tempfile.mkdtemp())
    t0, whole = time.time(), undisturbed(n)
    reference, seconds = reference or whole, time.time() - t0
    hits = ends = good = half = 0
    while hits < n_kills:
        path, codes = home/f'{ends}', None
        while codes != [0]*n:
            pids = start(lambda: run(path), n)
            time.sleep(rng.uniform(0, seconds))
            if hits < n_kills: os.kill(rng.choice(pids), signal.SIGKILL)  # a zombie takes it, too
            codes = wait(pids)
            hits += -9 in codes
            if set(codes) - {0, 2, -9}: raise SystemExit(f'{codes} {messages()}')
        ends, good = ends + 1, good + same(path, reference)
        half += sum(o.is_file() and o.name != '.lock' for o in path.rglob('.*'))
    messages()
    return dict(tried=hits, same_ends=good, ends=ends, half_written=half)

def disturbed(f, n, reference, repair=lambda path: None, expect=(2,))->tuple:
    "A run under a fault, then again without: (is the end the same?, its sentence, details)"
    path = new_folder()
    codes, text = wait(start(lambda: f(path), n)), messages()
    repair(path)
    again = wait(start(lambda: run(path), n))
    ok = all(c in expect for c in codes) and again == [0]*n and same(path, reference)
    first = text.splitlines()[0] if text else f'it ended with {codes}'
    return ok and 'TRACEBACK' not in text, first, (codes, again, messages())

def refused(f, n=1)->tuple:
    "(did every process end with a sentence?, the first sentence)"
    codes, text = wait(start(f, n)), messages()
    first = text.splitlines()[0] if text else f'it ended with {codes}'
    return codes == [2]*n and 'TRACEBACK' not in text, first

def limited(path, size=20_000):
    "A run that may not write files larger than `size`"
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    run(path)

def mount(path, options)->bool:
    cmd = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(path)]
    return not subprocess.run(cmd, capture_output=True).returncode

def on_mount(n, options, read_only=False)->tuple:
    "A run on a small file system: (was it refused?, its sentence, how often it was tried)"
    path = Path(tempfile.mkdtemp())
    if not mount(path, options): return False, 'not tried: mounting is not allowed here', 0
    try:
        if read_only: subprocess.run(['mount', '-o', 'remount,ro', str(path)], check=True)
        return *refused(lambda: run(path), n), 1
    finally: subprocess.run(['umount', '-l', str(path)], capture_output=True)

def damage(path, both=False):
    "Change a byte in the newest state, or in both"
    files = sorted((path/'state').glob('state-*.pt'), key=lambda o: o.stat().st_mtime_ns)
    for f in files if both else files[-1:]:
        data = bytearray(f.read_bytes())
        data[len(data)//2] ^= 255
        f.write_bytes(data)

def both_damaged(n)->tuple:
    path = new_folder()
    wait(start(lambda: run(path, [killed_at(9)]), n)); messages()
    damage(path, both=True)
    ok, text = refused(lambda: run(path), n)
    return ok and 'no state that can be trusted' in text, text

def damaged_image(n)->tuple:
    "A folder of four images, one of them truncated"
    home = Path(tempfile.mkdtemp())
    for o in ('a/x', 'a/y', 'b/x', 'b/y'):
        (home/o).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home/f'{o}.png')
    bad = home/'a'/'x.png'
    bad.write_bytes(bad.read_bytes()[:40])
    ok, text = refused(lambda: readable(folder_parts(home).train), n)
    return ok and len(readable(folder_parts(home).train, skip=True)) == 3, text

def other_version(path):
    "The run as another PyTorch would begin it"
    known = resume.versions
    resume.versions = lambda *names: {**known(*names), 'torch': '2.4.0'}
    run(path)

def two_runs(n, reference)->tuple:
    "Begin a second run in the folder of the first"
    path = new_folder()
    first = start(lambda: run(path), n)
    while not (path/'state'/'.lock').exists(): time.sleep(.01)
    time.sleep(.05)
    second = start(lambda: run(path), n)
    b, a = wait(second), wait(first)
    text = messages()
    ok = a == [0]*n and b == [2]*n and same(path, reference) and 'another run is writing' in text
    return ok, text.splitlines()[0] if text else f'{a} {b}'

def on_two_machines(path, *args)->tuple:
    "torchrun with two nodes of one process, both on this machine: how they ended, their output"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    cmd = [sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc-per-node=1',
           '--master-addr=127.0.0.1', f'--master-port={port}']
    nodes = [subprocess.Popen([*cmd, f'--node-rank={i}', __file__, '--machine', str(path), *args],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
             for i in range(2)]
    out = ''.join(o.communicate()[0] for o in nodes)
    return [o.returncode for o in nodes], out

def machine(path, die):
    "What each process of `on_two_machines` does"
    torch.set_num_threads(1)
    try:
        with join('cpu', 30): run(path, [killed_at(9)] if die else ())
    except InputError as e: sys.exit(f'MESSAGE {sentence(e)}')

def lost_machine(reference)->tuple:
    "The first of two machines is lost during a run; then both begin again"
    path = new_folder()
    codes, out = on_two_machines(path, '--die')
    text = next((o.split('MESSAGE ', 1)[1] for o in out.splitlines() if 'MESSAGE ' in o), out)
    again, out = on_two_machines(path)
    lost = 0 not in codes and 'another process of this run ended' in text
    return lost and again == [0, 0] and same(path, reference), text if again == [0, 0] else out

def faults(n, reference):
    "The faults but the kills, for `n` processes: (name, survived, what happened[, times])"
    def full(name, f, **kwargs):
        ok, text, more = disturbed(f, n, reference, **kwargs)
        return name, ok, text if ok else (text, more)
    def saying(words, f):
        ok, text = refused(f, n)
        return ok and words in text, text
    yield full("full disk (limit on a file's size)", limited)
    yield full('NaN in a batch', lambda p: run(p, [NaNAt(8)]))
    yield full('Ctrl-C', lambda p: run(p, [SignalAt(8, signal.SIGINT, 100)]), expect=(130, 2))
    yield full('damaged state', lambda p: run(p, [killed_at(9)]), repair=damage, expect=(-9, 2))
    yield 'both states damaged', *both_damaged(n)
    other = saying('teacher', lambda: run(reference, teacher=2))
    yield "wrong teacher (another one's state)", *other
    newer = saying('versions.torch is ', lambda: other_version(reference))
    yield 'a state of another PyTorch', *newer
    yield 'two runs in one folder', *two_runs(n, reference)
    yield 'full disk (a small file system)', *on_mount(n, 'size=40k')
    yield 'read-only folder', *on_mount(n, 'size=4m', read_only=True)
    yield 'damaged image', *damaged_image(n)
    no_server = CIFAR._replace(url='http://127.0.0.1:9/cifar.tar.gz')
    yield 'no network', *refused(lambda: cifar100_parts(tempfile.mkdtemp(), archive=no_server), n)
    dls, student, ten = toy_dls(n=16, size=16, bs=8), toy_pair()[0], toy_pair(n_classes=10)[1]
    yield 'wrong teacher (other classes)', *refused(lambda: distill_learner(dls, student, ten), n)
    if n == 2: yield 'lost machine (torchrun, two nodes on this one)', *lost_machine(reference)

def foreign_names(n)->tuple:
    "States whose checksum is right and whose files have names outside of the run's folder"
    path = new_folder()
    wait(start(lambda: run(path, [killed_at(9)]), n)); messages()
    outside, said = path.parent/'outside', ''
    for name in (str(outside), '../outside', '../../outside', 'student.safetensors'):
        for f in (path/'state').glob('state-*.pt'):
            write_state(f, {**read_state(f), 'files': {name: torch.zeros(9, dtype=torch.uint8)}})
        ok, text = refused(lambda: run(path), n)
        said = said or text
        left = [o for o in (outside, path.parent.parent/'outside', path/'student.safetensors')
                if o.exists()]
        if not ok or left: return False, text, 4
    return True, said, 4

def images(home, classes=('ant', 'bee'), each=12, shade=60):
    "A folder of images of a size of 32 pixels, a class brighter than the other"
    for k, c in enumerate(classes):
        (home/c).mkdir(parents=True)
        for i in range(each):
            Image.new('RGB', (32, 32), (9*i, shade, 120*k + 40)).save(home/c/f'{i}.png')

def words(data, out, *methods, name='run')->list:
    "Options of a small comparison"
    return ['--dataset', 'folder', '--path', data, '--size', 32, '--teacher', 'vit_mini',
            '--teacher_epochs', 1, '--teacher_bs', 8, '--student', 'resnet_mini', '--bs', 8,
            '--epochs', 1, '--seeds', 2, '--threads', 1, '--allow_weak_teacher', '--out', out,
            '--name', name, '--methods', *methods]

def shell(*commands)->tuple:
    "Commands in the shell at once: exit codes, what they printed"
    beside = Path(sys.executable).parent
    both = [subprocess.Popen([str(beside/c[0]), *map(str, c[1:])], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for c in commands]
    out = [''.join(o.communicate()) for o in both]
    return [o.returncode for o in both], '\n'.join(out)

def last(text)->str: return ([''] + [o for o in text.splitlines() if o.strip()])[-1]

def weights_of(folder)->dict:
    "For each method and seed how often there is a row, and its weights"
    rows = [json.loads(o) for o in (folder/'results.jsonl').read_text().splitlines()]
    names = [(r['method'], r['seed']) for r in rows]
    def student(m, k): return (folder/f'{m}-seed{k}'/'student.safetensors').read_bytes()
    return {o: (names.count(o), student(*o)) for o in names}

def shared_folder(first='mldr_compare', second='mldr_compare', die=False)->tuple:
    "Two commands into one folder, both to the end or one killed; then the rows of one alone"
    home = Path(tempfile.mkdtemp())
    images(home/'data')
    methods = 'scratch', 'kd', 'mldr'
    alone, both = ([first, *words(home/'data', home/o, *methods)] for o in ('alone', 'both'))
    assert shell(alone)[0] == [0]
    other = [second, *both[1:]]
    if die:
        beside = Path(sys.executable).parent
        dying = subprocess.Popen([str(beside/first), *map(str, both[1:])], text=True,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = home/'both'/'run'/'results.jsonl'
        while not rows.exists() and dying.poll() is None: time.sleep(.01)
        time.sleep(.3)
        dying.kill(); dying.wait()
        codes, text = shell(other, both)
    else: codes, text = shell(both, other)
    ok = codes == [0, 0] and 'Traceback' not in text
    found, expected = weights_of(home/'both'/'run'), weights_of(home/'alone'/'run')
    times = [o[0] for o in found.values()]
    equal = sum(found.get(k) == o for k,o in expected.items())
    return ok and times == [1]*6 and equal == 6, (
        f'they ended with {codes}; {sum(times)} rows of 6, {equal} with the weights that one '
        'command alone comes to' + ('' if ok else f': {last(text)}'))

def belongs(what)->tuple:
    "A comparison to which something else is added: exchanged weights, other rows, more images"
    home = Path(tempfile.mkdtemp())
    images(home/'data')
    given = home/'data', home/'runs'
    assert shell(['mldr_compare', *words(*given, 'scratch', 'kd')])[0] == [0]
    rows = home/'runs'/'run'/'results.jsonl'
    if what == 'teacher':
        file, = (home/'runs'/'teachers').glob('*/teacher.safetensors')
        save_file({k: v + .1 for k,v in load_file(file).items()}, file)
    elif what == 'images': Image.new('RGB', (32, 32)).save(home/'data'/'ant'/'new.png')
    else:                                # rows of a run on other data
        images(home/'other', ('oak', 'elm'), shade=200)
        assert shell(['mldr_compare', *words(home/'other', home/'else', 'scratch')])[0] == [0]
        strange = (home/'else'/'run'/'results.jsonl').read_text()
        rows.write_text(strange + rows.read_text())
    before = rows.read_bytes()
    codes, text = shell(['mldr_compare', *words(*given, 'mldr')])
    return codes == [2] and 'Traceback' not in text and rows.read_bytes() == before, last(text)

def downloads(n=2, tries=5)->tuple:
    "Processes that download one archive at once, from a server on this machine"
    home = Path(tempfile.mkdtemp())
    (home/'toy').mkdir()
    (home/'toy'/'data').write_bytes(random.Random(0).randbytes(20_000_000))
    with tarfile.open(home/'toy.tar.gz', 'w:gz', compresslevel=1) as t: t.add(home/'toy', 'toy')
    md5 = hashlib.md5((home/'toy.tar.gz').read_bytes()).hexdigest()
    class Handler(http.server.SimpleHTTPRequestHandler):
        fetched = 0
        def log_message(self, *args): pass
        def do_GET(self): Handler.fetched += 1; super().do_GET()
    at = partial(Handler, directory=str(home))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), at)
    toy = Archive('toy', 'toy', ('data',), 'toy.tar.gz',
                  f'http://127.0.0.1:{server.server_port}/toy.tar.gz', md5)
    pids = []
    for k in range(tries):   # forked ahead of the server's thread
        pids += [start(lambda k=k: locate(toy, home/f'place{k}'))[0] for _ in range(n)]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    codes, text = wait(pids), messages()
    server.shutdown(); server.server_close()
    whole = [(home/f'place{k}'/'toy'/'data').read_bytes() == (home/'toy'/'data').read_bytes()
             and os.listdir(home/f'place{k}') == ['toy'] for k in range(tries)]
    ok = codes == [0]*len(pids) and all(whole) and Handler.fetched == tries
    return ok, f'{Handler.fetched} downloads for {n*tries} processes in {tries} places', tries

def launched()->tuple:
    "mldr_compare under torchrun: one report, no refusals of each other"
    home = Path(tempfile.mkdtemp())
    images(home/'data')
    program = Path(sys.executable).parent/'mldr_compare'
    command = ['torchrun', '--standalone', '--nproc-per-node=2', program,
               *words(home/'data', home/'runs', 'scratch', 'kd')]
    codes, text = shell(command)
    times = [o[0] for o in weights_of(home/'runs'/'run').values()] if codes == [0] else []
    ok = times == [1]*4 and 'Traceback' not in text
    return ok, f'it ended with {codes[0]}, {sum(times)} rows of 4' if ok else last(text)

def commands(n):
    "Faults of whole commands, for one command and for two at once"
    if n == 1:
        yield 'a state that names files outside of its run', *foreign_names(n)
        yield "a teacher's weights exchanged between two methods", *belongs('teacher')
        yield 'images added between two methods', *belongs('images')
        yield "another run's rows in results.jsonl", *belongs('rows')
    else:
        yield 'mldr_compare twice into one folder', *shared_folder()
        yield 'mldr_distill and mldr_compare into one folder', *shared_folder('mldr_distill')
        yield 'the same, one killed during its second run', *shared_folder(die=True)
        yield 'downloads at once', *downloads(n)
        yield 'mldr_compare under torchrun', *launched()

def table(n_kills=50, processes=(1, 2))->list[dict]:
    "One row per fault and number of processes"
    rows = []
    def add(n, fault, survived, what, tried=1):
        good = int(survived)*tried
        rows.append(dict(fault=fault, processes=n, tried=tried, survived=good, lost=tried - good,
                         what=without_places(what)[:300]))
        print(rows[-1], flush=True)
    for n in processes:
        reference = undisturbed(n)
        k = kills(n_kills, n, reference=reference)
        add(n, 'SIGKILL at random moments' + ', of one of the two'*(n == 2),
            k['same_ends'] == k['ends'] and not k['half_written'],
            f"{k['ends']} runs, killed {k['tried']} times; {k['same_ends']} came to the same end; "
            f"{k['half_written']} half-written files left", k['tried'])
        for fault in (*faults(n, reference), *commands(n)): add(n, *fault)
    return rows

HOME = Path(tempfile.gettempdir())/'mldr-stops'  # one place: configurations name the folder
WORDS = ['--dataset', 'digits', '--methods', 'scratch', 'kd', '--seeds', '1', '--epochs', '1',
         '--unlabelled', 'none', '--bs', '25', '--teacher_epochs', '1', '--allow_weak_teacher',
         '--threads', '1', '--name', 'run',
         '--out', str(HOME)]
STOPS = 'how', 'at', 'operation', 'of', 'ended', 'resumed', 'same', 'differs', 'says'

def whole(at=None, how='kill', words=WORDS)->tuple:
    "mldr_distill, stopped ahead of operation `at`: (exit code, operations until then, last line)"
    output = HOME.with_suffix('.out')
    code, seen = stopped(lambda: mldr_distill([str(o) for o in words]), HOME, at, how, output)
    lines = [o for o in output.read_text(errors='replace').split('\n') if o.strip()]
    return code, seen, 'TRACEBACK' if any('Traceback' in o for o in lines) else ''.join(lines[-1:])

def different(a, b)->list: return sorted(k for k in {*a, *b} if a.get(k) != b.get(k))

def one_stop(at, how, operations, reference)->dict:
    "A run that is stopped, then resumed or, before there is a run, begun again"
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    code, _, says = whole(at, how)
    begun = (HOME/'run'/'config.json').exists()
    again, _, last = whole(words=['--resume', *WORDS[-4:], '--threads', '1'] if begun else WORDS)
    differs = different(folder_content(HOME), reference)
    return dict(how=how, at=at, operation=operations[at], of=len(operations), ended=code,
                resumed=again, same=not (again or differs), differs=' '.join(differs),
                says=says if not again else last)

def sweep(out, how='kill', minutes=60.):
    "A row for each operation that `out` lacks, in an order that spreads over the run"
    HOME.mkdir(exist_ok=True)
    ends = []
    for _ in range(2):
        shutil.rmtree(HOME); HOME.mkdir()
        code, operations, says = whole()
        if code: raise SystemExit(f'the undisturbed run ended with {code}: {says}')
        ends.append(folder_content(HOME))
    if different(*ends): raise SystemExit(f'two undisturbed runs differ: {different(*ends)}')
    out, end = Path(out), time.time() + 60*minutes
    done = list(csv.DictReader(out.open())) if out.exists() else []
    done = {int(o['at']) for o in done if o['how'] == how and int(o['of']) == len(operations)}
    points = [i for i in range(len(operations)) if i not in done]
    random.Random(0).shuffle(points)
    for at in points:
        if time.time() > end: return
        row = one_stop(at, how, operations, ends[0])
        new = not out.exists()
        with out.open('a', newline='') as f:
            rows = csv.DictWriter(f, STOPS, lineterminator='\n')
            if new: rows.writeheader()
            rows.writerow(row)
        print({k: row[k] for k in ('how', 'at', 'ended', 'resumed', 'same', 'differs')}, flush=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--kills', type=int, default=50)
    p.add_argument('--processes', type=int, nargs='+', default=[1, 2],
                   help='do the part with so many processes; the rows of the other part stay')
    p.add_argument('--out', default='nbs/results/faults.json')
    p.add_argument('--stops', help='a csv that takes a row for each operation of a whole run')
    p.add_argument('--how', default='kill', choices=['kill', 'interrupt', 'full'])
    p.add_argument('--minutes', type=float, default=60., help='the time --stops may take')
    p.add_argument('--machine', help='the folder of a run of which this process does a part')
    p.add_argument('--die', action='store_true')
    a = p.parse_args()
    if a.machine: machine(a.machine, a.die); sys.exit()
    torch.set_num_threads(1)
    if a.stops: sweep(a.stops, a.how, a.minutes); sys.exit()
    old = json.loads(Path(a.out).read_text())['rows'] if Path(a.out).exists() else []
    rows = table(a.kills, a.processes) + [o for o in old if o['processes'] not in a.processes]
    write_json(a.out, dict(date=str(date.today()), torch=torch.__version__,
                           python=platform.python_version(), cores=os.cpu_count(),
                           rows=sorted(rows, key=lambda o: o['processes'])))
