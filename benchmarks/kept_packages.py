"""Compare the start of runs: without packages, with a lock for the first time, and with the packages that it kept.

``python benchmarks/kept_packages.py torch transformers --check "import torch, transformers"`` resolves the packages to
a lock with pip, and starts runs on a local cloud. The start is the time from the submission to the first line of the
code; "checked" is the time until the code of ``--check`` has ended after that line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lk_jupyter.localcloud import launch
from lk_jupyter.session import Session, connect

ROUNDS = 3
CODE = "print('first line', flush=True)"


def write_lock(packages: list[str], folder: Path) -> int:
    """Write a lock of packages and their dependencies, and return their number."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q", "--report", str(report)]
    subprocess.run([*command, *packages], check=True)
    rows = [row["metadata"] for row in json.loads(report.read_text())["install"]]
    pins = sorted(f"{row['name']}=={row['version']}" for row in rows)
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n")
    return len(pins)


def measure_start(session: Session, code: str = CODE, **options: object) -> tuple[float, float, str]:
    """Return the seconds until the first and the last line of a run, and the source of its packages."""
    started = time.monotonic()
    run = session.run(f"{code}\nprint('last line', flush=True)", timeout=600, **options)
    seconds: dict[str, float] = {}
    for event in run.follow():
        for line in ("first line", "last line"):
            if line in getattr(event, "content", ""):
                seconds.setdefault(line, time.monotonic() - started)
    run.result()
    messages = [frame.payload for frame in run.messages.read("packages")]
    sources = ", ".join(f"{row['source']} in {row['seconds']:.2f} s" for row in messages if "source" in row)
    return seconds["first line"], seconds["last line"], sources


def main() -> None:
    """Print the start of each kind of run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", help="packages of the lock")
    parser.add_argument("--check", default="", help="code that the runs with packages execute after the first line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        machine = home / "machine"
        machine.mkdir()
        os.environ.update(TMPDIR=str(machine), LK_KEEP_PACKAGES="on", XDG_DATA_HOME=str(home / "data"))
        os.environ.update(LK_JOURNAL=str(home / "journal.sqlite"), LK_LOG_DIR=str(home / "logs"))
        os.chdir(home)
        print(f"{write_lock(arguments.packages, home)} packages in the lock")
        cloud = launch.start(home / "cloud", "--engine", "none")
        try:
            with connect(cloud.base_url, cloud.api_key) as session:
                measure_start(session)
                print_starts(session, machine, f"{CODE}\n{arguments.check}")
        finally:
            launch.stop(cloud.data)


def print_starts(session: Session, machine: Path, code: str) -> None:
    """Print the medians of starts, and what each adds to a run without packages."""
    bare = median(measure_start(session)[0] for _ in range(ROUNDS))
    print(f"no packages: {bare:.2f} s")
    seconds, checked, source = measure_start(session, code, requirements=["project"])
    print(f"first run: {seconds:.2f} s, checked after {checked:.2f} s ({source})")
    for name in ("same machine", "new machine"):
        rows = []
        for _ in range(ROUNDS):
            if name == "new machine":
                for path in machine.glob("lk_packages_*"):
                    shutil.rmtree(path)
            rows.append(measure_start(session, code, requirements=["project"]))
        seconds = median(row[0] for row in rows)
        checked, sources = median(row[1] for row in rows), rows[0][2]
        print(f"next run, {name}: {seconds:.2f} s, {seconds - bare:+.2f} s, checked after {checked:.2f} s ({sources})")


if __name__ == "__main__":
    main()
