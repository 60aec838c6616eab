"""Folders of another member, through each way of a download: no program that the user then starts executes a file."""

from __future__ import annotations

import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from patience import PATIENCE
from storage.hostile_folders import HOSTILE, MINE, PROGRAMS, encode_files, make_folder, start_programs, unite_folders

import lk_jupyter
from lk_jupyter.cli import main
from lk_jupyter.errors import StorageError
from lk_jupyter.runs.variables import files as returned_files
from lk_jupyter.storage.fsspec import StorageFileSystem

pytestmark = pytest.mark.xdist_group("hostile folders")


@pytest.fixture
def connected(cloud, home, monkeypatch):
    """The settings of a user who is signed in."""
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)


def get(storage, key, _, folder):
    storage.get(f"{key}/", folder)


def get_by_command(storage, key, _, folder):
    assert main(["get", f"{key}/", str(folder)]) == 0


def sync(storage, key, _, folder):
    storage.sync(f"lk://{key}", folder)


def stage(storage, key, _, folder):
    storage.stage(key, folder, overwrite=True)


def stage_in_a_run(storage, key, _, folder):
    """Stage into an empty folder, as a file with other content is an error, and copy that into the user's folder."""
    staged = folder.with_suffix(".staged")
    with lk_jupyter.connect() as session:
        session.run("pass", machine="cpu", stage=[f"lk://{key}:{staged}"]).result(PATIENCE)
    shutil.copytree(staged, folder, dirs_exist_ok=True)


def get_by_fsspec(storage, key, _, folder):
    StorageFileSystem(storage).get(f"{key}/", f"{folder}/", recursive=True)


def return_from_a_run(storage, key, files, folder):
    """Write the files that a run, or a cell of a session, has written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        returned_files.write_files(files, {})
        patch.setattr(returned_files, "_written", {})
        returned_files.write_files(returned_files.acceptable_files(files), {})


BUCKET_WAYS = [get, get_by_command, sync, stage, get_by_fsspec]
WAYS = [*BUCKET_WAYS, stage_in_a_run, return_from_a_run]


class Downloads:
    """Downloads folders, and starts the programs once in each content of a folder."""

    def __init__(self, storage, parent: Path) -> None:
        self._storage = storage
        self._parent = parent
        self.mark = parent / "executed"
        self._tried: set[frozenset[tuple[str, bytes, int]]] = set()
        self._keys: dict[frozenset[tuple[str, bytes]], str] = {}
        self.count = 0

    def _get_or_upload(self, files: frozenset[tuple[str, bytes]]) -> str:
        """Return the key of a folder with these files."""
        if files not in self._keys:
            key = self._keys[files] = f"hostile-{self._parent.name}/{len(self._keys)}"
            for name, content in (*files, ("theirs.csv", b"1,2\n")):
                with suppress(StorageError):  # a name that the bucket refuses
                    self._storage.put(content, f"{key}/{name}")
        return self._keys[files]

    def download(self, way, texts: dict[str, str]) -> dict[str, bytes]:
        """Download a folder in a way into a new folder of the user, start the programs, and return its files."""
        self.count += 1
        folder, files = self._parent / f"mine-{self.count}", encode_files(texts, self.mark)
        make_folder(folder, files)
        key = "" if way is return_from_a_run else self._get_or_upload(frozenset(files.items()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lists of skipped files
            way(self._storage, key, {"theirs.csv": b"1,2\n", **files}, folder)
        paths = [path for path in folder.rglob("*") if path.is_file()]
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        assert contents["theirs.csv"] == b"1,2\n"
        assert [contents[name].decode() for name in MINE] == list(MINE.values())
        content = frozenset((*item, (folder / item[0]).stat().st_mode) for item in contents.items())
        if content not in self._tried:
            self._tried.add(content)
            start_programs(folder, list(PROGRAMS))
        return contents


@pytest.fixture
def downloads(storage, connected, tmp_path):
    return Downloads(storage, tmp_path)


def test_no_program_executes_a_file_of_a_folder_that_was_downloaded(downloads):
    for way in WAYS:
        downloads.download(way, unite_folders())
        assert not downloads.mark.exists(), way


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS)
def test_no_program_executes_a_file_of_any_hostile_folder(downloads, way):
    executed = []
    for name, hostile in HOSTILE.items():
        downloads.download(way, hostile.files)
        if downloads.mark.exists():
            executed.append(name)
            downloads.mark.unlink()
    assert executed == []
    assert downloads.count == len(HOSTILE)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name, hostile in HOSTILE.items() if hostile.program])
def test_each_hostile_file_is_executed_without_the_rule(tmp_path, name):
    """The files act, so that a download without an execution means that the rule acts."""
    mark, folder, hostile = tmp_path / "executed", tmp_path / "mine", HOSTILE[name]
    make_folder(folder, hostile.files)
    for file, content in encode_files(hostile.files, mark).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    start_programs(folder, [hostile.program])
    assert mark.exists()
