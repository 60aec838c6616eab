"""The file that keeps a log: what a crash leaves of it, and two that write it."""

from contextlib import closing
from pathlib import Path

import pytest

from lk_jupyter.errors import LkError
from lk_jupyter.runs.log import RunLog, log_path
from lk_jupyter.text.secrets import redact


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "run.log"


def text_of(log):
    return b"".join(log.pieces())


def test_a_log_goes_on_where_it_was_left(path):
    with closing(RunLog(path)) as log:
        log.append(b"one\n")
    with closing(RunLog(path)) as log:
        assert text_of(log) == b"one\n"
        log.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_torn_character_is_left_out(path, cut):
    whole = "aé€𝄞".encode()
    path.parent.mkdir()
    path.write_bytes(whole[:cut])
    with closing(RunLog(path)) as log:
        assert "aé€𝄞".startswith(text_of(log).decode())
        assert cut - log.size < 4


def test_the_zeros_that_a_lost_disk_cache_leaves_are_left_out(path):
    path.parent.mkdir()
    path.write_bytes(b"one\n" + bytes(200_000))
    with closing(RunLog(path)) as log:
        assert text_of(log) == b"one\n"
    assert path.read_bytes() == b"one\n"


def test_bytes_that_are_no_text_are_kept(path):
    path.parent.mkdir()
    path.write_bytes(b"\x80\x80\x80\x80\x80")
    with closing(RunLog(path)) as log:
        assert log.size == 5


def test_a_second_writer_has_a_copy_of_its_own(path):
    with closing(RunLog(path)) as first:
        first.append(b"one\n")
        first.flush()
        with closing(RunLog(path)) as second:
            assert (first.is_stored, second.is_stored) == (True, False)
            second.append(b"mine\n")
            assert text_of(second) == b"one\nmine\n"
        first.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_copy_takes_the_place_of_a_log_that_was_left_unfinished(path):
    first = RunLog(path)
    first.append(b"one\n")
    first.flush()
    second = RunLog(path)
    second.append(b"two\n")
    first.close()
    second.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "logs").write_text("no folder")
    with pytest.raises(LkError, match=r"is still active(?s:.*)%lk_abort 3f0c(?s:.*)%lk_attach 3f0c"):
        RunLog(tmp_path / "logs" / "3f0c.log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_with_the_way_to_stop_the_run(path):
    with closing(RunLog(path)) as log, Path("/dev/full").open("wb", buffering=0) as full:
        log._file, kept = full, log._file
        with pytest.raises(LkError, match=r"No space left on device.*still active and billed.*%lk_abort"):
            log.append(b"one\n")
        log._file = kept


def test_a_log_has_a_temporary_folder_where_its_own_cannot_be_made(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LK_LOG_DIR", str(tmp_path / "file" / "logs"))
    path = log_path("3f0c2a9e")
    assert log_path("3f0c2a9e") == path
    with closing(RunLog(path)) as log:
        log.append(b"one\n")
    assert path.read_bytes() == b"one\n"
    assert redact(str(path)) == str(path)  # it does not look like a key
    [said] = caplog.messages
    assert said.startswith(f"Can't write logs to {tmp_path / 'file' / 'logs'}. They are in {path.parent} until")
