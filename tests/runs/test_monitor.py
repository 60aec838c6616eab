"""What the monitor of a run passes on from its thread to the cell."""

from types import SimpleNamespace

from lk_jupyter.api._events import Finished
from lk_jupyter.runs.monitor import RunMonitor


class ReadMeanwhile:
    """An event whose text the cell asks for at the very moment in which it comes."""

    def __init__(self, text, read):
        self._text, self._read = text, read

    @property
    def content(self):
        self._read()
        return self._text


def test_text_that_comes_while_the_cell_reads_is_not_lost(tmp_path):
    taken = []

    def events():
        for text in ("one\n", "two\n", "three\n"):
            yield ReadMeanwhile(text, lambda: taken.append(monitor.take()))
        yield Finished(0)

    follower = SimpleNamespace(events=events, recalls=True, lost=False, close=lambda: None)
    run = SimpleNamespace(
        sent_at=None,
        log_path=tmp_path / "log",
        nonce="",
        short_id="1",
        follower=lambda _: follower,
        learn=lambda _: None,
    )
    monitor = RunMonitor(run)
    monitor._read()
    taken.append(monitor.take())
    assert "".join(taken) == "one\ntwo\nthree\n"
    assert monitor.error is None
