"""Files that an earlier version wrote: a notebook, a journal, the state of runs and of a session. All still open."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import sys
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest

from lk_jupyter.journal.journal import journal
from lk_jupyter.remote.carry.reader import Arriving
from lk_jupyter.runs.history.diff import read_side
from lk_jupyter.runs.history.history import find_run
from lk_jupyter.runs.history.rerun import rebuild_run
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.variables.state import apply_changes, origin_loader

EARLIER = Path(__file__).parent / "recorded" / "earlier"
STATE = json.loads(gzip.decompress((EARLIER / "state.json.gz").read_bytes()))


@pytest.fixture
def entries(home, monkeypatch):
    """The runs in the journal, by their state."""
    path = home / "journal.sqlite"
    path.write_bytes(gzip.decompress((EARLIER / "journal.sqlite.gz").read_bytes()))
    monkeypatch.setenv("LK_JOURNAL", str(path))
    return {entry.state: entry for entry in journal().entries()}


@pytest.fixture
def main(monkeypatch):
    """An empty notebook."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return vars(module)


def test_runs_of_an_earlier_notebook_are_in_the_earlier_journal(entries):
    notebook = nbformat.read(EARLIER / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    runs = [output.metadata["lk_jupyter"] for output in outputs if "lk_jupyter" in output.get("metadata", {})]
    assert {run["execution_id"]: run["state"] for run in runs} == {
        entry.execution_id: state for state, entry in entries.items()
    }


def test_an_earlier_run_is_compared_and_runs_again(session, entries):
    entry = entries["completed"]
    assert not [name for name in read_side(session, entry.execution_id).facts if "_lk" in name]
    result = Run.submit(session, rebuild_run(session, *find_run(session, entry.execution_id))).result()
    assert result.stdout == "plain text\n"


def test_what_a_run_of_an_earlier_version_changed_is_set(main):
    blobs, answer = map(decoded, (STATE["blobs"], STATE["answer"]["large"]))
    origin = origin_loader(STATE["settings"], lambda blob, at, size: blobs[blob][at : at + size])()
    assert origin.values["same"] is origin.values["values"]
    arriving = Arriving(json.loads(STATE["answer"]["text"]), lambda leaf: bytearray(answer[leaf["at"]]), origin.tokens)
    state = apply_changes(arriving, origin)
    assert state.missing == {}
    main.update(origin.values)
    state.put(main)
    assert main["same"] is main["values"] is main["model"].history
    assert (main["values"], main["scaled"]) == ([0, 1, 2, 42, 3], [0, 3, 6, 126, 9])
    assert np.array_equal(main["table"], [[0, 1, 2], [6, 8, 10]])
    assert np.shares_memory(main["view"], main["table"])
    assert (main["step"](), main["square"](6), list(main["new"])) == (3, 36, [1, 4, 9])


def test_variables_that_a_session_of_an_earlier_version_saved_are_restored(main):
    content = base64.b64decode(STATE["saved"])
    (size,) = struct.unpack_from("!q", content)
    large = content[8 + size :]
    arriving = Arriving(
        json.loads(content[8 : 8 + size]), lambda leaf: bytearray(large[leaf["at"] : leaf["at"] + leaf["size"]])
    )
    main.update((entry["n"], value) for entry, value in arriving.read())
    assert arriving.refused == {}
    assert main["model"].fit(1).history is main["same"]
    assert (main["values"], main["scale"]([2]), main["step"]()) == ([0, 1, 2, 3], [6], 2)
    assert np.array_equal(main["table"], [[0, 1, 2], [3, 4, 5]])


def decoded(texts):
    return [base64.b64decode(text) for text in texts]
