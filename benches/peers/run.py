"""windfield and other programs at the same work, side by side.

    python3 benches/peers/run.py WINDFIELD

Installs PyTorch, JAX and burn under target/peers, has each train and sample the same networks in turn, round by round,
and writes a table of ratios to benches/results/peers-DEVICE-DATE.md and .json. README.md beside this file says what is
measured. What cannot take part is named in the table with the reason.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import calm
import contenders
import data
import install
import report
from install import HERE, Missing
from shape import Shape

ROOT = HERE.parent.parent
TRAINING = ["2:3x64:256", "2:4x256:256", "2:4x256:1024", "2:4x256:4096", "64:3x512:256", "784:3x512:256"]
# Particles at once: 100 000 go in chunks of 10 000 on a CPU; on a GPU a million fit.
# Exact assignments: DIM:POINTS.
COUPLING = ["2:512", "2:2048", "64:512"]
SAMPLING = {False: ["2:3x64:10000"], True: ["2:3x64:1000000"]}
# Time for a peer to start: libraries of gigabytes are read.
START = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windfield", nargs="?", type=Path, metavar="WINDFIELD", help="the program")
    parser.add_argument("--contenders", metavar="NAME,…", help=f"these alone, of {', '.join(contenders.NAMES)}")
    parser.add_argument("--shapes", metavar="SHAPE,…", help="training: DIM:LAYERSxWIDTH:BATCH; `none` for none")
    parser.add_argument("--sampling", metavar="SHAPE,…", help="sampling: DIM:LAYERSxWIDTH:PARTICLES; `none` for none")
    parser.add_argument("--coupling", metavar="DIM:POINTS,…", help="assignments; `none` for none")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="measurements of each figure (5)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="time of a measurement, at most (2)")
    parser.add_argument(
        "--budget", type=float, default=3600.0, metavar="S", help="time of all of it, installation left out (3600)"
    )
    parser.add_argument(
        "--calm",
        type=float,
        metavar="PERCENT",
        help="wait until other programs use less of the processor, and measure again what they disturbed (Linux)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, and cores, of each contender (all)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of PyTorch and JAX")
    parser.add_argument("--adapter", metavar="NAME", help="windfield's adapter")
    parser.add_argument("--python", type=Path, help="use this Python's PyTorch and JAX, and install none")
    parser.add_argument("--burn", type=Path, metavar="PROGRAM", help="use this build of burn/, and build none")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers", metavar="DIR")
    parser.add_argument("--out", type=Path, default=ROOT / "benches" / "results", metavar="DIR")
    parser.add_argument("--self-test", action="store_true", help="check this program itself, and measure nothing")
    options = parser.parse_args()
    if options.self_test:
        return options
    if options.windfield is None:
        parser.error("WINDFIELD is missing: give the program, such as target/release/windfield")
    if not options.windfield.is_file():
        sys.exit(f"{options.windfield}: no such program; build it with `cargo build --release`")
    for name, least in (("rounds", 1), ("threads", 1), ("calm", 1), ("seconds", 0.01), ("budget", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name} {value} is too small: it takes at least {least}")
    options.windfield = options.windfield.resolve()
    options.work = options.work.resolve()
    options.cuda = options.device == "cuda" or (options.device == "auto" and gpu() is not None)
    options.contenders = options.contenders.split(",") if options.contenders else contenders.NAMES
    unknown = [name for name in options.contenders if name not in contenders.NAMES]
    if unknown:
        parser.error(f"--contenders: '{unknown[0]}' is none of {', '.join(contenders.NAMES)}")
    try:
        options.shapes = shapes(options.shapes, TRAINING)
        options.sampling = shapes(options.sampling, SAMPLING[options.cuda])
        options.coupling = problems(options.coupling)
    except ValueError as error:
        parser.error(str(error))
    return options


def shapes(given, usual):
    texts = usual if given is None else [] if given == "none" else given.split(",")
    return [Shape.parse(text) for text in texts]


def problems(given):
    """Assignments as shapes without a network."""
    texts = COUPLING if given is None else [] if given == "none" else given.split(",")
    found = [re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text.strip()) for text in texts]
    if None in found:
        raise ValueError(f"'{texts[found.index(None)]}' is no problem: give DIM:POINTS, such as 2:512")
    return [Shape(int(each[1]), 1, 1, int(each[2])) for each in found]


def gpu():
    """The first NVIDIA GPU, by its driver's own word."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = said.stdout.strip().splitlines()
    return lines[0] if said.returncode == 0 and lines else None


def cpu():
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        found = []
    return found[0] if found else platform.processor() or platform.machine()


def slug(name):
    """`llvmpipe (LLVM 15.0.6, 256 bits)` as `llvmpipe`."""
    plain = re.sub(r"\(.*?\)", "", name).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "unknown"


def check_steps(shape):
    """Steps after which losses are compared, and over how many: 1000 where they cost nothing, fewer where they do."""
    steps = int(min(1000, max(40, 1e11 // shape.flops)))
    return steps, max(10, steps // 20)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """One comparison, from the start of the peers to the table."""

    def __init__(self, options):
        self.options = options
        options.work.mkdir(parents=True, exist_ok=True)
        self.setting = contenders.Setting(options, options.work)
        self.there = {}
        self.processor = calm.Processor()
        self.results = {
            "schema": 1,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "device": "",
            "machine": {"cpu": cpu(), "cores": os.cpu_count(), "gpu": gpu(), "system": platform.platform(terse=True)},
            "threads": self.setting.threads,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "others": [],
            "about": {},
            "versions": {},
            "missing": {},
            "training": [],
            "sampling": [],
            "coupling": [],
        }

    def main(self):
        begun = time.monotonic()
        try:
            self.gather()
            self.deadline = begun + install.spent + self.options.budget
            self.check()
            self.write()
            self.measure()
        finally:
            for contender in self.there.values():
                contender.close()
        return self.write()

    def left(self):
        return self.deadline - time.monotonic()

    def patience(self):
        """How long one request may take: none takes all the time from the others."""
        return max(30.0, min(600.0, self.left() / 3))

    def gather(self):
        """Installs and starts everyone."""
        options = self.options
        networks = options.shapes + options.sampling
        dims = {shape.dim for shape in networks + options.coupling}
        # Who has nothing to do is not started.
        idle = [name for name in options.contenders if not self.has_work(name, networks, options.coupling)]
        for dim in dims:
            data.prepare(self.setting.data, dim)
        for name in options.contenders:
            if name in idle:
                continue
            contender = contenders.make(name, self.setting)
            contender.log.unlink(missing_ok=True)
            self.results["about"][name] = contender.about
            try:
                contender.prepare(START)
                self.there[name] = contender
                self.results["versions"][name] = contender.versions
                say(f"{name}: {contender.versions}")
            except Missing as why:
                contender.close()
                self.results["missing"][name] = str(why)
                say(f"{name}: not there: {why}")
        adapter = getattr(self.there.get("windfield"), "adapter", {}).get("name")
        self.results["device"] = adapter or (self.options.cuda and gpu()) or cpu()

    @staticmethod
    def has_work(name, networks, problems):
        takes_part = contenders.takes_part
        return (networks and takes_part(name, "training")) or (problems and takes_part(name, "coupling"))

    def those(self, kind):
        """Who does work of this kind."""
        return [pair for pair in self.there.items() if contenders.takes_part(pair[0], kind)]

    def check(self):
        """Has everyone show that it does the work."""
        for shape in self.options.shapes:
            steps, last = check_steps(shape)
            row = {"shape": str(shape), "steps": steps, "last": last, "contenders": {}}
            self.results["training"].append(row)
            for name, contender in self.those("training"):
                self.attempt(row, name, "loss", lambda: contender.check(shape, steps, last, self.patience()))
        for shape in self.options.sampling:
            truth = data.moments(data.read(data.prepare(self.setting.data, shape.dim)))
            row = {"shape": str(shape), "data": truth, "contenders": {}}
            self.results["sampling"].append(row)
            for name, contender in self.those("sampling"):
                self.attempt(row, name, "moments", lambda: contender.check_sample(shape, self.patience()))
        for shape in self.options.coupling:
            row = {"shape": str(shape), "contenders": {}}
            self.results["coupling"].append(row)
            ours = self.there.get("windfield")
            try:
                files = ours.problem(shape, self.patience()) if ours else None
            except Missing as why:
                files = None
                say(f"{shape}: no problem: {why}")
            for name, contender in self.those("coupling"):
                if files:
                    cost = lambda: contender.check_couple(shape, files, self.patience())
                    self.attempt(row, name, "cost", cost)
                else:
                    row["contenders"][name] = {"rates": {}}

    def attempt(self, row, name, field, work):
        """Does a piece of work and notes its result, or why there is none: then that contender is out of that row."""
        entry = row["contenders"].setdefault(name, {"rates": {}})
        if self.left() <= 0:
            entry["failed"] = "the time was over"
            return
        begun = time.monotonic()
        try:
            entry[field] = work()
            said = entry[field]
        except Missing as why:
            entry["failed"] = said = str(why)
        say(f"{row['shape']:16} {name:14} {field}: {said}  ({time.monotonic() - begun:.1f} s)")

    def measure(self):
        """Round by round, every shape and every contender in turn; every other round begins at the other end."""
        pieces = [(row, "train") for row in self.results["training"]]
        pieces += [(row, "sample") for row in self.results["sampling"]]
        pieces += [(row, "couple") for row in self.results["coupling"]]
        count = sum(1 for row, _ in pieces for entry in row["contenders"].values() if "failed" not in entry)
        # Half of the time is for what goes with a measurement: programs that start, the first steps that do not count.
        fair = 0.5 * self.left() / max(1, count * self.options.rounds)
        seconds = min(self.options.seconds, max(0.1, fair))
        self.results["seconds"] = seconds
        self.results["rounds"] = 0
        longest = 0.0
        self.ahead = count * self.options.rounds
        for turn in range(self.options.rounds):
            begun = time.monotonic()
            if turn > 0 and longest > self.left():
                say(f"the time allows {turn} rounds and no more")
                break
            for row, what in pieces:
                shape = Shape.parse(row["shape"])
                names = [name for name, entry in row["contenders"].items() if "failed" not in entry]
                for name in names if turn % 2 == 0 else reversed(names):
                    work = getattr(self.there[name], what)
                    self.turn(row, name, turn, lambda: work(shape, seconds, self.patience()))
            longest = max(longest, time.monotonic() - begun)
            self.results["rounds"] = turn + 1
            self.write()

    def turn(self, row, name, turn, work):
        """One measurement; where calm is asked for, several, until one was not disturbed or the time is over."""
        entry, limit = row["contenders"][name], (self.options.calm or 100.0) / 100
        fair, self.ahead = self.left() / max(1, self.ahead), self.ahead - 1
        begun, best = time.monotonic(), None
        # One that failed is started again: its id may change meanwhile.
        process = lambda: self.there[name].process and self.there[name].process.pid
        while best is None or (best[1] >= limit and time.monotonic() - begun < fair):
            if self.left() <= 0:
                break
            if limit < 1:
                self.processor.wait(limit, fair - (time.monotonic() - begun))
            try:
                rate, others = self.processor.watch(work, process)
            except Missing as why:
                entry["failed"] = str(why)
                say(f"round {turn + 1}  {row['shape']:16} {name:14} {why}")
                return
            # Where nobody knows, nobody disturbs.
            best = min(filter(None, (best, (rate, others or 0.0))), key=lambda each: each[1])
        if best is None:
            if not entry["rates"]:
                entry["failed"] = "the time was over"
            return
        entry["rates"][turn] = best[0]
        # Which of its kernels windfield chose.
        if kernels := getattr(self.there[name], "kernels", None):
            entry["kernels"] = kernels
        self.results["others"].append(best[1])
        say(f"round {turn + 1}  {row['shape']:16} {name:14} {report.number(best[0])}  (others: {best[1]:.0%})")

    def write(self):
        """Writes the table and the figures; the exit status: 1 where someone did other work than the rest."""
        results = self.results
        report.digest(results)
        out = self.options.out
        out.mkdir(parents=True, exist_ok=True)
        stem = f"peers-{slug(results['device'])}-{results['date']}"
        (out / f"{stem}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (out / f"{stem}.md").write_text(report.markdown(results), encoding="utf-8")
        self.path = out / f"{stem}.md"
        return 1 if report.disagreeing(results) or not self.there else 0


def main():
    options = arguments()
    if options.self_test:
        import self_test

        return self_test.main()
    run = Run(options)
    try:
        status = run.main()
    except KeyboardInterrupt:
        sys.exit(130)
    print(run.path.read_text(encoding="utf-8"))
    say(f"written to {run.path} and .json")
    for shape, name in report.disagreeing(run.results):
        say(f"{name} did not do the same work at {shape}: see the table")
    return status


if __name__ == "__main__":
    sys.exit(main())
