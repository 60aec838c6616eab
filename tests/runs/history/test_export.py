import re
import shutil
import subprocess
from decimal import Decimal

import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.runs.history.export import render_script
from lk_jupyter.runs.history.history import find_run
from lk_jupyter.runs.history.rerun import stored_request

CODE = r"""
import sys, time
print('plain', 'tab\there', "quote\" and \\ and 'single'", '$HOME `date` %s &amp;')
print('ü € 😀 漢', '\x1b[32mgreen\x1b[0m')
print('{"jobFinished": {"output": 1}, "status": "failed"}')
print('END_OF_REQUEST')
for step in range(3):
    print(f'\rstep {step}', end='', flush=True)
    time.sleep(0.05)
print(sys.argv[1:])
print('no newline at the end', end='')
"""


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


@pytest.fixture
def export(session, tmp_path):
    """A function that runs code to its end and gives the run with its script."""

    def export(code, **options):
        run = session.run(code, **options)
        run.wait()
        request = stored_request(*find_run(session, run.execution_id))
        path = tmp_path / "again.sh"
        path.write_text(render_script(request, session.base_url, title=f"Does run {run.execution_id} again."))
        return run, path

    return export


def start(path, key, folder="/usr/bin:/bin"):
    """Run a script with nothing but the key around it."""
    environment = {"PATH": folder, "TMPDIR": str(path.parent), "LK_API_KEY": key}
    shell = shutil.which("sh", path=folder)
    return subprocess.run([shell, path], env=environment, capture_output=True, check=False, cwd="/", timeout=PATIENCE)


def test_a_small_cost_is_said_in_digits(export, tmp_path):
    _, path = export("pass")
    reads = [line for line in path.read_text().splitlines() if line.startswith(("field()", "billed="))]
    (tmp_path / "record").write_text('{"billed": 9.5614e-05}')
    command = ["sh", "-c", "\n".join(["work=.", *reads, 'echo "$billed"'])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"0.000095614\n"


@pytest.mark.parametrize("tools", [("dash", "mawk"), ("dash", "gawk"), ("bash", "mawk"), ("busybox", "busybox")])
def test_the_script_does_the_run_again_and_prints_the_same(session, export, tmp_path, tools):
    if not all(map(shutil.which, tools)):
        pytest.skip(f"not all of {tools} are here")
    run, path = export(CODE, arg=["--lr", "0.1"], gpu="A100", label=["exported"])
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, tool in zip(("sh", "awk"), tools, strict=True):
        (folder / name).symlink_to(shutil.which(tool))
    ended = start(path, session.target.key.token, folder=f"{folder}:/usr/bin:/bin")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode() == run.result().stdout
    repeated = session.get(re.search(rb"run (\S+)", ended.stderr)[1].decode())
    assert repeated.execution_id != run.execution_id
    assert repeated.record.hardware_profile == "gpu.a100"
    assert repeated.record.labels == ["exported"]
    said = re.search(rb"completed, ([\d.]+) credits", ended.stderr)[1]
    assert Decimal(said.decode()) == repeated.record.billed


def test_the_script_holds_no_key_and_says_what_it_needs(session, export, cloud):
    _, path = export("print(1)")
    assert cloud.api_key not in path.read_text()
    ended = start(path, "")
    assert ended.returncode != 0
    assert b"LK_API_KEY" in ended.stderr
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_a_run_that_fails_makes_the_script_fail(export, cloud):
    _, path = export("print('before')\n1/0")
    ended = start(path, cloud.api_key)
    assert ended.returncode == 1
    assert ended.stdout.startswith(b"before\nTraceback")
    assert b"failed, " in ended.stderr


def test_a_refused_start_shows_the_servers_words_and_leaves_nothing(export):
    _, path = export("print(1)")
    ended = start(path, "lk_not_this_one_0000")
    assert ended.returncode == 1
    assert b"detail" in ended.stderr
    assert list(path.parent.glob("tmp.*")) == []


FRAMED = """
import time
print('one')
frame = '\\x1b]7411;a1b2c3;1;1/1;QUJD;0\\x07\\n'
for part in frame[:9], frame[9:]:
    print(part, end='', flush=True)
    time.sleep(0.1)
print('two')
"""


def test_what_is_meant_for_a_notebook_is_left_out(export, cloud):
    _, path = export(FRAMED, metadata={"lk_frames": "a1b2c3"})
    assert start(path, cloud.api_key).stdout == b"one\ntwo\n"
