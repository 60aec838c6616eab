"""Runs a command with a local cloud beside it, signed in by environment variables.

    python notebooks/on_local_cloud.py [--fresh] [--simulate-gpu] DATA COMMAND...

The cloud keeps its state in the folder DATA; with --fresh the folder is emptied first. With --simulate-gpu, runs on
a GPU machine have GPU curves where this machine has no GPU. The logs of the command's runs go to the folder logs
next to DATA, the journal too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lk_jupyter.localcloud import launch


def main() -> int:
    """Run the command and give its exit code back."""
    asked = _parser().parse_args()
    data = asked.data.resolve()
    launch.stop(data)
    if asked.fresh:
        shutil.rmtree(data, ignore_errors=True)
    cloud = launch.start(data, *(["--simulate-gpu"] if asked.simulate_gpu else []))
    try:
        return _run(
            asked.command,
            {
                "LK_BASE_URL": cloud.base_url,
                "LK_API_KEY": cloud.api_key,
                "LK_LOG_DIR": str(data.with_name("logs")),
                "LK_JOURNAL": str(data.with_name("journal.sqlite")),
            },
        )
    finally:
        launch.stop(data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a command with a local cloud beside it.")
    parser.add_argument("--fresh", action="store_true", help="empty the folder first")
    parser.add_argument("--simulate-gpu", action="store_true", help="simulate GPU curves where there is no GPU")
    parser.add_argument("data", type=Path, help="folder for the state of the cloud")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _run(command: list[str], settings: dict[str, str]) -> int:
    process = subprocess.Popen(command, env={**os.environ, **settings})
    while process.poll() is None:
        with suppress(KeyboardInterrupt):  # the command got it too and ends by itself
            process.wait()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
