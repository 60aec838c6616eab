"""Bars of tqdm: the notebook paints the bars; printed bars stay in the log, and are not shown twice."""

from __future__ import annotations

import atexit
import sys
import time

from ..script import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds between two states of a bar.
PACE = 0.5


def fit(module: Any) -> None:
    """Let every bar of tqdm that writes to stdout or stderr report the progress to the notebook."""
    plain_file, plain_close = module.DisableOnWriteError, module.tqdm.close

    def make_file(file: Any, tqdm_instance: Any) -> Any:
        """Replace the function that makes the file that a bar writes to."""
        bar_file = plain_file(file, tqdm_instance)
        if file in (sys.stdout, sys.stderr) and hasattr(file, "buffer"):
            return BarFile(bar_file, file, tqdm_instance)
        return bar_file

    def close(bar: Any) -> None:
        """Close a bar, and report the end."""
        going = not bar.disable
        plain_close(bar)
        file = getattr(bar, "fp", None)
        if going and isinstance(file, BarFile):
            file.report("ended")

    def close_all() -> None:
        """Close the bars that the code left open: when Python deletes them, nothing can be imported any more."""
        for bar in list(getattr(module.tqdm, "_instances", ())):
            bar.close()

    module.DisableOnWriteError = make_file
    module.tqdm.close = close
    atexit.register(close_all)


class BarFile:
    """The file of a bar: writes text to the log, each piece after a frame that hides the piece in the notebook."""

    _count = 0

    def __init__(self, bar_file: Any, file: Any, bar: Any) -> None:
        BarFile._count += 1
        self._bar_file = bar_file
        self._file = file
        self._bar = bar
        self._number = BarFile._count
        self._last_report = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar_file, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._bar_file == other)

    __hash__ = object.__hash__

    def write(self, text: str) -> None:
        """Write a piece of the bar."""
        now = time.monotonic()
        if now - self._last_report >= PACE:
            self._last_report = now
            self.report("going")
        if printed := str(text).encode(self._file.encoding, "replace"):
            named = driver.inline_frame("hide", {"text": printed.decode(self._file.encoding, "replace")})
            driver.send([named + printed], self._file)

    def report(self, state: Any) -> None:
        """Send the state of the bar."""
        bar = self._bar
        facts = getattr(bar, "format_dict", None)
        if facts is None or not hasattr(bar, "n"):
            return
        text = bar.format_meter(**{**facts, "ncols": 80})
        rest = driver.inline_frame(
            "bar",
            {
                "bar": self._number,
                "n": _parse_number(facts["n"]),
                "total": _parse_number(facts["total"]),
                "label": (facts["prefix"] or "").rstrip(": "),
                "text": text,
                "state": state if state == "going" or bar.leave is not False else "gone",
            },
        )
        driver.send([rest], self._file)


def _parse_number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
