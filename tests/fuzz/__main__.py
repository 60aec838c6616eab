"""Fuzz every parser of foreign bytes: ``make fuzz SECONDS=3600``, and a table of the results."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from fuzz.parsers import PARSERS
from fuzz.runner import Totals, fuzz, table_of

FOLDER = Path(".out/fuzz")


def main() -> int:
    """Start as many workers as wanted, each with its own seed, and print the table of their results."""
    reader = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    reader.add_argument("--seconds", type=float, default=60)
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--jobs", type=int, default=2)
    reader.add_argument("--only", default="", help="part of the name of a parser")
    reader.add_argument("--most", type=int, default=sys.maxsize, help="inputs of each parser")
    reader.add_argument("--out", type=Path, default=FOLDER, help="folder for inputs that fail")
    reader.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = reader.parse_args()
    parsers = [parser for parser in PARSERS if given.only in parser.name]
    if given.worker:
        print(json.dumps(fuzz(parsers, given.seconds, given.seed, given.out, given.most)))
        return 0
    began = time.monotonic()
    command = [sys.executable, "-m", "fuzz", "--worker", *sys.argv[1:]]
    workers = [
        subprocess.Popen([*command, "--seed", str(given.seed + number)], stdout=subprocess.PIPE, text=True)
        for number in range(given.jobs)
    ]
    answers = [worker.communicate()[0] for worker in workers]
    totals = {parser.name: Totals() for parser in parsers}
    for answer in answers:
        for name, part in json.loads(answer).items():
            totals[name].add(part)
    print(table_of(totals))
    print(f"{time.monotonic() - began:.0f} s, seeds {given.seed} to {given.seed + given.jobs - 1}")
    return int(any(total.failures for total in totals.values()))


if __name__ == "__main__":
    sys.exit(main())
