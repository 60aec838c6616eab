"""What a StorageBrowser does for the one who clicks: on a real bucket, without a browser."""

import io
import os
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from patience import PATIENCE
from storage.between import Network

from lk_jupyter.config import settings
from lk_jupyter.errors import NoSuchObject, StorageError, UsageError
from lk_jupyter.session import current
from lk_jupyter.storage import load as load_module
from lk_jupyter.storage.storage import Storage
from lk_jupyter.widgets import StorageBrowser, _upload
from lk_jupyter.widgets._namespace import free_name

ODD = ('it\'s 100% "new".csv', "ü ñ 雪.csv", "a+b&c=d?e#f.csv", " blanks .csv")


@pytest.fixture
def wb():
    """A folder that no other test has."""
    return f"wb-{uuid4().hex[:8]}"


@pytest.fixture
def bucket(signed_in, wb):
    yield current().storage
    Storage(signed_in.client.storage.credentials).remove(f"{wb}/")


@pytest.fixture
def browser(bucket, names, wb):
    """A browser on an empty folder, and nobody who looks at it."""
    return StorageBrowser(wb)


def shown(browser, folder=""):
    folder = browser.root + folder
    return [item["key"].removeprefix(folder) for item in browser.folders[folder]["items"]]


def upload(browser, key, content, piece=1000, **how):
    upload_id = browser.begin_upload(key, len(content), **how)["id"]
    for start in range(0, len(content), piece):
        browser.add_piece(upload_id, [memoryview(content[start : start + piece])])
    browser.end_upload(upload_id)


def test_folders_open_a_page_at_a_time_and_are_listed_as_far_again(browser, bucket, tmp_path_factory, wb):
    tmp_path = tmp_path_factory.mktemp("many")
    for n in range(450):
        (tmp_path / f"{n:03}").touch()
    bucket.put(tmp_path, f"{wb}/many")
    browser.refresh()
    assert shown(browser) == ["many/"]
    browser.open_folder(f"{wb}/many/")
    assert len(shown(browser, "many/")) == 200
    browser.more(f"{wb}/many/")
    bucket.remove(f"{wb}/many/000")
    browser.refresh()
    assert shown(browser, "many/")[::399] == ["001", "400"]
    browser.more(f"{wb}/many/")
    assert browser.folders[f"{wb}/many/"]["token"] == ""
    browser.open_folder(f"{wb}/many/", begins="00")
    assert shown(browser, "many/") == [f"00{n}" for n in range(1, 10)]
    browser.close_folder(f"{wb}/many/")
    assert list(browser.folders) == [f"{wb}/"]


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind_come_go_and_are_loaded(browser, bucket, names, name, wb):
    upload(browser, f"{wb}/{name}", b"a,b\n1,2\n")
    assert shown(browser) == [name]
    browser.look(f"{wb}/{name}")
    assert browser.seen["rows"] == [["1", "2"]]
    browser.load_value(f"{wb}/{name}", browser.seen["free"])
    loaded = names[browser.loaded["words"].partition(":")[0]]
    exec(browser.loaded["code"], again := {})
    pd.testing.assert_frame_equal(again[browser.loaded["words"].partition(":")[0]], loaded)
    browser.delete(f"{wb}/{name}")
    assert not bucket.exists(f"{wb}/{name}")
    assert shown(browser) == []


def test_a_folder_is_deleted_with_all_that_is_in_it(browser, bucket, wb):
    for name in ("old/a", "old/deep/b", "older"):
        bucket.put(b"x", f"{wb}/{name}")
    browser.refresh()
    browser.open_folder(f"{wb}/old/")
    assert browser.weigh(f"{wb}/old/") == "2 files, 2 B"
    browser.delete(f"{wb}/old/")
    assert "2 files" in browser.notice["text"]
    assert (shown(browser), list(browser.folders)) == (["older"], [f"{wb}/"])


def test_a_folder_without_a_name_is_shown_and_not_deleted(browser, wb):
    with pytest.raises(StorageError, match="folder without a name"):
        browser.delete(f"{wb}//")


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_an_upload_is_there_whole(browser, bucket, size, wb):
    content = os.urandom(size)
    upload(browser, f"{wb}/up.bin", content, piece=2_000_000)
    assert bucket.get_bytes(f"{wb}/up.bin") == content
    assert shown(browser) == ["up.bin"]
    assert browser.begin_upload(f"{wb}/up.bin", 3) == {"taken": True}


def test_an_object_of_the_same_name_is_kept_or_replaced_and_what_is_looked_at_is_read_again(browser, bucket, wb):
    upload(browser, f"{wb}/a.txt", b"first")
    browser.look(f"{wb}/a.txt")
    upload(browser, f"{wb}/a.txt", b"second", keep_both=True)
    assert shown(browser) == ["a (1).txt", "a.txt"]
    assert browser.seen["text"] == "first"
    upload(browser, f"{wb}/a.txt", b"third", replace=True)
    assert browser.seen["text"] == "third"
    upload_id = browser.begin_upload(f"{wb}/b.txt", 4)["id"]
    bucket.put(b"theirs", f"{wb}/b.txt")
    browser.add_piece(upload_id, [memoryview(b"mine")])
    with pytest.raises(StorageError, match="already exists"):
        browser.end_upload(upload_id)
    assert bucket.get_bytes(f"{wb}/b.txt") == b"theirs"


@pytest.mark.parametrize("size", [1000, 20_000_000])
def test_an_upload_that_is_stopped_or_given_up_leaves_nothing(browser, bucket, size, monkeypatch, wb):
    upload_id = browser.begin_upload(f"{wb}/half.bin", 2 * size)["id"]
    browser.add_piece(upload_id, [memoryview(bytes(size))])
    browser.stop_upload(upload_id)
    monkeypatch.setattr(_upload, "PATIENCE", 2)
    upload_id = browser.begin_upload(f"{wb}/half.bin", 2 * size)["id"]
    browser.add_piece(upload_id, [memoryview(bytes(size))])
    with pytest.raises(StorageError, match="stopped sending it"):
        browser._uploads[upload_id]._stored.result(PATIENCE)
    with pytest.raises(StorageError, match="stopped sending it"):
        browser.end_upload(upload_id)
    assert not bucket.exists(f"{wb}/half.bin")
    assert bucket.abort_unfinished() == 0


def test_a_file_is_fetched_beside_the_notebook_and_replaces_none_unasked(browser, bucket, tmp_path, monkeypatch, wb):
    monkeypatch.chdir(tmp_path)
    bucket.put(b"new", f"{wb}/deep/x.txt")
    (tmp_path / "x.txt").write_text("mine")
    assert browser.fetch(f"{wb}/deep/x.txt") == {"taken": "x.txt"}
    assert (tmp_path / "x.txt").read_text() == "mine"
    browser.fetch(f"{wb}/deep/x.txt", replace=True)
    assert (tmp_path / "x.txt").read_text() == "new"
    browser.fetch(f"{wb}/deep/")
    assert (tmp_path / "deep" / "x.txt").read_text() == "new"
    assert browser.content(f"{wb}/deep/x.txt") == "bmV3"


@pytest.mark.parametrize(
    ("key", "free"),
    [
        ("a/My data-2.csv.gz", "My_data_2"),
        ("2026.parquet", "data_2026"),
        ("class.csv", "data_class"),
        ("list.csv", "data_list"),
        ("taken.csv", "taken_2"),
        ("²/ﬁt.csv", "fit"),
        ("!!!.csv", "data"),
    ],
)
def test_the_name_that_is_proposed_is_valid_and_free(names, key, free):
    names["taken"] = 1
    assert free_name(key) == free


def test_no_variable_is_replaced_and_no_odd_name_taken(browser, bucket, names, wb):
    bucket.put(b"a\n1\n", f"{wb}/t.csv")
    names["mine"] = 1
    for name, words in (
        ("mine", "The variable 'mine' already exists"),
        ("1x", "isn't a variable name"),
        ("if", "isn't a variable name"),
    ):
        with pytest.raises(UsageError, match=words):
            browser.load_value(f"{wb}/t.csv", name)
    assert names["mine"] == 1


def test_what_is_larger_than_the_memory_is_offered_as_a_sample(browser, bucket, names, monkeypatch, wb):
    bucket.put(b"a,b\n" + b"1,2\n" * 200_000, f"{wb}/long.csv")
    monkeypatch.setattr(load_module, "free_memory", lambda: 1000)
    browser.load_value(f"{wb}/long.csv", "long")
    assert "long" not in names
    assert browser.loaded["offer"] == 100_000
    assert browser.loaded["words"] == f"'{wb}/long.csv' has 800 kB and needs about 2.0 MB of memory; 1.0 kB are free."
    browser.load_value(f"{wb}/long.csv", "long", sample=100_000)
    assert len(names["long"]) == 100_000
    assert browser.loaded["code"].endswith(f'long = pd.read_csv("lk://{wb}/long.csv", nrows=100000)')


def test_what_is_no_table_is_loaded_as_what_it_is(browser, bucket, names, wb):
    file = io.BytesIO()
    np.save(file, np.arange(6).reshape(2, 3))
    bucket.put(file.getvalue(), f"{wb}/a b.npy")
    browser.load_value(f"{wb}/a b.npy", "array")
    assert names["array"].shape == (2, 3)
    assert browser.loaded["code"] == f"%lk_load '{wb}/a b.npy' --as array"


def test_a_broken_file_and_one_that_is_gone_are_said_in_words(browser, bucket, names, wb):
    bucket.put(b"PAR1 no", f"{wb}/broken.parquet")
    browser.look(f"{wb}/broken.parquet")
    assert browser.seen["words"].startswith("Can't read this as parquet")
    with pytest.raises(StorageError, match=r"Can't read .* as parquet"):
        browser.load_value(f"{wb}/broken.parquet", "broken")
    with pytest.raises(NoSuchObject):
        browser.look(f"{wb}/gone.csv")


def test_a_secret_in_a_file_is_not_kept_in_the_notebook(browser, bucket, wb):
    secret = "lk_" + "Ab3" * 12
    bucket.put(f"LK_API_KEY={secret}\n".encode(), f"{wb}/.env")
    bucket.put(f"key\n{secret}\n".encode(), f"{wb}/keys.csv")
    for name in (".env", "keys.csv"):
        browser.look(f"{wb}/{name}")
        assert secret not in str(browser.picture())
        assert "redacted" in str(browser.picture())


def test_without_a_network_it_says_so_and_it_recovers_by_itself(bucket, names, wb):
    bucket.put(b"x", f"{wb}/x.txt")
    session = current()
    with Network(session.client.storage.credentials().endpoint) as network:
        network.go_away()
        browser = StorageBrowser(wb)
        issue = bucket._credentials._issue
        bucket._credentials._issue, bucket._credentials._present = network.through(issue), None
        bucket._wire._pauses = ()
        browser._call_and_report(browser.refresh)
        assert browser.notice["kind"] == "error"
        assert "Can't reach" in browser.notice["text"]
        assert "(not read yet)" in browser.picture().text
        network.come_back()
        browser._call_and_report(browser.refresh)
        assert browser.notice["text"] == ""
        assert shown(browser) == ["x.txt"]
        bucket._credentials._issue, bucket._credentials._present = issue, None


def test_a_new_folder_is_shown_and_what_keeps_it_is_not(browser, bucket, wb):
    browser.refresh()
    browser.make_folder(f"{wb}/", "new")
    browser.open_folder(f"{wb}/new/")
    assert (shown(browser), shown(browser, "new/")) == (["new/"], [])
    with pytest.raises(UsageError, match="Nothing was created"):
        browser.make_folder(f"{wb}/", "../up")
    bucket.put(b"x", f"{wb}/new/x.txt")
    browser.refresh()
    assert shown(browser, "new/") == ["x.txt"]


def test_what_was_said_of_a_click_stays_when_the_browser_asks_for_news(browser, wb):
    browser._call_and_report(lambda: browser.look(f"{wb}/gone.csv"))
    browser._call_and_report(browser.refresh)
    assert "gone.csv" in browser.notice["text"]


def test_its_picture_is_the_tree_and_what_was_looked_at(browser, bucket, wb):
    bucket.put(b"a,b\n1,<b>\n", f"{wb}/<i>.csv")
    bucket.put(b"x", f"{wb}/deep/x.txt")
    browser.refresh()
    browser.open_folder(f"{wb}/deep/")
    browser.look(f"{wb}/<i>.csv")
    browser.load_value(f"{wb}/<i>.csv", "table")
    picture = browser.picture()
    assert [line.split()[0] for line in picture.text.splitlines()[1:4]] == ["<i>.csv", "deep/", "x.txt"]
    for words in ("a (int), b (text)", "1 | <b>", "table: DataFrame, 1 row, 2 columns", f"/mnt/s3/{wb}/<i>.csv"):
        assert words in picture.text
    assert "&lt;i&gt;.csv" in picture.html
    assert "<i>" not in picture.html


def test_a_button_that_deletes_reports_read_only_mode_and_deletes_nothing(browser, bucket, wb):
    bucket.put(b"x", f"{wb}/x.txt")
    settings.save("read_only", "on")
    browser._call_and_report(lambda: browser.delete(f"{wb}/x.txt"))
    assert browser.notice["kind"] == "error"
    assert "Read-only mode is on. Nothing was sent." in browser.notice["text"]
    settings.save("read_only", "off")
    assert bucket.get_bytes(f"{wb}/x.txt") == b"x"
