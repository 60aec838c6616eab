"""The packages of this kernel by their imports, and the local files that imports need."""

import importlib
import sys
from pathlib import Path

import pytest

from lk_jupyter.code.imports import local_files, metadata, providers
from lk_jupyter.code.packages import installed_requirements


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def install(folder, name):
    """Add the files that an installation of a package adds."""
    (folder / f"{name}.py").touch()
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "RECORD").write_text(f"{name}.py,,\n")


def test_packages_are_read_once_until_a_package_is_installed(folder, monkeypatch):
    install(folder, "lk_first")
    assert providers()["lk_first"] == ["lk_first"]
    with monkeypatch.context() as patch:
        patch.delattr(metadata, "packages_distributions")  # a call would read all files again
        assert installed_requirements({"lk_first"}) == ["lk_first==1.0"]
    install(folder, "lk_second")
    importlib.invalidate_caches()
    assert installed_requirements({"lk_first", "lk_second"}) == ["lk_first==1.0", "lk_second==1.0"]


def test_each_local_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").write_text("import project.data")
    (package / "data.py").write_text("import project, helper")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "other.py").write_text("")
    files = {"project/__init__.py", "project/data.py", "helper.py"}
    assert set(local_files({"project"}, tmp_path)) == files
    with monkeypatch.context() as patch:
        patch.delattr(Path, "read_bytes")  # a call would read the files again
        assert set(local_files({"project"}, tmp_path)) == files
    (tmp_path / "helper.py").write_text("import other")
    assert set(local_files({"project"}, tmp_path)) == {*files, "other.py"}
