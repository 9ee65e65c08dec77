"""Who takes part, and how each is asked to do its work.

Every contender can `check` (train from fresh weights; the loss), `train` (for a time; steps/s), `check_sample` (train,
sample; moments of the samples) and `sample` (for a time; samples/s); those of `COUPLERS`, `check_couple` (solve an exact
assignment; its mean cost) and `couple` (for a time; problems/s). One that cannot raises `Missing` with the reason.
"""

import csv
import json
import math
import os
import queue
import subprocess
import threading
import time

import data
import install
from install import HERE, Missing

EULER = 100
# name: (what it is, environment, script or program, mode)
PEERS = {
    "torch-eager": ("PyTorch, eager", "torch", "torch_peer.py", "eager"),
    "torch-compile": ("PyTorch, torch.compile", "torch", "torch_peer.py", "compile"),
    "torch-graphs": ("PyTorch, a CUDA graph of the step", "torch", "torch_peer.py", "graphs"),
    "jax-jit": ("JAX, jit of the step", "jax", "jax_peer.py", "jit"),
    "jax-loop": ("JAX, jit of a loop of steps", "jax", "jax_peer.py", "loop"),
    "burn-wgpu": ("burn, wgpu", "burn", None, "wgpu"),
    "burn-cpu": ("burn, CPU (flex)", "burn", None, "cpu"),
    "pot": ("POT, ot.emd", "ot", "ot_peer.py", "pot"),
    "scipy": ("SciPy, linear_sum_assignment", "ot", "ot_peer.py", "scipy"),
}
NAMES = ["windfield", *PEERS]
# Those that solve assignments, and nothing else.
COUPLERS = ["pot", "scipy"]


def takes_part(name, kind):
    """Whether a contender does work of this kind: `training`, `sampling` or `coupling`."""
    return name == "windfield" or (name in COUPLERS) == (kind == "coupling")


class Setting:
    """What holds for all contenders: options, folders, threads."""

    def __init__(self, options, work):
        self.options, self.work = options, work
        self.data = work / "data"
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        self.threads = min(options.threads or len(cores), len(cores))
        self.cores = sorted(cores)[: self.threads]
        pools = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **dict.fromkeys(pools, str(self.threads))}

    def pin(self, process):
        """Keeps a process on as many cores as there may be threads: not every library can be told their number."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process, self.cores)


def make(name, setting):
    return Windfield(setting) if name == "windfield" else Peer(name, setting)


class Peer:
    """A process that answers the requests of peer.py; started when it is first asked, and again after it failed."""

    def __init__(self, name, setting):
        self.name, self.setting = name, setting
        self.about, self.home, self.script, self.mode = PEERS[name]
        self.process = None
        self.command = None
        self.log = setting.work / f"{name}.log"
        self.versions = None

    def prepare(self, timeout):
        """Installs what is missing, and starts."""
        options = self.setting.options
        if self.mode == "graphs" and not options.cuda:
            raise Missing("CUDA graphs need a CUDA device, and this run uses the CPU")
        if self.home == "burn":
            self.command = [str(options.burn or install.burn(self.setting.work, options.cuda))]
        else:
            python = options.python or install.environment(self.home, self.setting.work, options.cuda)
            self.command = [str(python), str(HERE / self.script)]
        device = "cuda" if options.cuda else "cpu"
        threads = str(self.setting.threads)
        self.command += [self.mode, "--data", str(self.setting.data), "--threads", threads, "--device", device]
        self.start(timeout)

    def start(self, timeout):
        with self.log.open("a") as log:
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self.setting.env,
                    text=True,
                    bufsize=1,
                )
            except OSError as error:
                raise Missing(f"cannot be started: {self.command[0]}: {error.strerror}") from None
        self.setting.pin(self.process.pid)
        self.answers = queue.Queue()
        threading.Thread(target=listen, args=(self.process.stdout, self.answers), daemon=True).start()
        self.versions = self.answer(timeout)["versions"]

    def answer(self, timeout):
        try:
            answer = self.answers.get(timeout=max(timeout, 0))
        except queue.Empty:
            self.close()
            raise Missing(f"no answer within {timeout:.0f} s") from None
        if answer is None:
            status = self.process.wait()
            self.close()
            raise Missing(f"it ended with status {status}: {install.last_line(self.log)}")
        if "error" in answer:
            raise Missing(answer["error"][:300])
        return answer

    def ask(self, timeout, *words):
        if self.process is None:
            self.start(timeout)
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it is gone: the answer says so
        return self.answer(timeout)

    def check(self, shape, steps, last, timeout):
        return self.ask(timeout, "check", shape, steps, last)["loss"]

    def train(self, shape, seconds, timeout):
        answer = self.ask(timeout, "train", shape, seconds)
        return answer["count"] / answer["seconds"]

    def check_sample(self, shape, timeout):
        answer = self.ask(timeout, "check-sample", shape, EULER)
        return answer["deviation"], answer["product"]

    def sample(self, shape, seconds, timeout):
        answer = self.ask(timeout, "sample", shape, EULER, seconds)
        return answer["count"] / answer["seconds"]

    def check_couple(self, shape, files, timeout):
        return self.ask(timeout, "check-couple", shape, *files)["cost"]

    def couple(self, shape, seconds, timeout):
        answer = self.ask(timeout, "couple", shape, seconds)
        return answer["count"] / answer["seconds"]

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def listen(lines, answers):
    """Puts answers into the queue, and None at the end; what libraries print in between is passed over."""
    for line in lines:
        if line.startswith("> "):
            try:
                answers.put(json.loads(line[2:]))
            except ValueError:
                answers.put({"error": f"an answer that is no JSON: {line[2:].strip()}"})
    answers.put(None)


class Windfield:
    """windfield itself: its `bench` for times, its `train` and `sample` for what they lead to."""

    name, about = "windfield", "windfield"
    # Each of its measurements is a process of its own.
    process = None
    # Those that its last measurement used.
    kernels = None

    def __init__(self, setting):
        self.setting, self.program = setting, setting.options.windfield
        self.versions = None
        self.log = setting.work / "windfield.log"
        self.runs = setting.work / "windfield"

    def prepare(self, timeout):
        version = self.call(["--version"], timeout).strip()
        listed = json.loads(self.call(["devices", "--json"], timeout))
        adapter = self.setting.options.adapter or str(listed["default"])
        named = lambda each: adapter == str(each["index"]) or adapter.lower() in each["name"].lower()
        found = [each for each in listed["adapters"] if named(each)]
        if not found:
            raise Missing(f"no adapter is called {adapter}")
        self.adapter = found[0]
        self.versions = f"{version} on {self.adapter['name']} ({self.adapter['backend']}, {self.adapter['driver']})"

    def call(self, arguments, timeout):
        if self.setting.options.adapter and arguments[0] != "--version":
            arguments = [*arguments, "--adapter", self.setting.options.adapter]
        with self.log.open("a") as log:
            try:
                process = subprocess.Popen(
                    [str(self.program), *arguments], stdout=subprocess.PIPE, stderr=log, env=self.setting.env, text=True
                )
            except OSError as error:
                raise Missing(f"cannot be started: {self.program}: {error.strerror}") from None
            self.setting.pin(process.pid)
            try:
                printed, _ = process.communicate(timeout=max(timeout, 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Missing(f"no end within {timeout:.0f} s") from None
        if process.returncode != 0:
            raise Missing(f"it ended with status {process.returncode}: {install.last_line(self.log)}")
        return printed

    def learn(self, shape, steps, timeout):
        """Trains from fresh weights with plain Adam; the run's folder."""
        folder = self.runs / str(shape).replace(":", "-")
        plain = "--schedule constant --warmup 0 --clip 0 --ema 0 --no-standardize --sigma-min 0 --log-every 1 --seed 1"
        hidden = ",".join([str(shape.width)] * shape.layers)
        arguments = ["train", "--data", str(data.prepare(self.setting.data, shape.dim)), "--hidden", hidden]
        arguments += ["--activation", "silu", "--batch", str(shape.rows), "--steps", str(steps), "--lr", "3e-3"]
        self.call([*arguments, *plain.split(), "--overwrite", "--no-pictures", "--out", str(folder)], timeout)
        return folder

    def check(self, shape, steps, last, timeout):
        with (self.learn(shape, steps, timeout) / "metrics.csv").open() as metrics:
            losses = [float(row["loss"]) for row in csv.DictReader(metrics)][-last:]
        return sum(losses) / len(losses)

    def check_sample(self, shape, timeout):
        folder, samples = self.learn(shape._replace(rows=256), 1000, timeout), self.runs / "samples.npy"
        drawn = ["-n", str(shape.rows), "--solver", "euler", "--steps", str(EULER), "--seed", "1"]
        self.call(["sample", str(folder / "model.safetensors"), *drawn, "--out", str(samples)], timeout)
        return data.moments(data.read(samples))

    def bench(self, what, rate, shape, seconds, timeout):
        arguments = ["bench", "--only", what, "--shape", str(shape), "--rounds", "1", "--seconds", str(seconds)]
        measured = json.loads(self.call([*arguments, "--json"], timeout))[what][0]
        done = measured.get("shape") or str(shape._replace(dim=measured["dim"], rows=measured["points"]))
        if done != str(shape):
            raise Missing(f"bench measured {done} instead of {shape}")
        self.kernels = measured.get("kernels")
        return measured[rate]["median"]

    def train(self, shape, seconds, timeout):
        return self.bench("training", "steps_per_s", shape, seconds, timeout)

    def sample(self, shape, seconds, timeout):
        return self.bench("sampling", "samples_per_s", shape, seconds, timeout)

    def problem(self, shape, timeout):
        """The points of a batch, in two files: those that `check_couple` pairs."""
        ends = self.ends(shape, "independent", timeout)
        files = [self.runs / f"{name}-{shape.dim}-{shape.rows}.npy" for name in ("x0", "x1")]
        for path, columns in zip(files, ends):
            data.write(path, columns)
        return files

    def ends(self, shape, coupling, timeout):
        """x0 and x1 of a batch, each as columns."""
        self.runs.mkdir(parents=True, exist_ok=True)
        out = self.runs / "batch.safetensors"
        arguments = ["batch", "--data", str(data.prepare(self.setting.data, shape.dim)), "--coupling", coupling]
        arguments += ["--batch", str(shape.rows), "--no-standardize", "--seed", "1", "--out", str(out)]
        self.call(arguments, timeout)
        return [data.tensor(out, name) for name in ("x0", "x1")]

    def check_couple(self, shape, files, timeout):
        x0, x1 = self.ends(shape, "minibatch-ot", timeout)
        squares = ((a - b) ** 2 for column in zip(x0, x1) for a, b in zip(*column))
        return math.fsum(squares) / shape.rows

    def couple(self, shape, seconds, timeout):
        return self.bench("coupling", "solves_per_s", shape, seconds, timeout)

    def close(self):
        pass
