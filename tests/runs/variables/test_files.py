"""Files that a run wrote, written into the folder of the kernel."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage.folder_contents import OBEYED

from lk_jupyter.journal import entry
from lk_jupyter.remote.script.files import ALL, EACH, MOST
from lk_jupyter.runs.variables import files
from lk_jupyter.runs.variables.files import acceptable_files, write_files
from lk_jupyter.storage._executed import find_name_risk


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of a notebook, from which modules are imported."""
    folder = tmp_path / "book"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    monkeypatch.setattr(files, "_written", {})
    return folder


def digest(content):
    return hashlib.sha256(content).hexdigest()


def present():
    return {path.as_posix(): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", [b"", b"mine"])
def test_a_file_that_the_run_did_not_get_stays_also_an_empty_one(content):
    Path("pack").mkdir()
    Path("pack/__init__.py").write_bytes(content)
    changes = write_files({"pack/__init__.py": b"of the run"}, {})
    assert changes.written == {"pack/__init__.py": "pack/__init___from_run.py"}
    assert present() == {"pack/__init__.py": content, "pack/__init___from_run.py": b"of the run"}


def test_a_file_that_the_run_got_is_replaced_only_with_the_same_content():
    Path("rows.csv").write_bytes(b"mine")
    assert write_files({"rows.csv": b"new"}, {"rows.csv": digest(b"mine")}).written == {"rows.csv": "rows.csv"}
    assert write_files({"rows.csv": b"newer"}, {}).written == {"rows.csv": "rows.csv"}  # a run wrote it
    Path("rows.csv").write_bytes(b"mine again")
    changes = write_files({"rows.csv": b"last"}, {"rows.csv": digest(b"mine")})
    assert changes.written == {"rows.csv": "rows_from_run.csv"}
    assert present() == {"rows.csv": b"mine again", "rows_from_run.csv": b"last"}


@pytest.mark.parametrize("name", ["results/", "results"])
def test_a_folder_that_the_run_did_not_get_stays_also_an_empty_one(name):
    Path("results").mkdir()
    changes = write_files({name: None}, {})
    assert Path("results").is_dir()
    assert "wasn't sent to the run" in changes.missing[name]
    assert write_files({name: None}, {"results/": files.FOLDER}).removed == [name]
    assert not Path("results").exists()


def test_a_file_is_deleted_only_with_the_content_that_the_run_got():
    for name, content in {"a": b"sent", "b": b"", "c": b"changed"}.items():
        Path(name).write_bytes(content)
    sent = {"a": digest(b"sent"), "c": digest(b"before")}
    changes = write_files(dict.fromkeys(["a", "b", "c", "absent"]), sent)
    assert changes.removed == ["a"]
    assert present() == {"b": b"", "c": b"changed"}
    assert set(changes.missing) == {"b", "c"}


def test_a_run_writes_no_more_than_the_limits():
    large = {f"{number}.bin": bytes(EACH) for number in range(12)}
    changes = write_files({"huge.bin": bytes(EACH + 1), **large}, {})
    assert list(changes.written) == ["0.bin"]
    assert sum(len(content) for content in present().values()) <= ALL
    assert "huge.bin (5.0 MB) wasn't written: a run can write files of up to" in changes.missing["huge.bin"]


def test_a_run_writes_no_more_files_than_the_limit_and_the_reasons_stay_few():
    changes = write_files({f"{number:05}": b"x" for number in range(MOST + 200)}, {})
    assert len(present()) == MOST
    assert len(changes.missing) < 30
    assert "180 more files" in list(changes.missing.values())[-1]


EXECUTED = {
    "sitecustomize.py": "sitecustomize_from_run.py",
    "usercustomize.py": "usercustomize_from_run.py",
    "conftest.py": "conftest_from_run.py",
    "tests/conftest.py": "tests/conftest_from_run.py",
    "sitecustomize/__init__.py": "sitecustomize_from_run/__init__.py",
    "start.pth": "start.pth_from_run",
    "jupyter_server_config.py": "jupyter_server_config_from_run.py",
    "ipython_config.json": "ipython_config_from_run.json",
}
SHADOWING = {
    "json.py": "json_from_run.py",
    "random.pyc": "random.pyc_from_run",
    "asyncio/__init__.py": "asyncio_from_run/__init__.py",
    "pytest.py": "pytest_from_run.py",
    "lk_jupyter/__init__.py": "lk_jupyter_from_run/__init__.py",
    "helpers.py": "helpers_from_run.py",
    "tool/__init__.py": "tool_from_run/__init__.py",
    "src/json.py": "src/json_from_run.py",
}


@pytest.mark.parametrize(("name", "place"), {**EXECUTED, **SHADOWING}.items())
def test_a_file_that_would_be_executed_or_imported_unasked_gets_another_name(name, place, monkeypatch):
    Path("helpers").mkdir()
    Path("helpers/__init__.py").write_bytes(b"")
    Path("tool.py").write_bytes(b"")
    Path("src").mkdir()
    monkeypatch.syspath_prepend(str(Path("src").resolve()))
    assert acceptable_files({name: b"raise SystemExit"}) == {}
    changes = write_files({name: b"raise SystemExit"}, {})
    assert changes.written == {}
    assert f"so the file was renamed to {place}. Check it before you use the old name" in changes.missing[name]
    assert present()[place] == b"raise SystemExit"
    assert name not in present()


@pytest.mark.parametrize("name", ["model.py", "pack/__init__.py", "pack/json.py", "notes.json", "data/rows.csv"])
def test_a_new_module_and_data_get_their_names(name):
    assert acceptable_files({name: b"x"}) == {name: b"x"}
    assert write_files({name: b"x"}, {}).written == {name: name}
    assert write_files({name: b"y"}, {}).written == {name: name}


@pytest.mark.parametrize("name", OBEYED)
def test_a_run_brings_no_new_file_that_programs_obey_unasked(name):
    assert acceptable_files({name: b">>> theirs"}) == {}
    changes = write_files({name: b">>> theirs"}, {})
    assert (changes.written, list(changes.missing)) == ({}, [name])
    assert name not in present()
    assert [place for place in present() if find_name_risk(place)] == []


def test_a_text_that_pytest_collects_is_a_risk_only_with_an_example():
    assert acceptable_files({"test_scores.txt": b"0.91"}) == {"test_scores.txt": b"0.91"}
    assert write_files({"test_scores.txt": b"0.91"}, {}).written == {"test_scores.txt": "test_scores.txt"}
    assert acceptable_files({"test_other.txt": b">>> print()"}) == {}


def test_a_file_of_a_tool_that_the_run_got_is_replaced_with_its_new_content():
    Path("setup.cfg").write_bytes(b"mine")
    assert write_files({"setup.cfg": b"new"}, {"setup.cfg": digest(b"mine")}).written == {"setup.cfg": "setup.cfg"}
    assert present() == {"setup.cfg": b"new"}


NOT_HERE = [
    "",
    ".",
    "..",
    "../out",
    "/abs",
    "a//b",
    "a/../../out",
    "link/out",
    ".hidden",
    ".git/hooks/post-commit",
    "hooks/post-commit",
    "_lk_run.py",
    "__pycache__/model.cpython-311.pyc",
    "a\0b",
]


@pytest.mark.parametrize("name", NOT_HERE)
def test_nothing_is_written_outside_of_the_folder_or_into_hidden_files(name, folder):
    (folder / "link").symlink_to(folder.parent)
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / "hooks").symlink_to(folder / ".git" / "hooks")
    before = set(folder.parent.rglob("*"))
    for content in (b"of the run", None):
        changes = write_files({name: content}, {name: digest(b"")})
        assert (changes.written, changes.removed) == ({}, [])
        assert name in changes.missing
    assert acceptable_files({name: b"of the run"}) == {}
    assert set(folder.parent.rglob("*")) == before


NAMES = st.lists(
    st.sampled_from(["a", "b.py", "json.py", "..", ".", "", "loop", "out", "Ä", "\ud800", "x" * 300]), max_size=4
)
FILES = st.dictionaries(
    st.one_of(NAMES.map("/".join), NAMES.map(lambda parts: "/".join(parts) + "/"), st.text(max_size=20)),
    st.one_of(st.none(), st.binary(max_size=20)),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FILES)
def test_no_names_raise_and_none_leads_out_of_the_folder(folder, returned):
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    for name, target in {"loop": "loop", "out": outside}.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    acceptable_files(returned)
    write_files(returned, {})
    assert {path.name for path in folder.parent.iterdir()} == {"book", "outside"}
    assert list(outside.iterdir()) == []
    assert {(folder / name).is_symlink() for name in ("loop", "out")} == {True}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_device_in_the_folder_is_neither_read_nor_replaced():
    os.mkfifo("pipe")
    assert write_files({"pipe": b"x"}, {}).written == {"pipe": "pipe_from_run"}
    assert "the file has changed" in write_files({"pipe": None}, {}).missing["pipe"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows needs a right for links")
def test_a_link_that_takes_the_place_of_a_file_is_not_followed(folder, monkeypatch):
    target = folder.parent / "outside.csv"
    target.write_bytes(b"")
    make = files._make_folders

    def swap(path):
        make(path)
        (folder / "rows.csv").symlink_to(target)

    monkeypatch.setattr(files, "_make_folders", swap)
    changes = write_files({"rows.csv": b"of the run"}, {"rows.csv": digest(b"")})
    assert changes.written == {}
    assert "can't be written here" in changes.missing["rows.csv"]
    assert target.read_bytes() == b""


def test_the_notebook_is_never_replaced_or_deleted(folder, monkeypatch):
    Path("book.ipynb").write_bytes(b"{}")
    monkeypatch.setattr(files, "current_cell", lambda: entry.CellContext(str(folder / "book.ipynb")))
    sent = {"book.ipynb": digest(b"{}")}
    assert write_files({"book.ipynb": b"[]"}, sent).written == {"book.ipynb": "book_from_run.ipynb"}
    assert "stays here" in write_files({"book.ipynb": None}, sent).missing["book.ipynb"]
    assert Path("book.ipynb").read_bytes() == b"{}"
