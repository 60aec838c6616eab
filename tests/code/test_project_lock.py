"""Locks of a project as requirements, and those that a run can't install."""

import builtins
import shutil

import pytest
from wheels import as_pylock, as_requirements, choose_packages, digest, write_index, write_wheel

from lk_jupyter.code.project_lock import find_project_lock
from lk_jupyter.errors import UsageError

pylock = pytest.importorskip("packaging.pylock")


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    return write_index(folder, 3)


def package(*lines, files="wheels = []"):
    return "\n".join(['lock-version = "1.0"', 'created-by = "tests"', "[[packages]]", 'name = "lk-a"', *lines, files])


def wheel(*tags):
    files = ", ".join(
        f'{{ name = "lk_a-1.0-{tag}.whl", url = "x", hashes = {{ sha256 = "{"a" * 64}" }} }}' for tag in tags
    )
    return f"wheels = [{files}]"


def test_a_pylock_gives_exact_versions_and_hashes(tmp_path, index):
    chosen = choose_packages(index, 1)
    (tmp_path / "pylock.toml").write_text(as_pylock(index, chosen))
    lock = find_project_lock(tmp_path)
    assert lock.requirements.replace("lk-tiny-", "lk_tiny_") == as_requirements(index, chosen)
    assert lock.versions == {name.replace("_", "-"): version for name, version in chosen.items()}
    assert lock.has_hashes
    assert lock.label.startswith("pylock.toml sha256:")


def test_the_nearest_lock_up_to_the_root_of_the_project_is_used(tmp_path):
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("outer==1\n")
    (tmp_path / "project" / "pyproject.toml").touch()
    with pytest.raises(UsageError, match=r"no lock file \(.*Nothing was sent\. Write one: uv export"):
        find_project_lock(inner)
    (tmp_path / "project" / "requirements.txt").write_text("inner==1\n")
    assert find_project_lock(inner).requirements == "inner==1\n"


def test_markers_go_along_and_files_for_other_platforms_do_no_harm(tmp_path):
    marker = "marker = \"sys_platform == 'win32'\""
    (tmp_path / "pylock.toml").write_text(package('version = "1.0"', marker, files=wheel("py3-none-win_amd64")))
    assert find_project_lock(tmp_path).requirements.startswith(
        'lk-a==1.0 ; sys_platform == "win32" \\\n    --hash=sha256:'
    )
    marker = "marker = \"'dev' in dependency_groups\""
    (tmp_path / "pylock.toml").write_text(package('version = "1.0"', marker, files=wheel("py3-none-any")))
    assert find_project_lock(tmp_path).requirements == ""


UNUSABLE = {
    "a lock for another platform": (
        "environments = [\"sys_platform == 'win32'\"]\n" + package('version = "1.0"', files=wheel("py3-none-any")),
        r'for another platform \(sys_platform == "win32"\)\. Nothing was sent\. Lock the project for Linux',
    ),
    "a package without a wheel for Linux": (
        package('version = "1.0"', files=wheel("cp312-cp312-win_amd64", "cp312-cp312-macosx_11_0_arm64")),
        r"'lk-a' 1.0 has no wheel for Linux on x86-64 \(lk_a-1.0-cp312-.*Lock the project for Linux too",
    ),
    "a package of a folder": (
        package(files="directory = { path = '../a' }"),
        "no version on a package index.*published",
    ),
    "a package of a repository": (
        package('version = "1.0"', files="vcs = { type = 'git', url = 'https://h/a', commit-id = 'abc' }"),
        "no version on a package index.*Lock a published version",
    ),
    "a lock that isn't one": ("lock-version = 3", "the lock isn't valid: .*Write it again: uv export"),
    "a torn lock": (
        package('version = "1.0"', files="wheels = [{"),
        "the lock isn't valid: .*Write it again: uv export",
    ),
    "a lock that isn't text": ("\udcff", "the lock can't be read"),
}


@pytest.mark.parametrize(("text", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_lock_is_refused_with_its_file_and_a_fix(tmp_path, text, message):
    (tmp_path / "pylock.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=rf"-r project: '.*pylock.toml': .*{message}") as error:
        find_project_lock(tmp_path)
    assert "Nothing was sent." in str(error.value)


@pytest.mark.parametrize("tag", ["manylinux_2_17_x86_64.manylinux2014_x86_64", "linux_x86_64", "any"])
def test_a_wheel_for_linux_is_enough(tmp_path, tag):
    (tmp_path / "pylock.toml").write_text(package('version = "1.0"', files=wheel(f"cp312-cp312-{tag}")))
    assert find_project_lock(tmp_path).versions == {"lk-a": "1.0"}


@pytest.mark.parametrize("line", ["-r base.txt", "-c limits.txt", "-e .", "./mine", "mine @ file:///mine"])
def test_requirements_that_refer_to_local_files_are_refused_with_their_line(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(f"numpy==1\n{line}\n")
    with pytest.raises(UsageError, match=r"line 2: '.*' refers to a file that isn't in the run\. Nothing was sent"):
        find_project_lock(tmp_path)


def test_an_older_packaging_gets_the_command_that_updates_it(tmp_path, monkeypatch):
    (tmp_path / "pylock.toml").write_text(package('version = "1.0"', files=wheel("py3-none-any")))
    real = builtins.__import__

    def without_pylock(name, globals_=None, locals_=None, names=(), level=0):
        if name == "packaging" and "pylock" in names:
            raise ImportError(name)
        return real(name, globals_, locals_, names, level)

    monkeypatch.setattr(builtins, "__import__", without_pylock)
    with pytest.raises(
        UsageError, match=r"needs the package 'packaging', version 26 or later\. Nothing was sent\. %pip install"
    ):
        find_project_lock(tmp_path)


UV_LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "lk-a"
version = "1.0"
source = {{ registry = "https://packages.test/simple" }}
wheels = [
    {{ url = "https://packages.test/{name}", hash = "sha256:{digest}" }},
]

[[package]]
name = "mine"
version = "0.1"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "lk-a" }},
]

[package.metadata]
requires-dist = [{{ name = "lk-a" }}]
"""
PYPROJECT = '[project]\nname = "mine"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = ["lk-a"]\n'


@pytest.fixture
def project(tmp_path):
    file = write_wheel(tmp_path, "lk_a", "1.0")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "uv.lock").write_text(UV_LOCK.format(name=file.name, digest=digest(file)))
    return file


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv isn't installed")
def test_uv_exports_its_lock_with_hashes_and_without_the_project(tmp_path, project):
    lock = find_project_lock(tmp_path)
    assert lock.requirements.split() == ["lk-a==1.0", "\\", f"--hash=sha256:{digest(project)}"]
    (tmp_path / "uv.lock").write_text("version = [")
    with pytest.raises(UsageError, match=r"uv export failed: .*Nothing was sent\. Update the lock: uv lock"):
        find_project_lock(tmp_path)


def test_without_uv_its_lock_is_refused_with_the_command_that_installs_uv(tmp_path, project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"uv isn't installed here.*Nothing was sent\. Install it: %pip install uv"):
        find_project_lock(tmp_path)
