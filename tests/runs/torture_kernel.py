"""Starts runs and follows them to their ends, like a notebook's kernel that is killed now and then.

Started again it goes on with what the journal knows. The folder gets one file for each run that was
followed to its end, named like the run, holding its id.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import find_marked
from lk_jupyter.session import Session, connect

AT_ONCE = 12
SIGNS = "abc äöü 日本 😀 <b>&amp;</b> %s {} \\t"


def lines_of(seed: int, number: int) -> list[str]:
    """Return what a run prints: from a few lines to some hundred, many of them alike."""
    random = Random(f"{seed}/{number}")
    count = random.choice((1, 3, 20, 200))
    return [
        f"{line if random.random() < 0.7 else 'same'} {SIGNS[: random.randrange(len(SIGNS))]}" for line in range(count)
    ]


def code_of(seed: int, number: int) -> str:
    """Return the code of a run, which takes up to about a second."""
    pause = Random(f"{seed}-{number}").choice((0, 0, 0.2, 0.8))
    lines = lines_of(seed, number)
    return (
        f"import time\nlines = {lines!r}\nfor line in lines:\n    print(line)\n    time.sleep({pause / len(lines)})\n"
    )


def main(env: dict[str, str], runs: int, seed: int, folder: Path) -> None:
    """Do what is left to do, as a process with this environment; an end is noted once the whole log is there."""
    os.environ.update(env)
    sys.stdout = sys.stderr = (folder.parent / "kernel.log").open("a", encoding="utf-8")
    with connect() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        open_ends = [number for number in range(runs) if not (folder / str(number)).exists()]
        list(threads.map(lambda number: _see_through(session, seed, number, folder), open_ends))


def _see_through(session: Session, seed: int, number: int, folder: Path) -> None:
    run = None
    while run is None:
        try:
            run = _found(session, number) or session.run(code_of(seed, number), name=str(number))
        except LkError as error:
            print(f"{number}: {error!r}", flush=True)
    for _ in run.follow():
        pass
    draft = folder / f"{number}.part"
    draft.write_text(run.execution_id)
    draft.rename(folder / str(number))


def _found(session: Session, number: int) -> Run | None:
    """Return the run of this number if it was started, also where its id never arrived."""
    entry = next((entry for entry in journal().entries() if entry.run_name == str(number)), None)
    if entry is None:
        return None
    if entry.execution_id:
        return Run(session, entry.execution_id)
    run = find_marked(session.client, entry.token, entry.request).user_run
    return Run(session, run.execution_id) if run else None
