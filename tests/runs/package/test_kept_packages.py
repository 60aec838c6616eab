"""Packages that a run keeps in the bucket are restored by later runs with the same requirements, or installed again."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from wheels import as_requirements, choose_packages, digest, write_index, write_wheel

from lk_jupyter.config.settings import save
from lk_jupyter.errors import RunFailed
from lk_jupyter.protocol.bucket import PACKAGES
from lk_jupyter.remote.script import packages
from lk_jupyter.runs.package import kept_packages
from lk_jupyter.session import connect

#: Shows the versions of the packages in the run, and whether a child process imports the same.
CODE = """import json, subprocess, sys
from importlib import metadata
names = {name: d.version for d in metadata.distributions() if (name := d.name.replace("-", "_")).startswith("lk_tiny")}
child = f"import {', '.join(names)}"
print(json.dumps([names, subprocess.run([sys.executable, "-c", child]).returncode]))
"""


@pytest.fixture
def index(home, tmp_path, monkeypatch):
    """Wheels that the runs of new clouds install, and a machine without folders of packages."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    save("keep_packages", "on")
    return write_index(folder)


@pytest.fixture
def session(make_cloud, index):
    cloud = make_cloud()
    with connect(cloud.base_url, cloud.api_key) as connected:
        yield connected


@pytest.fixture
def forget_machine(tmp_path):
    """Delete the folders of packages, as on a new machine."""

    def forget():
        for folder in (tmp_path / "machine").glob("lk_packages_*"):
            shutil.rmtree(folder)

    return forget


def provide(session, requirements, code=CODE):
    """Return the source of the packages of a run, its answer, and its stderr."""
    run = session.run(code, requirements=requirements)
    list(run.follow())
    result = run.result()
    (message, *_) = [frame.payload for frame in run.messages.read("packages")]
    assert run.timing().installation == message["seconds"]
    return message["source"], json.loads(result.stdout), result.stderr.strip()


def pins(chosen):
    return [f"{name}=={version}" for name, version in chosen.items()]


@pytest.mark.nightly
def test_the_second_run_restores_the_packages_of_the_first_and_downloads_none(
    session, index, tmp_path, forget_machine, monkeypatch
):
    chosen = choose_packages(index, 0)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    Path("requirements.txt").write_text(as_requirements(index, chosen))
    source, answer, log = provide(session, ["project"])
    assert (source, answer) == ("installed", [chosen, 0])
    assert re.fullmatch(r"Installing lk_tiny_\d.*\.", log)
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    assert provide(session, ["project"]) == ("machine", [chosen, 0], "")
    forget_machine()
    assert provide(session, ["project"]) == ("bucket", [chosen, 0], "")


def replace_objects(session, change):
    for info in list(session.storage.ls(PACKAGES)):
        content = change(session.storage.get_bytes(info.key))
        session.storage.remove(info.key) if content is None else session.storage.put(content, info.key)


def set_platform():
    for path in kept_packages._build_rows_path("").parent.glob("*.json"):
        path.write_text(re.sub(r'"base": "\w+"', f'"base": "{"0" * 32}"', path.read_text()))


#: Damage → the reason that the next run reports.
DAMAGE = {
    "torn": (lambda content: content[: len(content) // 2], "part 1 was changed in the bucket"),
    "forged by a member": (lambda content: content.replace(b"version = ", b"version =\t"), "part 1 was changed"),
    "deleted": (lambda content: None, "the packages are no longer in the bucket"),
}


@pytest.mark.nightly
@pytest.mark.parametrize(
    "damage",
    [name if name == "forged by a member" else pytest.param(name, marks=pytest.mark.nightly) for name in DAMAGE],
)
def test_damaged_packages_are_installed_again_with_a_line_that_says_so_and_repaired(
    session, index, forget_machine, damage
):
    chosen, (change, reason) = choose_packages(index, 1), DAMAGE[damage]
    block = f"# /// script\n# dependencies = {json.dumps(pins(chosen))}\n# ///\n"
    assert provide(session, [], block + CODE)[:2] == ("installed", [chosen, 0])
    replace_objects(session, change)
    forget_machine()
    source, answer, log = provide(session, pins(chosen))
    assert (source, answer) == ("installed", [chosen, 0])
    assert re.fullmatch(rf"Packages from the bucket can't be used: {reason}.*\. Installing lk.*\.", log)
    forget_machine()
    assert provide(session, pins(chosen)) == ("bucket", [chosen, 0], "")


@pytest.mark.nightly
def test_packages_of_another_platform_are_installed_and_kept_for_both(session, index, forget_machine):
    chosen = choose_packages(index, 2)
    provide(session, pins(chosen))
    assert provide(session, pins(chosen))[0] == "machine"
    set_platform()
    source, answer, log = provide(session, pins(chosen))
    assert (source, answer) == ("installed", [chosen, 0])
    assert log.startswith(
        "Packages from the bucket can't be used: the packages are for another Python or platform. Installing"
    )
    forget_machine()
    assert provide(session, pins(chosen))[0] == "bucket"


@pytest.mark.nightly  # tests/localcloud/test_runs.py
def test_packages_that_cannot_be_installed_fail_the_run_before_its_code(session, index):
    run = session.run("print('started')", requirements=["lk_tiny_0==9"])
    with pytest.raises(RunFailed):
        run.result()
    assert re.search(r"(?s)No matching distribution.*The code didn't start", run.record.stderr)
    assert "started" not in run.record.stdout
    assert not [*session.storage.ls(PACKAGES)]


def test_a_full_disk_leaves_no_half_folder(tmp_path):
    part = tmp_path / "part.tar"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "large.py").write_bytes(b"#" * 1_000_000)
    packages._pack_files(str(tmp_path), ["modules/large.py"], str(part))
    record = {"base": "b", "parts": [[part.stat().st_size, [digest(part)]]], "links": [part.as_uri()]}
    code = """if True:
        import json, resource, sys
        from lk_jupyter.remote.script import packages
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        try:
            packages._restore_packages(json.loads(sys.argv[1]), sys.argv[2])
        except packages.Unusable as error:
            print(error)
    """
    root = tmp_path / "root"
    root.mkdir()
    command = [sys.executable, "-c", code, json.dumps(record), str(root)]
    assert "OSError: tar" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert not [*root.iterdir()]
    with pytest.raises(packages.Unusable, match=r"the disk needs .* free bytes"):
        packages._restore_packages({**record, "parts": [[1 << 60, []]]}, str(root))
    assert packages._restore_packages(record, str(root))[1] == "bucket"
    assert packages._restore_packages(record, str(root))[1] == "machine"


def write_large_wheel(folder):
    """Write a wheel with 70 MB, of which a run starts its code before they are restored."""
    path = write_wheel(folder, "lk_large", "1.0")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("lk_large_data.bin", bytes(70_000_000))
    return path


LATE = """import time
print("first line", time.monotonic(), flush=True)
import lk_large
print("imported", time.monotonic(), lk_large.version)
"""


@pytest.mark.nightly
def test_code_starts_before_large_packages_are_restored_and_its_first_import_waits(
    session, index, tmp_path, forget_machine
):
    write_large_wheel(tmp_path / "wheels")
    for sources in (["installed"], ["pending", "bucket"]):
        run = session.run(LATE, requirements=["lk_large"], timeout=40)
        list(run.follow())
        assert run.result().stdout.endswith(" 1.0\n")
        messages = [frame.payload for frame in run.messages.read("packages") if "source" in frame.payload]
        assert [message["source"] for message in messages] == sources
        assert run.timing().installation == pytest.approx(sum(message["seconds"] for message in messages), abs=0.02)
        forget_machine()
    for path in session.storage.ls(PACKAGES):
        session.storage.put(b"damaged", path.key)
    run = session.run(LATE, requirements=["lk_large"], timeout=40)
    result = run.result()
    assert "part 1 was changed in the bucket. Installing lk_large." in result.stderr
    assert result.stdout.endswith(" 1.0\n")


@pytest.mark.parametrize(
    ("entries", "modules"),
    [
        (
            ["torch", "torch-2.0.dist-info", "six.py", "_x.abi3.so", "__pycache__"],
            ["__pycache__", "_x", "six", "torch"],
        ),
        (["numpy", "distutils-precedence.pth"], ["distutils", "numpy"]),
        (["numpy", "coverage.pth"], []),
    ],
)
def test_packages_that_change_python_at_its_start_are_restored_before_the_code(tmp_path, entries, modules):
    for entry in entries:
        (tmp_path / "modules" / entry).mkdir(parents=True)
    assert packages.list_modules(str(tmp_path)) == modules
