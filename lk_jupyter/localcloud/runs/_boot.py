"""Run a script like ``python -u script.py``, and preserve the order of the two output streams.

Started as ``python -u _boot.py IMPORTS SCRIPT``, where IMPORTS is source code to run first. This module runs in the
interpreter of the run and delays its start, so the module imports next to nothing. The module appears in no traceback.

Two pipes don't show which write was first. So a write to either pipe waits until the other pipe was read.
"""

from __future__ import annotations

import io
import os
import sys
import time
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False  # as in typing, which takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable

_WAIT_SECONDS = 0.5
_PAUSE_SECONDS = 0.00002


def main() -> None:
    """Become the script."""
    global __file__  # noqa: PLW0603 (of the outermost frame: some write beside it)
    _, imports, script = sys.argv
    __file__ = path = os.path.abspath(script)  # noqa: PTH100 (pathlib would slow every start down)
    _order_streams()
    sys.argv = [script]
    sys.path[0] = os.path.dirname(path)  # noqa: PTH120
    module = type(sys)("__main__")
    module.__dict__.update(
        __file__=path, __builtins__=__builtins__, __annotations__={}, __loader__=SourceFileLoader("__main__", path)
    )
    sys.modules["__main__"] = module
    with open(path, "rb") as file:  # noqa: PTH123
        source = file.read()
    _run_source(imports.encode(), "<prior_imports>", module.__dict__)
    _run_source(source, script, module.__dict__)


def _run_source(source: bytes, name: str, namespace: dict[str, object]) -> None:
    """Run source; an exception is shown without our frames, then ends the process as usual."""
    try:
        exec(compile(source, name, "exec", dont_inherit=True), namespace)  # noqa: S102
    except SystemExit:
        raise
    except BaseException as error:
        traceback = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.excepthook = lambda *_: None
        raise


def _order_streams() -> None:
    """Make writes to each stream wait until the other stream was read."""
    try:
        from fcntl import ioctl  # noqa: PLC0415 (not on Windows)
        from termios import FIONREAD  # noqa: PLC0415
    except ImportError:
        return
    last = [1]
    write_at_once = io.FileIO.write

    class Ordered(io.FileIO):
        """A stream whose writes wait for reads of the other stream."""

        fd = 0

        def write(self, data: bytes) -> int:  # type: ignore[override]
            if last[0] != self.fd:
                _wait_for_a_read(lambda: int.from_bytes(ioctl(last[0], FIONREAD, bytes(4)), sys.byteorder))
                last[0] = self.fd
            return write_at_once(self, data)

    for fd, name in ((1, "stdout"), (2, "stderr")):
        raw = Ordered(fd, "w", closefd=False)
        raw.fd, raw.name = fd, f"<{name}>"
        like = getattr(sys, name)
        text = io.TextIOWrapper(raw, like.encoding, like.errors, newline="\n", write_through=True)
        text.mode = "w"  # type: ignore[misc]
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def _wait_for_a_read(unread: Callable[[], int]) -> None:
    """Wait until a read has emptied the pipe; wait only for a short time, as the reader may have ended."""
    try:
        deadline, before = time.monotonic() + _WAIT_SECONDS, unread()
        while before and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            pending = unread()
            before = pending if pending >= before else 0
    except OSError:  # the script closed the other stream
        return


main()
