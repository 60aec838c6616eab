"""What a run shows besides text: which frames become which outputs, in order, updated in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.page import page
from IPython.display import DisplayHandle, display

from lk_jupyter.config.settings import setting
from lk_jupyter.magics._output.bars import Bars
from lk_jupyter.magics._output.live import LiveOutput
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.text.redact import redact_bundle


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
        """Remember that text was shown."""
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


_NOTHING: dict[str, Any] = {"text/plain": ""}


class MimeOutputs:
    """Shows the bundles of a run, at most ``most`` outputs; those beyond are counted.

    A clear takes away all that the cell shows; the outputs in ``kept`` are shown again.
    """

    def __init__(self, shell: InteractiveShell, most: int, kept: Sequence[LiveOutput]) -> None:
        self._shell = shell
        self._in_place = getattr(shell, "kernel", None) is not None
        self._most = most
        self._kept = kept
        self._clears = False
        self._named: dict[str, list[DisplayHandle]] = {}
        self._made = 0
        self.left_out = 0

    def display(self, payload: dict[str, Any], before: Callable[[], None]) -> None:
        """Show a bundle as an output; ``before`` is called before one is made below the text."""
        data, metadata = _checked(payload)
        self.settle()
        if self._made >= self._most:
            self.left_out += 1
            return
        before()
        self._made += 1
        # An id that the code gave is known to other cells too.
        handle = display(data, metadata=metadata, raw=True, display_id=str(payload.get("id") or "") or True)
        if handle and self._in_place and "id" in payload:
            self._named.setdefault(str(payload["id"]), []).append(handle)

    def update(self, payload: dict[str, Any]) -> None:
        """Show a bundle in the place of those with its id, in whichever cell."""
        data, metadata = _checked(payload)
        name = str(payload.get("id", ""))
        handles = self._named.get(name) or ([DisplayHandle(name)] if name and self._in_place else [])
        for handle in handles[-1:]:
            handle.update(data, metadata=metadata, raw=True)

    def clear(self, *, wait: bool) -> None:
        """Take away what is shown, at once or when something new comes."""
        self._clears = self._in_place
        if not wait:
            self.settle()

    def settle(self) -> None:
        """Take away what was to be cleared, before something new is shown."""
        if self._clears:
            self._clears = False
            self._made = 0
            self._shell.display_pub.clear_output(wait=True)
            for output in self._kept:
                output.show_again()


def _checked(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    data, metadata = payload.get("data"), payload.get("metadata")
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        return _NOTHING, {}
    told = {str(kind): form if isinstance(form, str) or "json" in kind else str(form) for kind, form in data.items()}
    return redact_bundle(told), metadata
