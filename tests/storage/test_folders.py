"""Folders, both ways, and what is in the bucket."""

import os
import time
from functools import partial
from types import SimpleNamespace

import pytest
from storage.folder_contents import OBEYED, content

from lk_jupyter.config.files import config_file
from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage import _folders, _listing
from lk_jupyter.storage._plan import is_file_name


@pytest.fixture
def folder(tmp_path):
    """A folder with names that need care."""
    made = tmp_path / "here"
    for name in (
        "a.csv",
        "deep/er/b.csv",
        "with 'quotes' \"two\".txt",
        "ünï 日本.txt",
        "100%.txt",
        "empty",
        "a=b&c?d#e",
    ):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name == "empty" else name * 10)
    return made


def test_a_folder_comes_back_as_it_went(storage, folder, tmp_path):
    assert storage.put(folder, "fo/all").files == 7
    storage.get("fo/all/", tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def test_what_is_there_is_not_sent_again(network, watched, folder):
    (folder / "large").write_bytes(os.urandom(100_000))
    watched.put(folder, "fo/twice")
    network.up = 0
    again = watched.put(folder, "fo/twice")
    assert (again.files, again.same) == (0, 8)
    assert network.up < 20_000


def test_a_file_that_was_only_touched_is_not_sent_and_one_that_changed_is(storage, folder):
    storage.put(folder, "fo/touched")
    later = time.time() + 100
    os.utime(folder / "a.csv", (later, later))
    (folder / "empty").write_text("now not")
    assert storage.sync(folder, "lk://fo/touched").files == 1
    assert storage.get_bytes("fo/touched/empty") == b"now not"


def test_a_change_that_size_and_time_do_not_tell_is_found_by_checksum(storage, folder):
    storage.put(folder, "fo/sly")
    (folder / "a.csv").write_text("b" * (folder / "a.csv").stat().st_size)
    os.utime(folder / "a.csv", (1, 1))
    assert storage.sync(folder, "lk://fo/sly").files == 0
    assert storage.sync(folder, "lk://fo/sly", checksum=True).files == 1


def test_a_folder_here_follows_one_of_the_bucket(storage, folder, tmp_path):
    target = tmp_path / "there"
    storage.put(folder, "fo/down")
    assert storage.sync("lk://fo/down", target).files == 7
    assert storage.sync("lk://fo/down", target).files == 0
    (target / "a.csv").unlink()
    assert storage.sync("lk://fo/down", target).files == 1
    assert content(target) == content(folder)


def test_a_new_file_that_would_be_executed_unasked_is_downloaded_only_by_its_name(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "sitecustomize.py",
        "json.py",
        "deep/conftest.py",
        "start.pth",
        "model.py",
        "data/json.py",
        "model.csv",
    ):
        storage.put(b"x", f"fo/risky/{name}")
    done = storage.sync("lk://fo/risky", ".")
    assert set(content(tmp_path)) == {"model.csv"}
    assert len(done.left_out) == 6
    assert "Check it, then: %lk_get fo/risky/json.py json.py" in "".join(done.left_out)
    with pytest.warns(UserWarning, match=r"Skipped: 'fo/risky/\S+' "):
        storage.get("fo/risky/", tmp_path)
    storage.get("fo/risky/json.py", "json.py")
    storage.put(b"longer", "fo/risky/json.py")
    assert storage.sync("lk://fo/risky", ".").files == 0  # another member may have changed it
    assert content(tmp_path)["json.py"] == b"x"


def test_a_folder_download_leaves_out_and_lists_what_programs_obey_unasked(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = ["data/train.csv", "model/config.json", "model/weights.safetensors", "README", "notes.txt", "figure.png"]
    for name in (*OBEYED, *plain):
        storage.put(b"theirs", f"fo/obeyed/{name}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("mine")
    done = storage.sync("lk://fo/obeyed", ".", delete=False)
    assert set(content(tmp_path)) == {*plain, ".git/config"}
    assert (tmp_path / ".git" / "config").read_text() == "mine"
    assert len(done.left_out) == len(OBEYED)
    assert "Check it, then: %lk_get fo/obeyed/.bashrc .bashrc" in "".join(done.left_out)
    storage.get("fo/obeyed/.bashrc", ".bashrc")
    assert (tmp_path / ".bashrc").read_text() == "theirs"


def test_hidden_files_and_code_come_when_asked_for(storage, tmp_path):
    names = [".github/x.yml", "src/train.py", "run.sh", "test.txt", "bare/HEAD", "bare/config"]
    for name in (*names, "rows.csv"):
        storage.put(b"theirs", f"fo/asked/{name}")
    target = tmp_path / "there"
    assert storage.list_skipped_files("fo/asked", target) == sorted(names)
    assert storage.sync("lk://fo/asked", target).files == 1
    assert storage.sync("lk://fo/asked", target, include_hidden=True).files == len(names)
    assert set(content(target)) == {*names, "rows.csv"}


def test_only_a_file_that_a_download_wrote_and_nobody_changed_is_replaced(storage, tmp_path):
    storage.put(b"first", "fo/own/a.csv")
    storage.put(b"theirs", "fo/own/mine.csv")
    (tmp_path / "mine.csv").write_text("mine alone")
    done = storage.sync("lk://fo/own", tmp_path)
    assert (done.files, len(done.left_out)) == (1, 1)
    assert "'mine.csv' differs here" in done.left_out[0]
    storage.put(b"the second", "fo/own/a.csv")
    assert storage.sync("lk://fo/own", tmp_path).files == 1
    (tmp_path / "a.csv").write_text("changed by me")
    storage.put(b"third", "fo/own/a.csv")
    assert len(storage.sync("lk://fo/own", tmp_path).left_out) == 2
    assert content(tmp_path)["a.csv"] == b"changed by me"
    assert content(tmp_path)["mine.csv"] == b"mine alone"
    storage.get("fo/own/mine.csv", tmp_path / "mine.csv")
    assert content(tmp_path)["mine.csv"] == b"theirs"


def test_a_download_that_deletes_keeps_what_it_would_not_bring(storage, tmp_path):
    storage.put(b"x", "fo/deletes/a.csv")
    storage.put(b"x", "fo/deletes/Makefile")
    for name in ("Makefile", ".env", "code.py", "old.csv"):
        (tmp_path / name).write_text("mine")
    assert storage.sync("lk://fo/deletes", tmp_path, delete=True).removed == 1
    assert set(content(tmp_path)) == {"a.csv", "Makefile", ".env", "code.py"}


def test_a_download_into_the_folder_of_the_settings_changes_no_setting(storage, home, monkeypatch):
    folder = config_file().parent
    folder.mkdir(parents=True, exist_ok=True)
    storage.put(b"{}", "fo/settings/config.json")
    done = storage.sync("lk://fo/settings", folder)
    assert "would change the settings or records" in done.left_out[0]
    assert not config_file().exists()


def test_nothing_is_removed_unless_asked_for(storage, folder, tmp_path):
    target = tmp_path / "there"
    storage.put(folder, "fo/gone")
    storage.get("fo/gone/", target)
    (folder / "a.csv").unlink()
    (target / "own.txt").write_text("mine")
    assert storage.sync(folder, "lk://fo/gone").removed == 0
    assert storage.exists("fo/gone/a.csv")
    assert storage.sync(folder, "lk://fo/gone", delete=True).removed == 1
    assert not storage.exists("fo/gone/a.csv")
    assert storage.sync("lk://fo/gone", target, delete=True).removed == 2
    assert content(target) == content(folder)


def test_an_empty_source_does_not_empty_the_target(storage, folder, tmp_path):
    storage.put(folder, "fo/kept")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(StorageError, match="Nothing was"):
        storage.sync(tmp_path / "nothing", "lk://fo/kept", delete=True)
    with pytest.raises(StorageError, match="No files in"):
        storage.sync("lk://fo/missing", folder, delete=True)
    assert len(list(storage.ls("fo/kept"))) == 7
    assert len(content(folder)) == 7


@pytest.mark.parametrize(("source", "target"), [("here", "there"), ("lk://a", "lk://b")])
def test_a_sync_needs_a_side_here_and_a_side_there(storage, source, target):
    with pytest.raises(StorageError, match="Give one folder on this machine"):
        storage.sync(source, target)


def test_what_cannot_be_read_is_told_and_the_rest_goes(storage, folder):
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    done = storage.put(folder, "fo/odd")
    assert done.files == 7
    assert len(done.left_out) == 2
    assert all(any(name in line for line in done.left_out) for name in ("broken", "pipe"))


def test_a_key_that_is_no_file_name_on_windows_is_told_there_and_the_rest_comes(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "is_file_name", partial(is_file_name, windows=True))
    for key in ("fo/windows/a", "fo/windows/b:c"):
        storage.put(b"x", key)
    done = storage.sync("lk://fo/windows", tmp_path / "back")
    assert content(tmp_path / "back") == {"a": b"x"}
    assert list(done.left_out) == ["'fo/windows/b:c' can't be a file name here"]


def test_progress_ends_with_all_files_and_bytes(storage, folder, tmp_path):
    told = []
    storage.put(folder, "fo/told", progress=told.append)
    storage.get("fo/told/", tmp_path / "back", progress=told.append)
    size = sum(map(len, content(folder).values()))
    assert (told[-1].files_done, told[-1].bytes_done, told[-1].share) == (7, size, 1)
    assert "7 of 7 files" in str(told[-1])
    for move in (
        lambda: storage.put(folder / "a.csv", "fo/told/a", progress=told.append),
        lambda: storage.get("fo/told/a", tmp_path / "a", progress=told.append),
    ):
        told.clear()
        move()
        assert (told[-1].files_done, told[-1].bytes_done, told[-1].share) == (1, 50, 1)


def test_one_level_lists_folders_once(storage, folder):
    storage.put(folder, "fo/level")
    names = [found.name for found in storage.ls("fo/level", recursive=False)]
    assert "deep/" in names
    assert "a.csv" in names
    assert len(names) == 7
    assert [found.key for found in storage.ls("fo/level/deep")] == ["fo/level/deep/er/b.csv"]


def test_a_long_listing_is_asked_for_page_by_page(network, watched):
    for n in range(25):
        watched.put(b"", f"fo/many/{n:03}")
    asked = watched.pages("fo/many", size=10)
    assert len(next(asked)) == 10
    assert [found.key for page in asked for found in page] == [f"fo/many/{n:03}" for n in range(10, 25)]


def test_a_tree_shows_folders_and_sizes(storage, folder):
    storage.put(folder, "fo/tree")
    drawn = str(storage.tree("fo/tree"))
    assert drawn.splitlines()[0] == "fo/tree/"
    assert "└── er/" in drawn
    assert "b.csv  130 B" in drawn
    assert "er/" not in str(storage.tree("fo/tree", depth=1)).replace("deep/", "")
    assert "and more" in str(storage.tree("fo/tree", most=2))


def test_a_folder_is_removed_and_its_neighbours_stay(storage, folder):
    storage.put(folder, "fo/rm")
    storage.put(b"x", "fo/rm-not")
    assert storage.remove("fo/rm/") == 7
    assert storage.exists("fo/rm-not")
    for nothing in ("", "/", "lk://"):
        with pytest.raises(StorageError, match="Nothing was deleted"):
            storage.remove(nothing)


def test_objects_and_folders_move(storage, folder):
    storage.put(folder, "fo/mv")
    assert storage.move("fo/mv/a.csv", "fo/mv/z.csv") == 1
    assert storage.get_bytes("fo/mv/z.csv") == (folder / "a.csv").read_bytes()
    assert storage.move("fo/mv/", "fo/moved") == 7
    assert not list(storage.ls("fo/mv"))
    assert storage.exists("fo/moved/deep/er/b.csv")
    with pytest.raises(StorageError, match="inside"):
        storage.move("fo/moved/", "fo/moved/deeper/")


def test_a_file_may_be_given_a_folder_for_a_target(storage, folder, tmp_path):
    storage.put(folder / "a.csv", "fo/one/")
    assert storage.get("lk://fo/one/a.csv", tmp_path).name == "a.csv"


def test_a_folder_that_is_named_like_an_object_is_told_from_nothing(storage, folder, tmp_path):
    storage.put(folder, "fo/named")
    with pytest.raises(NoSuchObject, match="To download the folder, add a slash: 'fo/named/'"):
        storage.get("fo/named", tmp_path / "x")
    with pytest.raises(NoSuchObject, match="No file 'fo/nothing'"):
        storage.get("fo/nothing", tmp_path / "x")
    assert storage.get("fo/named/a.csv", tmp_path / "new" / "folder" / "b.csv").exists()


def test_an_object_is_read_as_a_file_by_range(network, watched):
    watched.put(bytes(range(256)) * 40_000, "fo/ranges")
    network.down = 0
    with watched.open("fo/ranges") as file:
        file.seek(-256, os.SEEK_END)
        assert file.read() == bytes(range(256))
        file.seek(256 * 100)
        assert file.read(4) == b"\0\1\2\3"
    assert network.down < 500_000


def test_lines_are_read_and_written_as_text(storage):
    with storage.open("fo/text", "w") as file:
        file.writelines(f"line {n} ü\n" for n in range(100_000))
    with storage.open("fo/text", "r") as file:
        lines = file.read().splitlines()
        assert file.encoding == "utf-8"  # whatever this machine's is
    assert (len(lines), lines[99_999]) == (100_000, "line 99999 ü")
    with storage.open("fo/latin", "w", encoding="latin-1") as file:
        file.write("ü")
    assert storage.get_bytes("fo/latin") == b"\xfc"
    with storage.open("fo/latin", "r", encoding="latin-1") as file:
        assert file.read() == "ü"


def test_a_file_whose_block_fails_is_not_there(storage):
    def fail():
        with storage.open("fo/half", "wb") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(NoSuchObject):
        storage.info("fo/half")


def test_a_mode_that_no_object_has_is_said(storage):
    with pytest.raises(StorageError, match="Unknown mode 'r\\+b'"):
        storage.open("fo/text", "r+b")


def test_a_folder_that_another_program_made_is_there_until_it_is_removed(storage, bucket):
    bucket.put_object(Key="fo/made/inner/", Body=b"")
    assert storage.is_folder("fo/made")
    assert [info.key for info in storage.ls("fo/made", recursive=False)] == ["fo/made/inner/"]
    storage.remove("fo/made/")
    assert not storage.is_folder("fo/made")
    assert not [info for info in storage.ls("fo", recursive=False) if info.key == "fo/made/"]


def test_a_folder_is_not_listed_after_its_last_object_went(storage):
    storage.put(b"x", "fo/emptied/deep/x")
    storage.put(b"x", "fo/stays/x")
    storage.remove("fo/emptied/deep/x")
    listed = [info.key for info in storage.ls("fo", recursive=False)]
    assert ("fo/emptied/" in listed, "fo/stays/" in listed) == (False, True)
    assert not storage.is_folder("fo/emptied")


class OldBucket:
    """Lists in the older form: no token, the next page is that after a marker. ``is_stuck``: the first page again."""

    def __init__(self, keys, *, is_stuck=""):
        self.keys = keys
        self.is_stuck = is_stuck

    def need(self, request):
        after = request.query.get("marker", "")
        after = "" if self.is_stuck and after >= self.is_stuck else after
        left = [key for key in self.keys if key > after]
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-06-02T09:14:03Z</LastModified><Size>1</Size></Contents>"
            for key in left[:2]
        )
        more = str(len(left) > 2).lower()
        body = f"<ListBucketResult><IsTruncated>{more}</IsTruncated>{rows}</ListBucketResult>"
        return SimpleNamespace(body=body.encode(), headers={})


def test_a_bucket_that_sends_no_token_is_listed_to_its_end():
    bucket = OldBucket([f"a/{number}" for number in range(5)])
    listed = [row.key for page in _listing.list_pages(bucket, "a/", recursive=True) for row in page]
    assert listed == bucket.keys


@pytest.mark.parametrize("stuck", ["a/2", "a/4"])
def test_a_bucket_that_repeats_a_page_is_no_list_without_end(stuck):
    bucket = OldBucket([f"a/{number}" for number in range(1, 8)], is_stuck=stuck)
    with pytest.raises(StorageError, match="repeats a page"):
        list(_listing.list_pages(bucket, "a/", recursive=True))
    assert _listing.list_folder_markers(bucket, "a/") == []


def test_markers_are_found_behind_the_first_page_of_a_bucket_without_tokens():
    assert _listing.list_folder_markers(OldBucket(["a/1", "a/2", "a/3/"]), "a/") == ["a/3/"]
