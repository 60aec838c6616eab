"""Read-only mode: whatever would spend, write or delete is refused before anything is sent, through each door."""

import json
import re
from uuid import uuid4

import fsspec
import pytest
from api.scripted import KEY, ScriptedServer
from patience import PATIENCE

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, Call
from lk_jupyter.config import settings
from lk_jupyter.errors import LkError, ReadOnlyMode
from lk_jupyter.executor import Executor
from lk_jupyter.inference.clients import openai
from lk_jupyter.session import connect
from lk_jupyter.storage.storage import Storage

REFUSED = "Read-only mode is on. Nothing was sent. Switch it off: %lk_config read_only off"


@pytest.fixture
def read_only(home):
    settings.save("read_only", "on")


def call_of(endpoint):
    return Call(endpoint, endpoint.server + endpoint.path, {}, {}, None)


def send(client, endpoint):
    answer = client._send(call_of(endpoint))
    return list(answer) if endpoint.streams else answer


@pytest.fixture
def server():
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.mark.usefixtures("read_only")
def test_each_operation_that_spends_writes_or_deletes_is_refused_and_nothing_leaves(server):
    with Client(server.url, KEY, backoff=0) as client:
        for endpoint in ENDPOINTS:
            if endpoint.effect in {"spends", "writes", "deletes"}:
                with pytest.raises(ReadOnlyMode, match=re.escape(REFUSED)):
                    send(client, endpoint)
        with pytest.raises(ReadOnlyMode):
            client.probe("POST", "/api/v2/external/execution/streaming/start", {})
    assert server.requests == []


@pytest.mark.usefixtures("read_only")
def test_reading_signing_in_and_whatever_stops_a_bill_passes(server):
    passing = [
        each for each in ENDPOINTS if each.effect == "stops" or (each.effect == "reads" and each.method != "GET")
    ]
    with Client(server.url, KEY, backoff=0) as client:
        for endpoint in passing:
            server.json({"detail": "no"}, status=400)
            with pytest.raises(LkError, match="HTTP 400"):
                send(client, endpoint)
    assert len(server.requests) == len(passing)


@pytest.mark.usefixtures("read_only")
def test_a_client_of_openai_sends_no_question(server, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", server.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    with openai(session=connect(), max_retries=0) as client, pytest.raises(Exception) as raised:  # noqa: PT011
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert isinstance(raised.value.__cause__ or raised.value, ReadOnlyMode)
    assert server.requests == []


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(
    "change",
    [
        lambda storage, path: storage.put(b"x", "a.txt"),
        lambda storage, path: storage.put(path, "a/"),
        lambda storage, path: storage.put(path.parent, "folder"),
        lambda storage, path: storage.put(path, "a.txt", overwrite=False),
        lambda storage, path: storage.sync(path.parent, "lk://folder"),
        lambda storage, path: storage.open("a.txt", "w"),
        lambda storage, path: storage.open("a.txt", "ab"),
        lambda storage, path: storage.remove("a.txt"),
        lambda storage, path: storage.remove("folder/"),
        lambda storage, path: storage.remove_all(["a.txt"]),
        lambda storage, path: storage.move("a.txt", "b.txt"),
        lambda storage, path: storage.copy("a.txt", "b.txt"),
        lambda storage, path: storage.presign("a.txt", "PUT"),
        lambda storage, path: storage.abort_unfinished(),
    ],
)
def test_a_change_of_the_bucket_is_refused_before_credentials_are_requested(change, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")

    def issue():
        raise AssertionError("Credentials were requested.")

    with pytest.raises(ReadOnlyMode, match=re.escape(REFUSED)):
        change(Storage(issue), path)


def test_fsspec_changes_nothing_in_the_bucket_and_still_reads_it(signed_in):
    files, folder = fsspec.filesystem("lk"), f"lk://read-only-{uuid4().hex[:8]}"
    files.pipe(f"{folder}/a.txt", b"before")
    settings.save("read_only", "on")
    for change in (
        lambda: files.pipe(f"{folder}/a.txt", b"after"),
        lambda: files.open(f"{folder}/a.txt", "wb"),
        lambda: files.rm(f"{folder}/a.txt"),
        lambda: files.rm(folder, recursive=True),
        lambda: files.mv(f"{folder}/a.txt", f"{folder}/b.txt"),
    ):
        with pytest.raises(ReadOnlyMode):
            change()
    assert files.cat(f"{folder}/a.txt") == b"before"
    assert [row["name"].rpartition("/")[2] for row in files.ls(folder)] == ["a.txt"]


def test_an_executor_and_a_fan_out_submit_nothing(signed_in, read_only):
    with connect() as session:
        before = len(session.client.workloads.list())
        with Executor(gpu="A100", session=session) as executor:
            future = executor.submit(abs, -1)
            assert isinstance(future.exception(PATIENCE), ReadOnlyMode)
        with pytest.raises(ReadOnlyMode):
            session.fan_out("print(lr)", sweep=["lr=1,2"], gpu="A100")
        assert len(session.client.workloads.list()) == before


def test_an_active_run_is_aborted_in_read_only_mode(signed_in):
    session = connect()
    run = session.run("import time; time.sleep(600)", gpu="A100", timeout=600)
    settings.save("read_only", "on")
    with pytest.raises(ReadOnlyMode):
        session.run("print(1)")
    run.abort()
    assert run.wait(PATIENCE).status == "aborted"


def test_the_environment_overrides_what_a_notebook_stores(home, monkeypatch):
    monkeypatch.setenv("LK_READ_ONLY", "on")
    settings.save("read_only", "off")
    assert json.loads(settings.config_file().read_text())["read_only"] is False
    assert settings.setting("read_only") is True
    with pytest.raises(ReadOnlyMode, match="Switch it off: change the environment variable LK_READ_ONLY"):
        Storage(lambda: None).put(b"x", "a.txt")
