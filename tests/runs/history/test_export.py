import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.runs.history import repeat_run
from lk_jupyter.runs.history.export import render_script
from lk_jupyter.runs.history.history import find_run
from lk_jupyter.runs.history.rerun import stored_request

CODE = r"""
import sys, time
print('plain', 'tab\there', "quote\" and \\ and 'single'", '$HOME `date` %s &amp;')
print('ü € 😀 漢', '\x1b[32mgreen\x1b[0m')
print('{"jobFinished": {"output": 1}, "status": "failed"}')
print("'''", 'END_OF_REQUEST')
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


def start(path, key, shell="sh"):
    """Run a script with nothing but the key and Python around it."""
    folder = path.parent / "tools"
    folder.mkdir(exist_ok=True)
    (folder / "python3").symlink_to(sys.executable)
    environment = {"PATH": str(folder), "TMPDIR": str(path.parent), "LK_API_KEY": key}
    command = [shutil.which(shell), *(["sh"] if shell == "busybox" else []), path]
    return subprocess.run(command, env=environment, capture_output=True, check=False, cwd="/", timeout=PATIENCE)


def test_a_small_cost_is_said_in_digits():
    assert repeat_run.format_cost(json.loads("9.5614e-05", parse_float=Decimal)) == "0.000095614"


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_script_does_the_run_again_and_prints_the_same(session, export, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} isn't installed")
    run, path = export(CODE, arg=["--lr", "0.1"], gpu="A100", label=["exported"])
    ended = start(path, session.target.key.token, shell)
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
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_a_run_that_fails_makes_the_script_fail(export, cloud):
    _, path = export("print('before')\n1/0")
    ended = start(path, cloud.api_key)
    assert ended.returncode == 1
    assert ended.stdout.startswith(b"before\nTraceback")
    assert b"failed, " in ended.stderr


def test_a_script_that_is_stopped_aborts_its_run(session, export, cloud):
    _, path = export("import sys, time; time.sleep(60 * (len(sys.argv) > 5)); print('on')")
    path.write_text(path.read_text().replace("> 5", "< 5"))
    environment = {**os.environ, "LK_API_KEY": cloud.api_key}
    with subprocess.Popen(["sh", path], env=environment, stderr=subprocess.PIPE) as script:
        run = session.get(script.stderr.readline().decode().split()[1])
        script.send_signal(signal.SIGTERM)
        assert script.wait(PATIENCE) == 130
    assert run.wait(PATIENCE).status == "aborted"


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
