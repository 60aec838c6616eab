"""How fast a large frame goes with a run and comes back, beside a bare upload and download of the same Arrow file.

Whatever way a frame goes, its bytes go up once and down once, so both ways are held against one
upload and one download. What a run takes anyway is taken off: its start, and importing pandas and
pyarrow, by a run with a frame of one row. ``LK_BENCH_FRAME_BYTES`` makes the frame smaller.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from figures import Figure

import lk_jupyter
from lk_jupyter.code.source import Source
from lk_jupyter.localcloud import launch
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.bucket import VALUES, returned_key
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.upload import upload_inputs
from lk_jupyter.session import Session

SIZE = int(os.environ.get("LK_BENCH_FRAME_BYTES", "1_000_000_000"))
COLUMNS = 10
ROUNDS = 2

#: Of the speed of the bare way, this much is to be kept.
KEPT = 0.7


def measure() -> Iterator[Figure]:
    """Yield the ratios of both ways, and the time of a frame that has not changed."""
    with tempfile.TemporaryDirectory() as folder, _session(Path(folder)) as session:
        file = Path(folder, "frame.arrow")
        _write(_frame(0), file)
        small = {"frame": _frame(0).head(1)}
        empty = min(_seconds(lambda: _run(session, "pass", inputs=small)) for _ in range(ROUNDS))
        rounds = [_round(session, file, number) for number in range(1, ROUNDS + 1)]
        bare, there, back = (min(column) for column in zip(*rounds, strict=True))
        yield _compared("in", there - empty, bare)
        yield _compared("out", back, bare)
        yield _unchanged(session)
        yield from _changed_column(session)


def _changed_column(session: Session) -> Iterator[Figure]:
    """Yield the megabytes that a cell uploads and returns if one of ten columns of a frame of 100 MB has changed."""
    columns = {f"column {number}": np.arange(1_250_000.0) + number for number in range(10)}
    frame = pd.DataFrame(columns)
    _run(session, "len(frame)", inputs={"frame": frame}, sync=True)
    before = {info.key for info in session.storage.ls(VALUES)}
    frame["column 0"] += 10
    run = _run(session, "frame['column 0'] += 10", inputs={"frame": frame}, sync=True)
    uploaded = sum(info.size for info in session.storage.ls(VALUES) if info.key not in before)
    token = run.bundle.token if run.bundle else ""
    returned = sum(info.size for info in session.storage.ls(returned_key(token, "")))
    assert run.outputs()["frame"].equals(frame.assign(**{"column 0": frame["column 0"] + 10}))
    for name, size in {"uploads": uploaded, "returns": returned}.items():
        yield Figure(f"variables: a cell after df['a'] += 1 on 100 MB {name}", size / 1e6, 10.001, "MB")


def _round(session: Session, file: Path, number: int) -> tuple[float, float, float]:
    """Return the seconds of the bare way, of a frame that goes there, and of one that comes back."""
    frame = _frame(number)
    bare = _seconds(lambda: _there_and_back(session, file))
    there = _seconds(lambda: _run(session, "assert len(frame)", inputs={"frame": frame}))
    started: list[Run] = []
    code = f"import numpy, pandas, pyarrow\n{_MAKING}\nframe = make({SIZE}, {COLUMNS}, {number})"
    making = _seconds(lambda: _run(session, code))
    back = _seconds(lambda: started.append(_run(session, code, outputs=["frame"])) or started[0].outputs()["frame"])
    return bare, there, back - making


_MAKING = """
def make(size, columns, seed):
    numbers = numpy.random.default_rng(seed).random((columns, size // columns // 8))
    return pandas.DataFrame({f"column {at}": column for at, column in enumerate(numbers)}, copy=False)
"""


def _frame(seed: int) -> pd.DataFrame:
    known: dict[str, object] = {"numpy": np, "pandas": pd}
    exec(_MAKING, known)
    return known["make"](SIZE, COLUMNS, seed)  # type: ignore[operator, no-any-return]


def _there_and_back(session: Session, file: Path) -> None:
    session.storage.put(file, "bare/frame.arrow")
    session.storage.get("bare/frame.arrow", file.with_suffix(".back"))
    session.storage.remove("bare/frame.arrow")


def _run(session: Session, code: str, **options: object) -> Run:
    run = session.run(code, machine="cpu", timeout=600, **options)  # type: ignore[arg-type]
    run.result()
    return run


def _unchanged(session: Session) -> Figure:
    """Measure what it takes to prepare and complete a run again whose frame the bucket has."""
    source = Source("pass", namespace={"frame": _frame(1)})
    options = RunOptions(inputs=["frame"], machine="cpu", timeout=600)

    def complete() -> None:
        upload_inputs(session, prepare(session, source, options), lambda _: None)

    complete()
    seconds = min(_seconds(complete) for _ in range(3))
    return Figure(f"variables: {SIZE / 1e9:g} GB frame sent again, unchanged", seconds, 0.3, "s", "nothing travels")


def _compared(way: str, seconds: float, bare: float) -> Figure:
    beside = f"{seconds:.1f} s, bare upload and download {bare:.1f} s"
    return Figure(
        f"variables: {SIZE / 1e9:g} GB frame --{way}, beside the bare way", seconds / bare, 1 / KEPT, "x", beside
    )


def _write(frame: pd.DataFrame, file: Path) -> None:
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


@contextmanager
def _session(folder: Path) -> Iterator[Session]:
    """Yield a session on a fresh local cloud; what the user has set stays out of it."""
    os.environ.update(LK_JOURNAL=str(folder / "journal.sqlite"), LK_LOG_DIR=str(folder / "logs"))
    cloud = launch.start(folder / "cloud")
    try:
        with lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key) as session:
            yield session
    finally:
        launch.stop(cloud.data)
