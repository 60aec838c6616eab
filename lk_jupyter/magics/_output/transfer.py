"""Show a transfer: a bar while it is active, one line at its end."""

from __future__ import annotations

from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.magics._output.live import LiveOutput, StatusLine
from lk_jupyter.magics._output.rich import Bar, Rows
from lk_jupyter.runs.interrupts import is_interrupt
from lk_jupyter.storage.progress import Progress

#: Names that are told of what was left out.
_NAMED = 5


class TransferView:
    """A context manager: an error or an interrupt within is said in the place of the bar."""

    def __init__(self, shell: InteractiveShell, label: str) -> None:
        self._label = label
        self._output = LiveOutput(shell)

    def __enter__(self) -> TransferView:  # noqa: PYI034 (typing has no Self in Python 3.10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_interrupt(error):
            self._output.show(StatusLine("cancelled", [self._label], "Incomplete files weren't kept."), now=True)
        elif error is not None:
            self._output.settle(StatusLine("failed", [self._label]))

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        self._output.show(Rows([Bar(self._label, progress.share, 1.0, f"{self._label} | {progress}")]))

    def end(self, state: str, facts: list[str], left_out: tuple[str, ...] = ()) -> None:
        """Show what was done in place of the bar, and name what was left out."""
        more = f"and {len(left_out) - _NAMED:,} more" if len(left_out) > _NAMED else ""
        told = [f"Skipped: {line}" for line in left_out[:_NAMED]]
        line = StatusLine(state, facts, "\n".join(filter(None, [*told, more])))
        line.mark = "✓"
        self._output.show(line, now=True)
