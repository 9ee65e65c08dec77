"""windfield's files in PyTorch, and PyTorch's in windfield.

    python3 tests/interop/pytorch.py [--numpy] [--work DIR] WINDFIELD

WINDFIELD is the program. What is needed from PyPI is installed into a virtual environment under DIR
(target/interop): about 3 GB to fetch and 5.5 GB on disk, since PyTorch's Linux wheels bring CUDA along.
--numpy leaves PyTorch out: a smaller set of checks, which says so in its last lines.

What is checked, and how, is in checks.py.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def environment(venv, requirements):
    """The Python of a virtual environment that has what `requirements` lists; made when it is not there."""
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = venv / ("installed-" + hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:16])
    if not stamp.exists():
        print(f"Installing {', '.join(requirements)} into {venv} …", flush=True)
        venv.parent.mkdir(parents=True, exist_ok=True)
        log = venv.parent / "pip.log"
        pip = [str(python), "-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off", *requirements]
        with log.open("w") as out:
            for command in ([sys.executable, "-m", "venv", "--clear", str(venv)], pip):
                if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode != 0:
                    said = [line for line in log.read_text().splitlines() if line.strip()] or ["nothing was said"]
                    sys.exit(f"cannot install the Python packages ({said[-1].strip()}); all that was said is in {log}")
        stamp.touch()
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windfield", type=Path, metavar="WINDFIELD", help="the program")
    parser.add_argument("--numpy", action="store_true", help="leave PyTorch out")
    parser.add_argument("--work", type=Path, default=HERE.parent.parent / "target" / "interop", metavar="DIR")
    options = parser.parse_args()
    if not options.windfield.is_file():
        sys.exit(f"{options.windfield}: no such program; build it with `cargo build --release`")

    wanted = (HERE / "requirements.txt").read_text().split()
    if options.numpy:
        wanted = [name for name in wanted if not name.startswith("torch")]
    python = environment(options.work / ("numpy" if options.numpy else "torch"), wanted)
    checks = [str(python), str(HERE / "checks.py"), str(options.windfield.resolve()), str(options.work / "runs")]
    return subprocess.run(checks + ["--numpy"] * options.numpy).returncode


if __name__ == "__main__":
    sys.exit(main())
