"""Checks of the comparison itself, without any peer: `python3 benches/peers/run.py --self-test`."""

import argparse
import contextlib
import copy
import io
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import calm
import contenders
import data
import report
import run
from install import Missing
from shape import Shape

# A peer that answers, but also prints, fails, falls silent and dies.
PEER = r"""
import json, sys, time
print("a library's greeting")
print("> " + json.dumps({"versions": "1.0"}), flush=True)
for line in sys.stdin:
    kind, shape, *rest = line.split()
    if shape.startswith("9:"):
        sys.exit("out of memory")
    if shape.startswith("8:"):
        time.sleep(60)
    if shape.startswith("7:"):
        print("> not JSON", flush=True)
        continue
    if shape.startswith("6:"):
        print("> " + json.dumps({"error": "no kernel for that"}), flush=True)
        continue
    answers = {
        "check": {"loss": LOSS},
        "train": {"count": 100, "seconds": 0.5},
        "check-sample": {"deviation": 1.0, "product": -0.44},
        "sample": {"count": 1000, "seconds": 0.5},
        "check-couple": {"cost": LOSS},
        "couple": {"count": 10, "seconds": 0.5},
    }
    print("noise"); print("> " + json.dumps(answers[kind]), flush=True)
"""
SHAPE = Shape(2, 3, 64, 256)


def refuses(work, words):
    try:
        work()
    except (Missing, ValueError) as why:
        assert words in str(why), f"'{why}' does not say '{words}'"
        return
    raise AssertionError(f"nothing was refused with '{words}'")


def options(folder, **changed):
    defaults = {
        "threads": 1,
        "cuda": False,
        "python": Path(sys.executable),
        "burn": None,
        "adapter": None,
        "windfield": folder / "none",
        "work": folder,
        "out": folder / "out",
        "contenders": [],
        "shapes": [SHAPE],
        "sampling": [SHAPE],
        "coupling": [],
        "rounds": 3,
        "seconds": 0.1,
        "budget": 60.0,
        "calm": None,
    }
    return argparse.Namespace(**{**defaults, **changed})


def fake(folder, name, loss=3.0):
    script = folder / f"{name}.py"
    script.write_text(PEER.replace("LOSS", str(loss)))
    peer = contenders.Peer(name, contenders.Setting(options(folder), folder))
    peer.command = [sys.executable, str(script)]
    peer.prepare = peer.start
    return peer


def shapes_are_read(folder):
    assert Shape.parse("64:3x512:256") == Shape(64, 3, 512, 256)
    assert str(Shape.parse(" 2:3×64:256")) == "2:3x64:256"
    for text in ("", "2:3x64", "2:3x64:0", "2:3x64:256:1", "a:3x64:256"):
        refuses(lambda: Shape.parse(text), "is no shape")
    assert Shape(2, 3, 64, 256).flops == 6 * 256 * (3 * 64 + 2 * 64 * 64 + 64 * 2)
    assert run.check_steps(Shape(2, 3, 64, 256)) == (1000, 50)
    assert run.check_steps(Shape(2, 4, 256, 4096)) == (40, 10)


def data_are_what_they_say(folder):
    for dim in (1, 2, 5):
        path = data.prepare(folder, dim)
        table = data.read(path)
        assert len(table) == dim and all(len(column) == data.ROWS for column in table)
        for column, again in zip(data.columns(dim), table):
            assert abs(math.fsum(column)) < 1e-6 * data.ROWS
            assert abs(math.fsum(value**2 for value in column) / data.ROWS - 1) < 1e-9
            assert max(abs(a - b) for a, b in zip(column, again)) < 1e-6
    deviation, product = data.moments(data.read(folder / "moons-2.npy"))
    assert abs(deviation - 1) < 1e-6 and product < -2 * report.TOLERANCE, "noise would pass for data"
    (folder / "other.npy").write_bytes(b"PK\x03\x04")
    refuses(lambda: data.read(folder / "other.npy"), "is no .npy file")


def spreads_and_ratios(folder):
    assert report.spread([3, 1, 2]) == {"median": 2, "min": 1, "max": 3, "rounds": 3}
    assert report.spread([]) is None
    # Only rounds in which both were measured, and each against its own.
    assert report.ratios({0: 10, 1: 30, 2: 8}, {0: 5, 1: 10}) == {"median": 2.5, "min": 2, "max": 3, "rounds": 2}
    assert report.ratios({}, {0: 5}) is None
    assert report.agreement({"a": 3.0, "b": 3.1, "c": 1.5}) == {"a": True, "b": True, "c": False}
    assert report.agreement({"a": 3.0, "b": 3.1, "c": float("nan")})["c"] is False
    assert [report.number(value) for value in (12345.6, 123.4, 1.2345, 0.0123, 0.00012)] == [
        "12 346",
        "123",
        "1.23",
        "0.0123",
        "0.0001",
    ]
    assert run.slug("llvmpipe (LLVM 15.0.6, 256 bits)") == "llvmpipe"
    assert run.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def peers_may_fail(folder):
    peer = fake(folder, "burn-cpu")
    try:
        peer.start(20)
        assert peer.versions == "1.0"
        assert peer.train(SHAPE, 0.1, 20) == 200
        refuses(lambda: peer.train(SHAPE._replace(dim=6), 0.1, 20), "no kernel for that")
        refuses(lambda: peer.train(SHAPE._replace(dim=7), 0.1, 20), "no JSON")
        refuses(lambda: peer.train(SHAPE._replace(dim=9), 0.1, 20), "ended with status 1: out of memory")
        # It is started again.
        assert peer.sample(SHAPE, 0.1, 20) == 2000
        begun = time.monotonic()
        refuses(lambda: peer.train(SHAPE._replace(dim=8), 0.1, 0.5), "no answer within")
        assert time.monotonic() - begun < 30
        assert peer.check_sample(SHAPE, 20) == (1.0, -0.44)
    finally:
        peer.close()
    peer.command = [str(folder / "nowhere")]
    refuses(lambda: peer.start(20), "cannot be started")
    graphs = contenders.Peer("torch-graphs", contenders.Setting(options(folder), folder))
    refuses(lambda: graphs.prepare(20), "need a CUDA device")


def whole_runs(folder):
    """Two that agree, one that does other work, one that is missing, one that fails at a shape."""
    losses = {"windfield": 3.0, "torch-eager": 3.1, "jax-jit": 1.5, "burn-cpu": None}
    failing = SHAPE._replace(dim=6)

    def make(name, setting):
        peer = fake(folder, "burn-cpu" if name == "windfield" else name, losses[name])
        peer.about = name
        if losses[name] is None:
            peer.command = [str(folder / "nowhere")]
        return peer

    kept = contenders.make
    contenders.make = make
    try:
        chosen = options(folder, contenders=list(losses), shapes=[SHAPE, failing], sampling=[SHAPE])
        comparison = run.Run(chosen)
        with contextlib.redirect_stderr(io.StringIO()):
            status = comparison.main()
    finally:
        contenders.make = kept
    assert status == 1, "other work must show in the exit status"
    assert report.disagreeing(comparison.results) == [(str(SHAPE), "jax-jit")]
    first = comparison.results["training"][0]["contenders"]
    assert first["torch-eager"]["ratio"]["median"] == 1 and first["torch-eager"]["ratio"]["rounds"] == 3
    text = comparison.path.read_text(encoding="utf-8")
    assert f"| {SHAPE} | 1 (1 to 1) | 1 (1 to 1) |" in text, text
    for said in ("**1.5 ≠**", "no kernel for that", "**burn-cpu** (burn-cpu): cannot be started"):
        assert said in text, text
    # With no time left, nothing is measured and everything is said.
    with contextlib.redirect_stderr(io.StringIO()):
        contenders.make = make
        try:
            hurried = run.Run(options(folder, contenders=["windfield"], budget=0.0))
            hurried.main()
        finally:
            contenders.make = kept
    assert "the time was over" in hurried.path.read_text(encoding="utf-8")
    again = copy.deepcopy(comparison.results)
    report.digest(again)
    assert again == comparison.results, "a second digest changes nothing"


def others_are_noticed(folder):
    processor = calm.Processor()
    if not processor.known:
        return
    spin = [sys.executable, "-c", "import time\nend = time.time() + 1\nwhile time.time() < end: pass"]
    own, _ = processor.watch(lambda: subprocess.run(spin).returncode)
    assert own == 0
    # Our own work is not that of others; a process that nobody has claimed is.
    stranger = subprocess.Popen(spin)
    _, others = processor.watch(lambda: time.sleep(0.8))
    stranger.wait()
    assert others * processor.cores > 0.2, others
    stranger = subprocess.Popen(spin)
    _, own = processor.spent(lambda: stranger.pid)
    time.sleep(0.8)
    assert processor.spent(lambda: stranger.pid)[1] - own > 0.1
    stranger.wait()
    begun = time.monotonic()
    processor.wait(-1.0, 0.5)
    assert time.monotonic() - begun < 10


def main():
    checks = [shapes_are_read, data_are_what_they_say, spreads_and_ratios]
    checks += [peers_may_fail, others_are_noticed, whole_runs]
    failed = 0
    for check in checks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(Path(folder))
                print(f"ok      {check.__name__}")
            except Exception as error:  # all of them are to be seen
                failed += 1
                print(f"FAILED  {check.__name__}: {type(error).__name__}: {error}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0
