"""A run copies folders of the bucket to its disk, by links that read single objects."""

import json
import os
import shutil
import urllib.error
import urllib.request
import zlib
from datetime import timedelta
from types import SimpleNamespace

import pytest

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.bucket import stage_key
from lk_jupyter.remote.script import stage
from lk_jupyter.runs.submit import stage as submit
from lk_jupyter.storage.storage import Storage

LARGE = os.urandom(1 << 20) * 18  # three parts


@pytest.fixture
def storage(cloud, home):
    return Storage(cloud.client.storage.credentials)


@pytest.fixture
def bucket(storage):
    """A folder of the bucket with small files and a file of three parts."""
    files = {"a.csv": b"1,2\n", "deep/er/b ü.csv": b"3,4\n", "empty": b"", "large.bin": LARGE}
    for name, content in files.items():
        storage.put(content, f"rm-stage/{name}")
    yield files
    storage.remove("rm-stage/")


def listed(storage, target, key="rm-stage", life=timedelta(hours=1)):
    """Return the staging of a folder, from the list that a run would get."""
    submit.upload_stage_list(storage, "token", [(key, str(target))], life)
    rows = json.loads(zlib.decompress(storage.get_bytes(stage_key("token"))))
    files = [stage.StagedFile(row, rows["origin"], rows["query"]) for row in rows["files"]]
    return stage.Staging(files, [])


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_stages_a_folder_with_checksums(storage, bucket, tmp_path, capsys):
    listed(storage, tmp_path).run()
    assert content(tmp_path) == bucket
    assert "Staged 4 files, 18.9 MB" in capsys.readouterr().out


def test_an_object_that_changes_or_is_deleted_meanwhile_is_reported_and_no_part_stays(storage, bucket, tmp_path):
    for name, change, words in (
        ("large.bin", lambda: storage.put(LARGE[::-1], "rm-stage/large.bin"), "'large.bin' changed in the bucket"),
        ("a.csv", lambda: storage.remove("rm-stage/a.csv"), "'a.csv' was deleted in the bucket"),
    ):
        staging = listed(storage, tmp_path / name)
        change()
        with pytest.raises(stage.NotStaged, match=words):
            staging.run()
        assert not list((tmp_path / name).rglob(".lk-*"))


def test_links_that_have_ended_are_reported_without_the_link(storage, bucket, tmp_path):
    staging = listed(storage, tmp_path)
    for file in staging._files:
        file.link = file.link[:-4] + "0000"
    with pytest.raises(stage.NotStaged, match=r"^The links to the bucket have expired \(HTTP 403\)") as raised:
        staging.run()
    assert "X-Amz" not in str(raised.value)


def test_files_come_from_the_mounted_bucket_if_the_links_have_ended(storage, bucket, tmp_path, monkeypatch):
    storage.get("rm-stage/", tmp_path / "mount" / "rm-stage")
    monkeypatch.setenv("LK_STORAGE", str(tmp_path / "mount"))
    staging = listed(storage, tmp_path / "target")
    for file in staging._files:
        file.link = file.link[:-4] + "0000"
    staging.run()
    assert content(tmp_path / "target") == bucket


def test_a_disk_without_room_is_reported_before_anything_is_downloaded(storage, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=18_000_000))
    with pytest.raises(stage.NotStaged, match=r"has 18.0 MB free, but the files need 18.9 MB. Nothing was staged"):
        listed(storage, tmp_path).run()
    assert content(tmp_path) == {}


def test_a_file_with_other_content_stays_and_a_staged_file_is_not_downloaded_again(storage, bucket, tmp_path):
    listed(storage, tmp_path).run()
    staging = listed(storage, tmp_path)
    assert all(stage._is_present(file) for file in staging._files)
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(stage.NotStaged, match=r"a.csv' exists with other content. Nothing was staged"):
        [stage._is_present(file) for file in staging._files]


def test_a_link_of_the_list_reads_its_object_and_does_nothing_else(storage, bucket, tmp_path):
    file = next(file for file in listed(storage, tmp_path)._files if file.name == "a.csv")
    assert urllib.request.urlopen(file.link).read() == b"1,2\n"
    other = file.link.replace("a.csv", "large.bin")
    for request in (
        urllib.request.Request(other),
        urllib.request.Request(file.link, data=b"x", method="PUT"),
        urllib.request.Request(file.link, method="DELETE"),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    assert storage.get_bytes("rm-stage/a.csv") == b"1,2\n"


@pytest.mark.parametrize("name", ["a.csv", "large.bin"])
def test_damaged_content_is_not_kept(storage, bucket, tmp_path, monkeypatch, name):
    staging = listed(storage, tmp_path, f"rm-stage/{name}")

    class DamagingConnections(stage.Connections):
        def read(self, link, etag, start, part, what):
            super().read(link, etag, start, part, what)
            part[0] ^= 1

    monkeypatch.setattr(stage, "Connections", DamagingConnections)
    with pytest.raises(stage.NotStaged, match=f"'{name}' was damaged in transit"):
        staging.run()
    assert content(tmp_path) == {}


def test_too_many_files_are_refused(storage, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "MOST_FILES", 3)
    with pytest.raises(UsageError, match=r"4 files are too many; a run stages up to 3. Nothing was sent"):
        listed(storage, tmp_path)


@pytest.mark.parametrize(
    ("size", "etag", "part"),
    [
        (100 << 20, "a" * 32 + "-13", 8 << 20),
        (100 << 20, "a" * 32 + "-20", 5 << 20),
        (100 << 20, "a" * 32 + "-2", 50 << 20),
        (100 << 20, "a" * 32, 8 << 20),
        (100 << 20, "odd", 8 << 20),
        (0, "", 8 << 20),
    ],
)
def test_parts_are_as_large_as_the_parts_of_the_upload(size, etag, part):
    assert stage.upload_part_size(size, etag) == part
