"""The notebooks of the guide: executed on a local cloud, and kept with the outputs that this gave.

python tests/books.py [NAME…] executes them and stores their outputs; ``make docs`` does it for all.
python tests/books.py --check [NAME…] executes them, stores nothing, and prints a line for each; ``make guide`` does
that in an environment of the extra ``demo`` alone.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
COOKBOOK = NOTEBOOKS / "cookbook"  # pages with packages of their own, executed by cookbook.py
TOLD = [NOTEBOOKS / f"{name}.ipynb" for name in ("quickstart", "experiment", "storage")]
AT_ONCE = 2
SECONDS = 300

_TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_ID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_BY_THEN = re.compile(r"waited [\d.]+ s, |Phases: .*|Complete log: \S+")  # while others work too, or the notebook ends
_WORD = re.compile(r"(?<![\w.])[A-Za-z]{3,}(?![\w])")


def paths() -> list[Path]:
    """Return the notebooks that test_guide.py executes; those that are told by test_notebooks.py are in TOLD."""
    return [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if path not in TOLD and not _is_a_copy(path)]


def _is_a_copy(path: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(NOTEBOOKS).parts)


def execute(path: Path, home: Path, base_url: str, api_key: str) -> nbformat.NotebookNode:
    """Execute a notebook in a kernel whose user has this home; a cell that fails does not end it."""
    return run(nbformat.read(path, as_version=4), home, {"LK_BASE_URL": base_url, "LK_API_KEY": api_key})


def run(book: nbformat.NotebookNode, home: Path, variables: dict[str, str]) -> nbformat.NotebookNode:
    """Execute a notebook in a kernel with these variables of the environment, whose user has this home."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LK_", "LYCEUM_", "XDG_"))}
    user = {"HOME": str(home), "USERPROFILE": str(home), "IPYTHONDIR": str(home / ".ipython")}
    env |= {**user, **variables}
    work = home / "project"
    work.mkdir(parents=True, exist_ok=True)
    resources = {"metadata": {"path": str(work)}}
    client = Client(
        book,
        timeout=SECONDS,
        allow_errors=True,
        resources=resources,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute(env=env)
    return without_traces(book, home)


class Client(NotebookClient):
    """Asks each second whether a message is there: with widgets, one of twenty waits without a limit misses it."""

    async def async_start_new_kernel_client(self) -> Any:
        """Start what talks to the kernel."""
        kernel = await super().async_start_new_kernel_client()
        kernel.session.metadata = {"cellId": "cell"}  # as from JupyterLab, whose outputs the guide shows
        for channel in (kernel.shell_channel, kernel.iopub_channel):
            channel.get_msg = _awake(channel.get_msg)
        return kernel


def _awake(get: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def get_msg(timeout: float | None = None) -> Any:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while (left := end - time.monotonic()) > 1:
            with suppress(Empty):
                return await get(timeout=1)
        return await get(timeout=max(0, left))

    return get_msg


def without_traces(book: nbformat.NotebookNode, home: Path) -> nbformat.NotebookNode:
    """Take out what only says where and when the notebook was executed."""
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)  # its kernel is gone
    book.metadata.pop("widgets", None)
    text = nbformat.writes(book).replace(str(home), "~").replace(sys.prefix, "/environment")
    return nbformat.reads(_TEMPORARY.sub("/tmp/folder", text), as_version=4)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what was printed in pieces, as a browser does when it comes in."""
    joined = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def failures(book: nbformat.NotebookNode) -> list[str]:
    """Return the errors of cells that were not meant to fail, and the cells that were and did not."""
    found = []
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        errors = ["\n".join(output.traceback) for output in cell.outputs if output.output_type == "error"]
        meant = "raises-exception" in cell.metadata.get("tags", ())
        if bool(errors) != meant:
            found.append("\n".join(errors) or f"This was meant to fail:\n{cell.source}")
    return found


#: What a hint says of a run on a busy machine.
SLOW = re.compile(r"^Hint: (Imports took|The GPU was below)")


def shape(book: nbformat.NotebookNode) -> list[list[set[str]]]:
    """Return the kinds of what each code cell shows, text apart: how often that is sent is chance.

    So are the hints that a run was slow.
    """
    return [
        [
            set(output.data)
            for output in cell.outputs
            if "data" in output and not SLOW.search(output.data.get("text/plain", ""))
        ]
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def words(book: nbformat.NotebookNode) -> set[str]:
    """Return the words that the code cells show."""
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    plain = (_BY_THEN.sub("", _ID.sub("", _COLOUR.sub("", text))) for cell in cells for text in texts(cell))
    return {word for text in plain for word in _WORD.findall(text)}


def texts(cell: nbformat.NotebookNode) -> Iterator[str]:
    """Yield the texts that a code cell shows."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join(output.traceback)
        else:
            yield output.data.get("text/plain", "")


def main(names: list[str], *, store: bool) -> int:
    """Execute notebooks and perhaps store them with their outputs; 1 when one fails."""
    chosen = [path for path in [*TOLD, *paths()] if (path.stem in names if names else path.parent != COOKBOOK)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as threads:
        failed = list(threads.map(lambda path: _on_a_cloud(path, Path(folder, path.stem), store=store), chosen))
    print(f"{failed.count(0)} of {len(failed)} notebooks ran to their end.")
    return max(failed, default=0)


def _on_a_cloud(path: Path, home: Path, *, store: bool) -> int:
    """Execute one on a cloud of its own."""
    command = [sys.executable, Path(__file__), "--store-one" if store else "--check-one", path, home]
    serve = [sys.executable, NOTEBOOKS / "on_local_cloud.py", "--fresh", home / "cloud", *command]
    return subprocess.run(serve, check=False).returncode


def _one(path: Path, home: Path, *, store: bool) -> int:
    began = time.monotonic()
    book = execute(path, home, os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"])
    failed = failures(book)
    name, seconds = path.relative_to(NOTEBOOKS), time.monotonic() - began
    print(f"{name}: {chr(10).join(failed) if failed else f'ok, {seconds:.0f} s'}", flush=True)
    if store and not failed:
        nbformat.write(book, path)
    return len(failed[:1])


if __name__ == "__main__":
    how, rest = (sys.argv[1], sys.argv[2:]) if sys.argv[1:2] and sys.argv[1].startswith("--") else ("", sys.argv[1:])
    if how.endswith("-one"):
        sys.exit(_one(Path(rest[0]), Path(rest[1]), store=how == "--store-one"))
    sys.exit(main(rest, store=how != "--check"))
