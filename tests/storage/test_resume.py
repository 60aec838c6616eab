"""Transfers that end in the middle: killed, cut off, interrupted; and go on."""

import os
import random
import threading

import pytest
from storage.between import SMALL_PART

from lk_jupyter.errors import StorageError
from lk_jupyter.storage import _s3_http
from lk_jupyter.storage._download import is_unfinished
from lk_jupyter.storage.storage import Storage

pytestmark = pytest.mark.usefixtures("small_parts")

EIGHTH = SMALL_PART // 8
CONTENT = os.urandom(EIGHTH) * 20  # three parts
LONG = CONTENT + CONTENT[: 4 * EIGHTH]  # of whose three parts two travel at once
THIRD = 18 * EIGHTH  # bytes on the wire when the third is on its way, so one must have arrived


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("kill_after", [pytest.param(1, marks=pytest.mark.nightly), 500, 12 * EIGHTH])
def test_an_upload_that_was_killed_goes_on_and_leaves_nothing_unfinished(start, watched, big, uploads, kill_after):
    key = f"rs/killed-{kill_after}"
    start("put", big, key, kill_after)
    assert not watched.exists(key)
    watched.put(big, key)
    assert watched.get_bytes(key) == CONTENT
    assert uploads() == []


def test_parts_that_are_there_are_not_sent_again(start, network, watched, big):
    big.write_bytes(LONG)
    start("put", big, "rs/parts", THIRD)
    network.up = 0
    watched.put(big, "rs/parts")
    assert network.up < len(LONG)
    assert watched.get_bytes("rs/parts") == LONG


def test_a_download_that_was_killed_goes_on_and_has_no_name_before_its_end(start, network, watched, tmp_path):
    watched.put(LONG, "rs/down")
    folder = tmp_path / "target"
    folder.mkdir()
    start("get", folder / "here.bin", "rs/down", THIRD)
    assert not (folder / "here.bin").exists()
    network.down = 0
    watched.get("rs/down", folder / "here.bin", checksum=True)
    assert (folder / "here.bin").read_bytes() == LONG
    assert [path.name for path in folder.iterdir()] == ["here.bin"]
    assert network.down < len(LONG)


@pytest.fixture
def folder(tmp_path):
    """Many small files and a large one: 14 MB in all, of which the small ones travel first."""
    path = tmp_path / "folder"
    for number in range(200):
        (path / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        (path / f"{number % 7}" / f"{number}.bin").write_bytes(os.urandom(10_000))
    (path / "large.bin").write_bytes(CONTENT[: 18 * EIGHTH])
    return path


def _content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KILLS = [random.Random(2026).randrange(100_000, 2_000_000), random.Random(5).randrange(4 * EIGHTH, 18 * EIGHTH)]
EARLY, LATE = (pytest.param(kill, marks=pytest.mark.nightly) for kill in KILLS)


@pytest.mark.parametrize("kill_after", [KILLS[0], LATE])
def test_a_folder_whose_sync_up_was_killed_goes_on_with_what_is_missing(start, watched, folder, uploads, kill_after):
    to = f"rs/sync-up-{kill_after}"
    assert start("sync up", folder, to, kill_after) < 0
    there = len(list(watched.ls(to)))
    done = watched.sync(folder, f"lk://{to}")
    assert done.same >= there > 0  # what was on its way may have arrived since
    assert done.same + done.files == 201
    assert {info.key.removeprefix(f"{to}/"): watched.get_bytes(info.key) for info in watched.ls(to)} == _content(folder)
    assert uploads() == []


@pytest.mark.parametrize("kill_after", [EARLY, KILLS[1]])
def test_a_folder_whose_sync_down_was_killed_goes_on_and_has_no_half_file(start, watched, folder, tmp_path, kill_after):
    at, back, wanted = f"rs/sync-down-{kill_after}", tmp_path / "back", _content(folder)
    watched.sync(folder, f"lk://{at}")
    assert start("sync down", back, at, kill_after) < 0
    whole = {name: content for name, content in _content(back).items() if not is_unfinished(name.rpartition("/")[2])}
    assert whole.items() <= wanted.items()
    done = watched.sync(f"lk://{at}", back)
    assert (done.same, done.files) == (len(whole), 201 - len(whole))
    assert _content(back) == wanted


def test_a_download_begins_anew_when_the_object_has_changed_meanwhile(start, watched, tmp_path):
    watched.put(CONTENT, "rs/changing")
    start("get", tmp_path / "here.bin", "rs/changing", 9 * EIGHTH)
    watched.put(CONTENT[::-1], "rs/changing")
    watched.get("rs/changing", tmp_path / "here.bin")
    assert (tmp_path / "here.bin").read_bytes() == CONTENT[::-1]
    assert not list(tmp_path.glob(".lk-*"))


def test_what_is_left_of_an_object_that_is_gone_is_cleared_up_by_the_next_sync(start, watched, tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    watched.put(CONTENT, "rs/sync-gone/here.bin")
    start("get", back / "here.bin", "rs/sync-gone/here.bin", 9 * EIGHTH)
    assert list(back.glob(".lk-*"))
    watched.remove("rs/sync-gone/here.bin")
    watched.put(b"other", "rs/sync-gone/other.txt")
    watched.sync("lk://rs/sync-gone", back)
    assert [path.name for path in back.iterdir()] == ["other.txt"]


def test_an_upload_begins_anew_when_the_file_has_changed_meanwhile(start, watched, big, uploads):
    start("put", big, "rs/edited", 9 * EIGHTH)
    assert uploads() == ["rs/edited"]
    big.write_bytes(CONTENT[: 10 * EIGHTH])
    watched.put(big, "rs/edited")
    assert watched.get_bytes("rs/edited") == CONTENT[: 10 * EIGHTH]
    assert uploads() == []


def test_what_nobody_can_go_on_with_is_taken_back_by_the_next_large_upload(start, watched, big, tmp_path, uploads):
    start("put", big, "rs/orphan", 9 * EIGHTH)
    assert uploads() == ["rs/orphan"]
    big.unlink()
    watched.put(CONTENT, "rs/other")
    assert uploads() == []


def test_unfinished_uploads_of_this_machine_are_taken_back_on_request(start, watched, big, uploads):
    start("put", big, "rs/unwanted", 9 * EIGHTH)
    assert watched.abort_unfinished() == 1
    assert uploads() == []
    assert watched.abort_unfinished() == 0


def test_a_network_that_goes_away_for_a_moment_is_waited_for(network, watched, big):
    network.cut_after, network.back_after = 12 * EIGHTH, 0.5
    watched.put(big, "rs/moment")
    assert watched.get_bytes("rs/moment") == CONTENT


def test_an_upload_whose_first_answer_was_lost_is_begun_once(network, watched, big, uploads):
    network.lose_answers_to = b"POST"
    watched.put(big, "rs/lost-answer")
    assert network.lose_answers_to is None
    assert uploads() == []


def test_a_network_that_stays_away_is_said_in_one_line_and_the_upload_goes_on_later(
    network, watched, big, monkeypatch, uploads
):
    monkeypatch.setattr(watched._wire, "_pauses", (0.01, 0.02))
    big.write_bytes(LONG)
    network.cut_after = THIRD
    with pytest.raises(StorageError, match="Can't reach"):
        watched.put(big, "rs/away")
    network.come_back()
    network.up = 0
    watched.put(big, "rs/away")
    assert network.up < len(LONG)
    assert watched.get_bytes("rs/away") == LONG
    assert uploads() == []


@pytest.fixture
def revoked(issue):
    """The bucket for somebody whose first credentials are refused."""
    spoiled = [{"session_token": "ended"}]
    return Storage(lambda: issue().model_copy(update=spoiled.pop() if spoiled else {}))


@pytest.mark.parametrize(
    "act",
    [
        lambda storage: storage.put(b"x", "rs/refused"),
        lambda storage: storage.put(CONTENT, "rs/refused"),
        lambda storage: list(storage.ls("rs")),
        lambda storage: storage.exists("rs/refused"),
    ],
)
def test_credentials_that_are_refused_before_their_time_are_replaced(revoked, act):
    act(revoked)
    revoked.put(b"after", "rs/refused")
    assert revoked.get_bytes("rs/refused") == b"after"


def test_a_list_goes_on_when_credentials_end_between_two_pages(issue):
    given = [issue()]
    storage = Storage(lambda: given[-1])
    for number in range(6):
        storage.put(b"", f"rs-pages/{number}")
    pages = storage.pages("rs-pages", size=3)
    next(pages)
    given.append(issue())
    storage._credentials._present = given[0].model_copy(update={"session_token": "ended"})
    assert [found.name for found in next(pages)] == ["3", "4", "5"]


@pytest.mark.parametrize("key", ["", "a/", "../up", "a//b", "a/./b"])
def test_what_can_be_no_key_is_said_before_anything_is_sent(storage, key):
    with pytest.raises(StorageError, match="isn't a key"):
        storage.put(b"x", key)
    with pytest.raises(StorageError, match="isn't a key"):
        storage.open(key, "wb")
    with pytest.raises(StorageError):
        storage.info(key)


def test_small_requests_wait_for_a_network_that_comes_back(network, watched):
    watched.put(b"x", "rs/small")
    network.go_away()
    threading.Timer(0.4, network.come_back).start()
    assert watched.get_bytes("rs/small") == b"x"
    network.go_away()
    threading.Timer(0.4, network.come_back).start()
    assert [found.key for found in watched.ls("rs/small")] == []


def test_a_download_waits_longer_than_a_dozen_quick_tries_would(network, watched, tmp_path):
    watched.put(CONTENT, "rs/waits")
    network.down = 0
    network.cut_down_after, network.back_after = 12 * EIGHTH, 7
    watched.get("rs/waits", tmp_path / "waits")
    assert (tmp_path / "waits").read_bytes() == CONTENT


def test_an_interrupt_takes_an_upload_back_at_once(watched, tmp_path, uploads):
    many_parts = CONTENT * 2  # so that the first ones are told of before the last one is sent
    (tmp_path / "large").write_bytes(many_parts)
    sent = []

    def interrupt(progress):
        sent.append(progress)
        if progress.bytes_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched.put(tmp_path / "large", "rs/interrupted", progress=interrupt)
    assert uploads() == []
    assert not watched.exists("rs/interrupted")
    assert sent[0].bytes == len(many_parts)


def test_two_uploads_of_one_key_do_not_disturb_each_other(storage, big, uploads):
    other = threading.Thread(target=storage.put, args=(CONTENT[: 17 * EIGHTH], "rs/both"))
    other.start()
    storage.put(big, "rs/both")
    other.join()
    assert storage.info("rs/both").size in {len(CONTENT), 17 * EIGHTH}
    assert uploads() == []


def test_the_pauses_wait_a_minute_out():
    assert 60 <= sum(_s3_http.PAUSES) <= 120
