"""Executes a notebook and prints every output at the moment it arrives, with the seconds since its cell began.

python notebooks/show.py NOTEBOOK EXECUTED_COPY
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lk_jupyter._encoding import accept_every_sign


class Screen:
    """Terminal output in which each line begins with its time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._at_line_start = True
        self.remarks = set[str]()  # of this cell's status lines

    def begin(self, cell: nbformat.NotebookNode, **_: Any) -> None:
        """Show a cell that is about to run; of text, its headings."""
        if cell.cell_type == "code":
            sys.stdout.write("".join(f"  >>> {line}\n" for line in cell.source.splitlines()))
        else:
            sys.stdout.write("".join(f"\n{line}\n" for line in cell.source.splitlines() if line.startswith("#")))
        self._began = time.monotonic()
        self.remarks.clear()

    def show(self, text: str) -> None:
        """Show a piece of output, which may be part of a line."""
        for line in text.splitlines(keepends=True):
            sys.stdout.write(self._margin() + line)
            self._at_line_start = line.endswith(("\r", "\n"))
        sys.stdout.flush()

    def show_block(self, text: str) -> None:
        """Show an output that stands on lines of its own."""
        self.show(text + "\n" if self._at_line_start else f"\n{text}\n")

    def _margin(self) -> str:
        return f"{time.monotonic() - self._began:7.2f} s | " if self._at_line_start else ""


class ShowingClient(NotebookClient):
    """A notebook client that also shows what it receives."""

    screen = Screen()
    _phase = ""

    def process_message(self, msg: dict[str, Any], *args: Any) -> Any:
        """Show one message of the kernel, then keep it as usual."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            self.screen.show(content["text"])
        elif kind == "error":
            self.screen.show_block("\n".join(content["traceback"]))
        elif kind in {"display_data", "execute_result"}:
            self.screen.show_block(content["data"].get("text/plain", ""))
        elif kind == "update_display_data" and (news := self._news(content["data"].get("text/plain", ""))):
            self.screen.show_block(news)
        return super().process_message(msg, *args)

    def _news(self, text: str) -> str:
        """Return an updated status line with the remarks that it lacked; empty where only a second has passed."""
        status, *remarks = text.split("\n")
        last, self._phase = self._phase, status.partition(" · ")[0]
        if self._phase == last:
            return ""
        unsaid = [line for line in remarks if line not in self.screen.remarks]
        self.screen.remarks.update(unsaid)
        return "\n".join([status, *unsaid])


def main(source: Path, executed: Path) -> int:
    """Execute the notebook and write the executed copy; 1 when a cell failed that was not meant to."""
    accept_every_sign()
    book = nbformat.read(source, as_version=4)
    client = ShowingClient(
        book,
        timeout=300,
        coalesce_streams=True,
        on_cell_start=ShowingClient.screen.begin,
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\n{source} stopped at {error.ename}: {error.evalue}")
        return 1
    finally:
        executed.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, executed)
    print(f"\nThe notebook with its outputs: {executed}\nNow write your own: make lab")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
