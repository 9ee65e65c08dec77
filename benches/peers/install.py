"""Brings the peers here: virtual environments and a build of burn, under target/peers. Nothing else is touched."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What each environment asks for; requirements.txt says in which version.
PACKAGES = {"torch": ["torch", "numpy"], "jax": ["jax", "numpy"], "ot": ["POT", "scipy", "numpy"]}


# Seconds that installing has taken.
spent = 0.0


class Missing(Exception):
    """Why a peer cannot take part, in one line."""


def last_line(log):
    """What a program said last, which is mostly what went wrong."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return said[-1][:300] if said else "nothing was said"


def run(commands, log, what, env=None):
    """Runs commands one after the other; the first that fails is why something is missing."""
    global spent
    begun = time.monotonic()
    try:
        attempt(commands, log, what, env)
    finally:
        spent += time.monotonic() - begun


def attempt(commands, log, what, env):
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        for command in commands:
            try:
                status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=env).returncode
            except OSError as error:
                raise Missing(f"{what}: {command[0]}: {error.strerror}") from None
            if status != 0:
                lines = log.read_text(errors="replace").splitlines()
                errors = [line for line in lines if line.lower().startswith("error")]
                said = errors[-1][:300] if errors else last_line(log)
                raise Missing(f"{what}: {said} (all that was said is in {log})")


def environment(name, work, cuda):
    """The Python of a virtual environment with that peer in it; made when it is not there."""
    wanted = list(PACKAGES[name])
    if name == "jax" and cuda:
        wanted[0] = "jax[cuda13]"
    pins = HERE / "requirements.txt"
    venv = work / name
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = venv / ("installed-" + hashlib.sha256((" ".join(wanted) + pins.read_text()).encode()).hexdigest()[:16])
    if not stamp.exists():
        print(f"installing {' '.join(wanted)} into {venv} …", file=sys.stderr, flush=True)
        pip = [str(python), "-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off"]
        run(
            [[sys.executable, "-m", "venv", "--clear", str(venv)], [*pip, "--constraint", str(pins), *wanted]],
            work / f"{name}-install.log",
            "cannot be installed",
        )
        stamp.touch()
    return python


def burn(work, cuda):
    """The program in burn/, built with its own lock file."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Missing("cannot be built: there is no cargo")
    target = work / "burn"
    if not (target / "release").exists():
        print(f"building burn into {target}, which takes a while …", file=sys.stderr, flush=True)
    command = [cargo, "build", "--release", "--locked", "--manifest-path", str(HERE / "burn" / "Cargo.toml")]
    command += ["--features", "spirv"] if cuda else []
    run([command], work / "burn-build.log", "cannot be built", env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    return target / "release" / ("windfield-peer-burn.exe" if os.name == "nt" else "windfield-peer-burn")
