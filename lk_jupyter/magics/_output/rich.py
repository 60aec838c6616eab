"""What a run shows besides text: which frames become which outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.page import page

from lk_jupyter.config.settings import setting
from lk_jupyter.magics._output.bars import Bars
from lk_jupyter.magics._output.bundles import MimeOutputs
from lk_jupyter.magics._output.live import LiveOutput
from lk_jupyter.protocol.frames import Frame


class RichOutput:
    """Shows the frames of a run in order; ``before`` is called before a new output, to bring the text up to it.

    ``kept`` are outputs that stay where the code clears what it has shown.
    """

    def __init__(self, shell: InteractiveShell, before: Callable[[], None], kept: Sequence[LiveOutput] = ()) -> None:
        most: int = setting("rich_outputs")
        self._before = before
        self._bundles = MimeOutputs(shell, most, kept)
        self._bars = Bars(shell, most)
        self._shell = shell
        self._within: Any = None

    def show(self, frame: Frame) -> None:
        """Show one frame, if it is one to be shown."""
        payload = frame.payload
        if frame.kind == "display":
            self._bundles.display(payload, self._before)
        elif frame.kind == "update":
            self._bundles.update(payload)
        elif frame.kind == "page":
            page(str(payload.get("text", "")))
        elif frame.kind == "within":
            self._move(str(payload.get("model", "")))
        elif frame.kind == "clear" and self._within:
            self._before()
            self._shell.display_pub.clear_output(wait=bool(payload.get("wait")))
        elif frame.kind == "clear":
            self._before()
            self._bundles.clear(wait=bool(payload.get("wait")))
        elif frame.kind == "bar":
            if self._bars.begins_output(payload):
                self._bundles.settle()
                self._before()
            self._bars.show(payload)

    def _move(self, model: str) -> None:
        """Let an Output capture what follows, if the code is inside one."""
        from lk_jupyter.remote import _lk_carry  # noqa: PLC0415 (imports cloudpickle)

        self._before()
        if self._within:
            self._within.__exit__(None, None, None)
            self._within = None
        if model and getattr(self._shell, "kernel", None) is not None:
            with suppress(ImportError):
                self._within = _lk_carry.capture_of(model)
                self._within.__enter__()

    def before_text(self) -> None:
        """Make ready for text."""
        self._bundles.settle()

    def saw_text(self) -> None:
        """Take note that text was shown."""
        self._bars.saw_text()

    def tick(self) -> None:
        """Bring up to date what was not shown because it came too soon."""
        self._bars.tick()

    def end(self, damaged: int) -> list[str]:
        """Settle everything; return what is left to say. ``damaged`` is how many frames came broken."""
        self._bars.end()
        if self._within:
            self._move("")
        left_out = self._bundles.left_out
        said = [f"… {left_out:,} more outputs of the run aren't kept here: %lk_config rich_outputs"] if left_out else []
        return [*said, *([f"… {damaged:,} outputs of the run were damaged in transit"] if damaged else [])]


def newest_only(items: Iterable[str | Frame]) -> list[str | Frame]:
    """Leave out updates of an output that a later one among the items replaces."""
    kept: list[str | Frame] = []
    seen: set[str] = set()
    for item in reversed(list(items)):
        if isinstance(item, Frame) and item.kind == "update":
            name = str(item.payload.get("id"))
            if name in seen:
                continue
            seen.add(name)
        elif isinstance(item, Frame) and item.kind in {"display", "clear"}:
            seen.clear()
        kept.append(item)
    return kept[::-1]
