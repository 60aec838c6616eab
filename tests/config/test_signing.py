"""Keys that sign what runs send to this machine."""

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lk_jupyter.config import signing
from lk_jupyter.config.files import config_file
from lk_jupyter.remote import sign


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    signing._read_or_create_secret.cache_clear()
    yield
    signing._read_or_create_secret.cache_clear()


def test_each_run_has_another_key_which_every_process_of_the_user_derives():
    key = signing.signing_key("run 1")
    assert key != signing.signing_key("run 2")
    code = "from lk_jupyter.config.signing import signing_key; print(signing_key('run 1').hex())"
    processes = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        for _ in range(2)
    ]
    assert {process.stdout.strip() for process in processes} == {key.hex()}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_owner_reads_the_secret_behind_the_keys():
    signing.signing_key("run 1")
    (path,) = config_file().parent.glob("*.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == sign.SIZE


def test_processes_that_start_together_agree_on_one_secret():
    code = "from lk_jupyter.config.signing import signing_key; print(signing_key('run 1').hex())"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1


def test_threads_that_start_together_agree_on_one_secret():
    barrier = threading.Barrier(8)

    def key(_):
        barrier.wait()
        return signing.signing_key("run 1")

    for _ in range(20):
        with ThreadPoolExecutor(8) as threads:
            keys = set(threads.map(key, range(8)))
        signing._read_or_create_secret.cache_clear()
        assert keys == {signing.signing_key("run 1")}
        signing._read_or_create_secret.cache_clear()
        next(config_file().parent.glob("*.key")).unlink()


def test_a_secret_that_cannot_be_stored_lasts_as_long_as_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "inside"))
    (tmp_path / "file").touch()
    assert signing.signing_key("run 1") == signing.signing_key("run 1")


def test_threads_agree_on_a_secret_that_cannot_be_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "inside"))
    (tmp_path / "file").touch()
    barrier = threading.Barrier(8)

    def key(_):
        barrier.wait()
        return signing.signing_key("run 1")

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            signing._read_or_create_secret.cache_clear()
            assert len(set(threads.map(key, range(8)))) == 1


def test_a_damaged_secret_is_replaced():
    signing.signing_key("run 1")
    (path,) = config_file().parent.glob("*.key")
    path.write_bytes(b"short")
    signing._read_or_create_secret.cache_clear()
    signing.signing_key("run 1")
    assert len(path.read_bytes()) == sign.SIZE


def test_parts_that_join_to_the_same_bytes_have_different_signatures():
    key = b"k" * 32
    assert sign.signature(key, b"ab", b"c") != sign.signature(key, b"a", b"bc")
    assert sign.is_signed(key, sign.signature(key, b"ab"), b"ab")
    assert not sign.is_signed(key, sign.signature(key, b"ab"), b"ac")
    assert not sign.is_signed(key, b"", b"ab")
