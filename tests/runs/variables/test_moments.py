"""A run that is killed returns the variables of its last saved moment."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest
from localcloud.conftest import until

import lk_jupyter
from lk_jupyter.protocol.bucket import MOMENT, returned_key
from lk_jupyter.remote import sign
from lk_jupyter.remote.script import moment
from lk_jupyter.remote.script import run as driver
from lk_jupyter.remote.values import transfer
from lk_jupyter.runs.observers.results import Returned
from lk_jupyter.runs.submit import upload

pytestmark = pytest.mark.usefixtures("home")

#: Code that adds numbers for a while, then ends the interpreter.
CRASH = """
import os, time
def add(items):
    items.append(len(items))
    time.sleep(0.01)
started = time.monotonic()
while True:
    add(items)
    if time.monotonic() - started > {seconds}: os._exit(3)
"""


@pytest.fixture
def session(cloud):
    with closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as connected:
        yield connected


def test_a_crashed_interpreter_returns_the_last_saved_moment_and_the_receipt_reports_when_it_was(session):
    items = []
    started = session.run(CRASH.format(seconds=2), inputs={"items": items}, sync=True, machine="cpu")
    namespace = {"items": items}
    notices = list(map(str, Returned(namespace, is_origin=False).ended(started, started.wait())))
    assert namespace["items"] == list(range(len(namespace["items"])))
    assert len(namespace["items"]) > 10
    assert "The run ended before it could send its variables. You get the variables that were saved at " in notices[-1]
    assert notices[-1].endswith(" before its end. Later changes and files of the run are missing.")


def test_a_moment_that_the_run_has_not_signed_sets_nothing(session):
    started = session.run(CRASH.format(seconds=2), inputs={"items": []}, sync=True, machine="cpu")
    started.wait()
    key = returned_key(started.bundle.token, MOMENT)
    content = session.storage.get_bytes(key)
    session.storage.put(content[:-1] + bytes([content[-1] ^ 1]), key, overwrite=True)
    assert dict(started.outputs()) == {}
    assert started.outputs().missing == {
        "state": "The record of the changed variables didn't arrive, because the run finished before sending it"
    }


def test_a_run_that_ends_within_a_second_saves_no_moment(session):
    started = session.run("items.append(1)", inputs={"items": []}, sync=True, machine="cpu")
    assert started.outputs() == {"items": [1]}
    assert not list(session.storage.ls(returned_key(started.bundle.token, MOMENT)))


def test_a_full_bucket_during_a_stop_returns_small_variables_and_lists_the_rest(session, monkeypatch):
    upload_links = upload.upload_links

    def refused(*arguments):
        links = upload_links(*arguments)
        broken = {"outputs": [link.replace("Signature=", "Signature=0") for link in links["outputs"]]}
        return {**links, **broken, "moment": links["moment"].replace("Signature=", "Signature=0")}

    monkeypatch.setattr(upload, "upload_links", refused)
    code = "import time\nsmall = n + 1\nbig = list(map(str, range(10_000)))\nprint('on', flush=True)\ntime.sleep(100)"
    started = session.run(code, inputs={"n": 1}, sync=True, machine="cpu")
    until(lambda: "on" in (started.record.stdout or ""))
    started.abort_soon(grace=60)
    outputs = started.outputs()
    assert outputs["small"] == 2
    assert "big" not in outputs
    assert outputs.missing["big"].startswith("big could not be returned: ")


@pytest.fixture
def moments(monkeypatch):
    """Moments that upload into a list."""
    uploads = []
    monkeypatch.setattr(driver, "_key", b"k" * 32)
    monkeypatch.setattr(transfer, "upload_once", lambda _, pieces, *__: uploads.append(b"".join(pieces)))
    values = {"x": 1}
    saved = moment.Moments("link", lambda: (lambda: str(values), []), 0.0)
    return saved, values, uploads


def test_only_changed_variables_are_uploaded(moments):
    saved, values, uploads = moments
    for value in (1, 1, 2):
        values["x"] = value
        saved._pack_and_upload()
        saved._upload.join()
    assert [content.partition(b"}{")[2] for content in uploads] == [b"'x': 1}", b"'x': 2}"]
    assert len(uploads[0]) > sign.SIZE


def test_the_next_moment_waits_until_saving_takes_at_most_a_twentieth_of_the_time(moments, monkeypatch):
    saved, _, _ = moments
    times = iter([100.0, 104.0])
    monkeypatch.setattr(moment, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(saved, "_pack_and_upload", lambda: None)
    saved._save_at_statement(None, "line", None)
    assert saved._due == pytest.approx(104 + 4 / moment.SHARE)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "end",
    [
        "__import__('ctypes').string_at(0)",  # a segmentation fault
        "os.kill(os.getpid(), 9)",  # as the system does if memory is used up
        "__import__('signal').pause()",  # until another client aborts, as the cloud does at a low balance
    ],
)
def test_a_killed_run_returns_the_last_saved_moment(session, end):
    code = CRASH.format(seconds=2).replace("os._exit(3)", f"print('end', flush=True); {end}")
    started = session.run(code, inputs={"items": []}, sync=True, machine="cpu")
    if "pause" in end:
        until(lambda: "end" in (started.record.stdout or ""))
        session.client.workloads.abort(started.execution_id)
    started.wait()
    assert len(started.outputs()["items"]) > 10
