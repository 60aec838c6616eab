"""Folders of the bucket are staged on the disk: in parallel, and resumed after any end."""

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from patience import PATIENCE
from storage.between import SMALL_PART
from storage.folder_contents import content

from lk_jupyter.errors import StorageError
from lk_jupyter.storage import _download, _folders
from lk_jupyter.storage.objects import ObjectInfo

pytestmark = pytest.mark.usefixtures("small_parts")

EIGHTH = SMALL_PART // 8
CONTENT = os.urandom(EIGHTH) * 20  # three parts


@pytest.fixture
def staged(storage):
    """A folder of the bucket with small files and a file of three parts."""
    files = {"a.csv": b"1,2\n", "deep/er/b.csv": b"3,4\n", "empty": b"", "large.bin": CONTENT}
    for name, data in files.items():
        storage.put(data, f"sg/data/{name}")
    yield files
    storage.remove("sg/data/")


def test_a_folder_is_staged_with_checksums_and_only_once(staged, network, watched, tmp_path):
    done = watched.stage("lk://sg/data", tmp_path / "data", checksum=True)
    assert content(tmp_path / "data") == staged
    assert (done.files, done.checked, done.left_out) == (4, 3, ())  # an empty file has nothing to compare
    network.down = 0
    again = watched.stage("lk://sg/data/", tmp_path / "data")
    assert (again.files, again.same) == (0, 4)
    assert network.down < 20_000


def test_a_single_file_is_staged_into_a_folder(staged, storage, tmp_path):
    assert storage.stage("lk://sg/data/large.bin", tmp_path / "data", checksum=True).checked == 1
    assert content(tmp_path / "data") == {"large.bin": CONTENT}


def test_a_file_with_other_content_is_replaced_only_with_overwrite(staged, storage, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"9,9\n")  # of the same size, and newer
    with pytest.raises(StorageError, match=r"a.csv' already exists with other content. Nothing was downloaded"):
        storage.stage("sg/data", tmp_path)
    assert content(tmp_path) == {"a.csv": b"9,9\n"}
    assert storage.stage("sg/data", tmp_path, overwrite=True).files == 4
    assert content(tmp_path) == staged


def test_a_file_with_the_same_content_and_another_time_is_not_downloaded(staged, storage, tmp_path):
    (tmp_path / "large.bin").write_bytes(CONTENT)
    os.utime(tmp_path / "large.bin", (1, 1))
    assert storage.stage("sg/data", tmp_path).same == 1


@pytest.mark.parametrize("key", ["sg/none", "sg/none/", "sg/data/none.bin"])
def test_a_key_without_files_is_reported(storage, tmp_path, key):
    with pytest.raises(StorageError, match=r"No files in 'sg/.*none.*'. Nothing was downloaded"):
        storage.stage(key, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_file_is_reported(staged, storage, tmp_path):
    (tmp_path / "data").write_text("mine")
    with pytest.raises(StorageError, match="File exists"):
        storage.stage("sg/data", tmp_path / "data")
    assert (tmp_path / "data").read_text() == "mine"


def test_staging_that_was_killed_resumes(start, staged, network, watched, tmp_path):
    assert start("stage", tmp_path / "data", "sg/data", 18 * EIGHTH) < 0
    assert "large.bin" not in content(tmp_path / "data")
    network.down = 0
    watched.stage("sg/data", tmp_path / "data")
    assert content(tmp_path / "data") == staged
    assert network.down < len(CONTENT)


@pytest.fixture
def interrupted(network, watched, tmp_path):
    """Stage until a part of the large file is stored, and interrupt; return the file with the parts."""
    is_still = network.stand_still_after(18 * EIGHTH)

    def interrupt(progress):
        if is_still.is_set() and progress.bytes_done > SMALL_PART:
            raise KeyboardInterrupt

    def run():
        with pytest.raises(KeyboardInterrupt):
            watched.stage("sg/data", tmp_path, progress=interrupt)
        network.move_on()
        return next(tmp_path.glob(".lk-*.part"))

    return run


def test_staging_that_was_interrupted_resumes(staged, network, watched, interrupted, tmp_path):
    interrupted()
    network.down = 0
    watched.stage("sg/data", tmp_path)
    assert content(tmp_path) == staged
    assert network.down < len(CONTENT)


@pytest.mark.parametrize("checksum", [False, True])
def test_a_torn_part_of_an_earlier_attempt_is_downloaded_again(staged, storage, interrupted, tmp_path, checksum):
    part = interrupted()
    with part.open("r+b") as file:
        for at in range(0, len(CONTENT), SMALL_PART):
            file.seek(at + 100)
            file.write(b"torn")
    with part.with_suffix(".done").open("ab") as marks:
        marks.write(b"torn")
    assert storage.stage("sg/data", tmp_path, checksum=checksum).checked == checksum
    assert content(tmp_path) == staged


def test_intact_parts_of_an_earlier_attempt_are_kept_if_checksums_are_compared(
    staged, network, watched, interrupted, tmp_path
):
    interrupted()
    network.down = 0
    assert watched.stage("sg/data", tmp_path, checksum=True).checked == 1
    assert network.down < len(CONTENT)


def test_an_object_that_changes_during_staging_is_reported_and_staged_next_time(
    staged, network, storage, watched, tmp_path
):
    is_still = network.stand_still_after(18 * EIGHTH)

    def change(_progress):
        if is_still.is_set():
            is_still.clear()
            storage.put(CONTENT[::-1], "sg/data/large.bin")
            network.move_on()

    with pytest.raises(StorageError, match=r"'sg/data/large.bin' changed while it was read"):
        watched.stage("sg/data", tmp_path, progress=change)
    assert not (tmp_path / "large.bin").exists()
    watched.stage("sg/data", tmp_path)
    assert content(tmp_path) == {**staged, "large.bin": CONTENT[::-1]}


def test_stored_parts_need_no_room(staged, storage, interrupted, tmp_path, monkeypatch):
    interrupted()
    usage = _download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda _: usage._replace(free=len(CONTENT) - SMALL_PART))
    storage.stage("sg/data", tmp_path)
    assert content(tmp_path) == staged
    with pytest.raises(StorageError, match=r"Free 5\.\d MB, or choose a folder on another disk"):
        storage.stage("sg/data", tmp_path / "other")


_FULL = """
import os, sys, threading
from pathlib import Path
from lk_jupyter.api._client import Client
from lk_jupyter.errors import StorageError
from lk_jupyter.storage.storage import Storage
from storage.between import Network, cut_small

cut_small()
folder, client = Path(sys.argv[1]), Client(os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"])
network = Network(client.storage.credentials().endpoint)
storage = Storage(network.through(client.storage.credentials))
is_still = network.stand_still_after(20_000_000)

def fill():
    is_still.wait()
    space = os.statvfs(folder)
    try:
        (folder / "filler").write_bytes(bytes(space.f_bavail * space.f_bsize - 100_000))
    finally:  # a last piece that is written meanwhile fills the disk, too
        network.move_on()

threading.Thread(target=fill, daemon=True).start()
try:
    storage.stage("sg/data", folder / "data")
except StorageError as error:
    print(error)
(folder / "filler").unlink()
print(storage.stage("sg/data", folder / "data").files)
print((folder / "data" / "large.bin").stat().st_size)
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0
    if sys.platform == "linux"
    else True,
    reason="mounts a small disk",
)
def test_a_disk_that_fills_up_ends_staging_in_one_line_and_the_next_call_resumes(cloud, staged, storage, tmp_path):
    storage.put(CONTENT * 3, "sg/data/large.bin")
    script, disk = tmp_path / "full.py", tmp_path / "disk"
    script.write_text(_FULL)
    disk.mkdir()
    tests = str(Path(__file__).parent.parent)
    env = {**os.environ, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "PYTHONPATH": tests}
    mount = f"mount -t tmpfs -o size=60m none {disk} && exec {sys.executable} {script} {disk}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    message, *rest = done.stdout.splitlines()
    assert "No space left on device" in message, done.stderr
    assert "Complete files are kept" in message
    assert rest == ["1", str(3 * len(CONTENT))]


class HostileBucket:
    """A bucket with keys that no program should write here."""

    def __init__(self, *keys):
        self.keys = keys

    def ls(self, _folder=""):
        return [ObjectInfo(key, 1, datetime(2026, 1, 1, tzinfo=timezone.utc), "x") for key in self.keys]

    def find(self, _key):
        return None

    def _read(self, _info, start, end):
        return memoryview(b"x" * (end - start))


def test_keys_that_leave_the_target_or_are_no_file_names_are_skipped_and_the_rest_is_staged(tmp_path):
    keys = ["p/../../evil", "p//twice", "p/deep/../evil", "p/nul\0", "p/" + "n" * 300, "p/a", "p/a/b", "p/good"]
    how = _folders.TransferOptions(is_staging=True, overwrite=False, checksum=True)
    done = _folders.download_folder(HostileBucket(*keys), "p", tmp_path / "data", how)
    assert content(tmp_path / "data").keys() in ({"a", "good"}, {"a/b", "good"})
    assert len(done.left_out) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
