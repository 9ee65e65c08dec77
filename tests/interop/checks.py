"""What another program may rely on, checked by doing it: python3 checks.py WINDFIELD WORK [--numpy]

Each figure is a difference between windfield and a float64 computation made from the documented formats alone.

  field    velocities of `windfield field` are those of the network that has loaded model.safetensors,
           for every activation, in the network's own units (--raw) and in data units
  written  a model that PyTorch wrote with the safetensors package is taken by `field` and by `sample`
  paths    the points and velocities of `windfield batch` are those of the documented formula of every path
  replay   Adam in PyTorch, over the batches that `windfield batch` writes, gives the losses of metrics.csv
           and the weights of model.safetensors
  onnx     what `windfield export --onnx` writes is a valid model, and onnxruntime finds the same velocities with it,
           for every activation and any number of rows
  events   TensorBoard reads the rows of metrics.csv from the event files of a run, a resumed one included
  guide    the blocks of Python in docs/ run, between the commands of their pages

Called by pytorch.py, which brings the packages.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import reference_numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


class Failed(Exception):
    """The program refused; the table has it."""


class Table:
    """Figures against their limits, one line each."""

    def __init__(self):
        self.passed = self.failed = 0

    def figure(self, name, value, limit):
        # NaN is over every limit.
        self._line(bool(value <= limit), f"{name:<56} {value:9.2e} <= {limit:.0e}")

    def fact(self, name, holds, words=""):
        self._line(bool(holds), f"{name:<56} {words}")

    def _line(self, ok, text):
        self.passed += ok
        self.failed += not ok
        print(("  ok    " if ok else "  WRONG ") + text.rstrip(), flush=True)


class Checks:
    def __init__(self, binary, work, reference):
        self.binary, self.work, self.reference = binary, work, reference
        self.table = Table()
        self.rng = np.random.default_rng(5)

    def windfield(self, *arguments):
        """Runs the program."""
        command = [str(argument) for argument in arguments]
        done = subprocess.run([self.binary, *command], capture_output=True, text=True)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            self.table.fact(f"windfield {' '.join(command)}", False, f"exit status {done.returncode}: {said[-1]}")
            raise Failed

    def train(self, name, *options):
        """Trains on the checkerboard: the model file."""
        out = self.work / name
        self.windfield(
            "train", "--data", "checkerboard", "--batch", 96, "--seed", 7, "--lr", 1e-3, "--out", out, *options
        )
        return out / "model.safetensors"

    # -- field --

    def field(self):
        print("\nfield: a model of windfield's in a network of", self.reference.NAME)
        shapes = ["48", "33,47", "64,64,64", "7", "128,16", "20,20"]
        for at, (activation, hidden) in enumerate(zip(reference_numpy.ACTIVATIONS, shapes)):
            try:
                model = self.train(
                    f"field-{activation}", "--steps", 20, "--hidden", hidden, "--activation", activation,
                    "--time-frequencies", at % 4, "--standardize" if at % 2 == 0 else "--no-standardize",
                )  # fmt: skip
                self.compare_field(f"{activation} {hidden}, K = {at % 4}", model)
            except Failed:
                continue

    def compare_field(self, name, model):
        """`windfield field` against the reference, raw and in data units."""
        mean, std = units(reference_numpy.record_of(model))
        raw = self.rng.standard_normal((257, len(mean))).astype(np.float32)
        data = (mean + std * raw).astype(np.float32)
        for points, inside, scale, flags in (
            (raw, raw.astype(np.float64), 1.0, ["--raw"]),
            (data, (data - mean) / std, std, []),
        ):
            worst = 0.0
            for t in (0.0, 0.37, 1.0):
                points_file, out = self.work / "points.npy", self.work / "velocities.npy"
                np.save(points_file, points)
                self.windfield("field", model, "--points", points_file, "--time", t, "--out", out, *flags)
                worst = worse(worst, distance(np.load(out), scale * self.reference.velocity(model, inside, t)))
            self.table.figure(f"{name}: {'raw' if flags else 'data units'}", worst, 1e-5)
        if self.reference is not reference_numpy:
            # The two references were written apart: what is between them is float64's rounding.
            between = distance(reference_numpy.velocity(model, raw, 0.37), self.reference.velocity(model, raw, 0.37))
            self.table.figure(f"{name}: PyTorch and NumPy", between, 1e-12)

    # -- written --

    def written(self):
        writer = self.reference.NAME
        print(f"\nwritten: a model of {writer}'s in windfield")
        for standardize in (None, {"mean": [1.5, -20.0, 0.0], "std": [2.0, 0.125, 3.0]}):
            record = {
                "format": 1, "dim": 3, "hidden": [40, 24], "activation": "silu", "time_frequencies": 2, "classes": 0,
                "path": {"name": "ot", "sigma_min": 1e-5}, "standardize": standardize, "seed": 0, "steps": 0,
            }  # fmt: skip
            name = "standardised" if standardize else "plain"
            model = self.work / f"written-{name}.safetensors"
            self.reference.write_model(model, record)
            try:
                self.compare_field(name, model)
                self.compare_samples(name, model)
            except Failed:
                continue

    def compare_samples(self, name, model, steps=25):
        """`windfield sample` from given noise against Euler's method on the reference."""
        mean, std = units(reference_numpy.record_of(model))
        noise = self.rng.standard_normal((1003, len(mean))).astype(np.float32)
        noise_file, out = self.work / "noise.npy", self.work / "samples.npy"
        np.save(noise_file, noise)
        self.windfield("sample", model, "--from", noise_file, "--solver", "euler", "--steps", steps, "--out", out)
        x = noise.astype(np.float64)
        for step in range(steps):
            x = x + self.reference.velocity(model, x, step / steps) / steps
        # In data units float32 holds a sample only to its last bit there.
        grain = float(np.max(np.abs(mean) / std)) * 2.0**-23
        self.table.figure(f"{name}: {steps} Euler steps", distance((np.load(out) - mean) / std, x), 1e-5 + grain)

    # -- paths --

    def paths(self):
        print("\npaths: batches against the formulas, in float64")
        for name, (flags, schedule) in reference_numpy.PATHS.items():
            file = self.work / "path.safetensors"
            try:
                self.windfield("batch", "--data", "checkerboard", "--batch", 5000, "--path", *flags, "--out", file)
            except Failed:
                continue
            batch = {key: value.astype(np.float64) for key, value in reference_numpy.load_file(file).items()}
            t = batch["t"][:, None]
            a, b, da, db = schedule(t)
            for key, first, second in (("xt", b * batch["x0"], a * batch["x1"]), ("ut", db * batch["x0"], da * batch["x1"])):
                off = np.abs(batch[key] - first - second) / (np.abs(first) + np.abs(second) + 1e-30)
                self.table.figure(f"{name}: {key}, of its terms", float(np.max(off)), 5e-6)
            self.table.fact(f"{name}: times end at {t.max():.5f}", 0.999 < t.max() < 1.0)

    # -- replay --

    def replay(self, steps=20):
        print("\nreplay: the first training steps, by PyTorch's Adam in float64")
        for activation, standard in (("silu", "--standardize"), ("tanh", "--no-standardize")):
            try:
                self.compare_training(activation, standard, steps)
            except Failed:
                continue

    def compare_training(self, activation, standard, steps):
        """The same weights on the same batches: the same losses, and the same weights after."""
        torch = self.reference
        options = [
            "--hidden", "32,24", "--activation", activation, "--time-frequencies", 3, standard, "--ema", 0, "--clip", 0,
            "--weight-decay", 0, "--warmup", 0, "--schedule", "constant", "--log-every", 1,
        ]  # fmt: skip
        start = self.train(f"replay-{activation}-start", "--steps", 0, *options)
        end = self.train(f"replay-{activation}", "--steps", steps, *options)
        with (end.parent / "metrics.csv").open() as file:
            logged = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
        self.table.fact(f"{activation}: metrics.csv has steps 0 … {steps - 1}", sorted(logged) == list(range(steps)))

        batches = []
        for step in range(steps):
            file = self.work / "batch.safetensors"
            self.windfield(
                "batch", "--data", "checkerboard", "--batch", 96, "--seed", 7, standard, "--step", step, "--out", file
            )
            batches.append(torch.load_batch(file))
        off_path = 0.0
        for batch in batches:
            t, shrink = batch["t"][:, None], 1.0 - 1e-5
            xt = (1.0 - shrink * t) * batch["x0"] + t * batch["x1"]
            ut = batch["x1"] - shrink * batch["x0"]
            off_path = worse(off_path, (xt - batch["xt"]).abs().max().item(), (ut - batch["ut"]).abs().max().item())
        self.table.figure(f"{activation}: xt and ut are the path of x0, x1, t", off_path, 2e-6)

        network = torch.load_network(start)
        before = torch.weights(network)
        losses = torch.train(network, batches, lr=float(np.float32(1e-3)))
        apart = [abs(logged.get(step, np.nan) / loss - 1.0) for step, loss in enumerate(losses)]
        self.table.figure(f"{activation}: loss of step 0", apart[0], 2e-6)
        self.table.figure(f"{activation}: losses of {steps} steps", worse(*apart), 1e-5)
        after, ours = torch.weights(network), torch.weights(torch.load_network(end))
        # Adam divides by the gradient's size, so a gradient that is all rounding may move its weight by lr a step:
        # the sum over all weights is what can be held to a limit.
        share = ((ours - after).norm() / (after - before).norm()).item()
        self.table.figure(f"{activation}: weights after {steps} steps, of the way gone", share, 1e-3)

    # -- onnx --

    def onnx(self):
        print("\nonnx: exported models in onnxruntime", onnxruntime.__version__)
        shapes = ["48", "33,47", "64,64,64", "7", "24,8", "20,20"]
        for at, (activation, hidden) in enumerate(zip(reference_numpy.ACTIVATIONS, shapes)):
            try:
                model = self.train(
                    f"onnx-{activation}", "--steps", 20, "--hidden", hidden, "--activation", activation,
                    "--time-frequencies", 7 * (at % 4), "--standardize" if at % 3 else "--no-standardize",
                )  # fmt: skip
                self.compare_onnx(f"{activation} {hidden}, K = {7 * (at % 4)}", model)
            except Failed:
                continue

    def compare_onnx(self, name, model):
        mean, std = units(reference_numpy.record_of(model))
        # Rows at once, and how often: a single one may be slow, and says little of the size of velocities.
        for flags, rows, times_over in (([], 257, 1), (["--raw"], 1, 32)):
            file = self.work / "model.onnx"
            self.windfield("export", model, "--onnx", file, *flags)
            onnx.checker.check_model(str(file), full_check=True)
            raw = self.rng.standard_normal((rows * times_over, len(mean)))
            x = (raw if flags else mean + std * raw).astype(np.float32)
            inside, scale = (x.astype(np.float64), 1.0) if flags else ((x - mean) / std, std)
            session = onnxruntime.InferenceSession(str(file))
            worst = 0.0
            for t in (0.0, 0.37, 1.0):
                times = np.full((rows, 1), t, np.float32)
                pieces = np.split(x, times_over)
                v = np.concatenate([session.run(["v"], {"x": piece, "t": times})[0] for piece in pieces])
                expected = scale * self.reference.velocity(model, inside, float(times[0, 0]))
                worst = worse(worst, distance(v, expected))
            self.table.figure(f"{name}: {'raw' if flags else 'data units'}, {rows} rows", worst, 1e-5)

    # -- events --

    def events(self):
        print("\nevents: event files in TensorBoard")
        try:
            model = self.train("events", "--steps", 40, "--tensorboard", "--exact-every", 20, "--exact-rows", 64)
            self.windfield("train", "--resume", model.parent, "--steps", 60, "--no-pictures")
        except Failed:
            return
        with (model.parent / "metrics.csv").open() as file:
            rows = {int(row["step"]): row for row in csv.DictReader(file)}
        events = EventAccumulator(str(model.parent / "tensorboard")).Reload()
        for tag in ("loss", "learning_rate", "gradient_norm", "l_fm", "l_cfm"):
            try:
                read = {event.step: np.float32(event.value) for event in events.Scalars(tag)}
            except KeyError:
                read = {}
            logged = {step: np.float32(row[tag]) for step, row in rows.items() if row[tag]}
            # The last row of a run is there wherever it ends; the events are those of every run that passes it.
            logged = {step: value for step, value in logged.items() if step % 10 == 0 or (step + 1) % 20 == 0}
            self.table.fact(f"{tag}: the {len(logged)} rows of metrics.csv", len(logged) > 2 and read == logged)

    # -- guide --

    def guide(self):
        print("\nguide: the blocks of Python in docs/")
        os.environ["PATH"] = os.pathsep.join([str(Path(self.binary).parent), os.environ["PATH"]])
        for page in sorted(DOCS.glob("*.md")):
            blocks = list(blocks_of(page))
            if not any(language == "python" for _, language, _ in blocks):
                continue
            folder = (self.work / page.stem).resolve()
            folder.mkdir()
            names = {}
            for line, language, text in blocks:
                if language not in ("sh", "python"):
                    continue
                said = ""
                here = os.getcwd()
                os.chdir(folder)
                try:
                    if language == "sh":
                        done = subprocess.run(["sh", "-eu", "-c", text], capture_output=True, text=True)
                        said = "" if done.returncode == 0 else f"exit status {done.returncode}: {done.stderr[-200:]}"
                    else:
                        exec(compile(text, f"{page.name}:{line}", "exec"), names)
                except Exception as error:
                    said = f"{type(error).__name__}: {error}"
                finally:
                    os.chdir(here)
                self.table.fact(f"{page.name}:{line}, {language}", not said, said)
                if said:
                    # What follows builds on it.
                    break


def blocks_of(page):
    """(line, language, text) of each fenced block."""
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    for number, line in lines:
        if line.startswith("```"):
            text = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                text.append(inner)
            yield number, line[3:], "\n".join(text)


def units(record):
    """Mean and standard deviation of the data; 0 and 1 where it was not standardised."""
    given = record["standardize"] or {"mean": [0.0] * record["dim"], "std": [1.0] * record["dim"]}
    return np.asarray(given["mean"], np.float64), np.asarray(given["std"], np.float64)


def distance(ours, theirs):
    """The largest distance between two rows, over the root mean square length of a row."""
    if ours.shape != theirs.shape:
        return float("inf")
    length = np.sqrt(np.mean(np.sum(theirs**2, axis=1)))
    return float(np.max(np.linalg.norm(ours - theirs, axis=1)) / length)


def worse(*values):
    """The largest, or NaN where there is one."""
    return float(np.max(values))


def main(binary, work, with_torch):
    if with_torch:
        import reference_torch as reference

        print(f"PyTorch {reference.torch.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}")
    else:
        reference = reference_numpy
        print(f"NumPy {np.__version__}, Python {sys.version.split()[0]}; PyTorch is left out (--numpy)")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    checks = Checks(binary, work, reference)
    checks.field()
    checks.written()
    checks.paths()
    checks.onnx()
    checks.events()
    if with_torch:
        checks.replay()
        checks.guide()
    else:
        print("\nPyTorch was left out: nothing above says that it reads these files or can redo a training run, or that the")
        print("guide's blocks of Python run.")
    print(f"\n{checks.table.passed} passed, {checks.table.failed} failed")
    return 1 if checks.table.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), "--numpy" not in sys.argv[3:]))
