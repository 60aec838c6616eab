"""Output of runs on its way to the disk."""

import os
import threading
from contextlib import closing

import pytest
from patience import PATIENCE

from lk_jupyter.localcloud.runs.output import STDOUT, RunOutput
from lk_jupyter.localcloud.runs.reader import OutputReader
from lk_jupyter.localcloud.store import Store

MANY = 10_000_000


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "cloud.sqlite")) as store:
        yield store


def limit(store, pages):
    """Let the database have this many pages, as a disk of that size would."""
    store._writer.execute(f"PRAGMA max_page_count = {pages}")


def test_output_that_finds_the_disk_full_is_kept_once_there_is_room(store):
    output, told, closed = RunOutput(store), threading.Event(), threading.Event()
    reader = OutputReader(output, lambda runs: told.set())
    reader.start()
    read_end, write_end = os.pipe()
    reader.add("run", STDOUT, read_end, closed.set)
    limit(store, 1)  # never less than what is there
    text = "a line that needs a page of its own\n" * 1000
    os.write(write_end, text.encode())
    os.close(write_end)
    assert not told.wait(0.5)
    assert not closed.is_set()
    limit(store, MANY)
    assert closed.wait(PATIENCE)
    assert output.read_texts("run")[STDOUT] == text
    reader.close()


def test_a_reader_ends_though_the_disk_stays_full(store):
    reader = OutputReader(RunOutput(store), lambda runs: None)
    reader.start()
    read_end, write_end = os.pipe()
    reader.add("run", STDOUT, read_end, lambda: None)
    limit(store, 1)
    os.write(write_end, b"a line that needs a page of its own\n" * 1000)
    os.close(write_end)
    reader.close()
    assert not reader.is_alive()
