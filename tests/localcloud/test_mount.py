"""What a declaration can say, sent by the client to a handler and back, over a real port."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.dependencies.utils import get_dependant
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import DELETE, ENDPOINTS, EXTERNAL, GET, IRIS, OPENAI, POST, Group, InHeader, endpoint_of
from lk_jupyter.api._events import Event
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import Model
from lk_jupyter.errors import Invalid, NotFound, UsageError
from lk_jupyter.localcloud import _mount
from lk_jupyter.localcloud.context import caller
from lk_jupyter.localcloud.strange import Strange


class Form(Model):
    file: Upload
    purpose: str = "batch"
    copies: int = Field(1, ge=1)
    note: str | None = None


class Folder(Model):
    files: list[Upload]
    prefix: str | None = None


class Kept(Model):
    name: str
    kind: str
    text: str
    said: list


class Question(Model):
    words: int
    stream: bool = False


class Word(Event):
    word: str


class Things(Group):
    @POST("/things", effect="writes", auth=False, status=201)
    def keep(self, form: Form, key: str | None = None) -> Kept: ...

    @POST("/things/bulk", effect="writes", auth=False)
    def keep_all(self, folder: Folder) -> list[str]: ...

    @GET("/things/{key:path}", auth=False)
    def load(self, key: str) -> Download: ...

    @DELETE("/things/{key}", auth=False, status=204)
    def drop(self, key: str) -> None: ...

    @POST("/talk", effect="writes", auth=False, server=(OPENAI, EXTERNAL))
    def talk(self, question: Question, pin: Annotated[str | None, InHeader("X-Pin")] = None) -> list[str]: ...

    @POST("/talk", effect="writes", auth=False, server=(OPENAI, EXTERNAL))
    def talk_on(self, question: Question, pin: Annotated[str | None, InHeader("X-Pin")] = None) -> Iterator[Word]: ...

    @GET("/far/away", auth=False, server=IRIS)
    def far(self) -> str: ...


DECLARED = [
    endpoint_of(getattr(Things, name)) for name in ("keep", "keep_all", "load", "drop", "talk", "talk_on", "far")
]
for endpoint in DECLARED:
    ENDPOINTS.remove(endpoint)  # declarations of these tests, not of the package


def handlers(folder):
    def keep(ctx, form, key):
        with form.file.open() as file:
            text = file.read().decode()
        said = [form.purpose, form.copies, form.note, key]
        return {"name": form.file.name, "kind": form.file.content_type, "text": text, "said": said}

    def keep_all(ctx, folder):
        return [f"{folder.prefix}{upload.name}={upload.size}" for upload in folder.files]

    def load(ctx, key):
        if not (folder / key).exists():
            raise HTTPException(404, "No such thing")
        return FileResponse(folder / key)

    def drop(ctx, key):
        return None

    async def talk(ctx, question, pin):
        words = [pin or "w"] * question.words
        if not question.stream:
            return words
        frames = [*(f'data: {{"word": "{word}"}}\n\n' for word in words), "data: [DONE]\n\n"]
        return StreamingResponse(iter(frames), media_type="text/event-stream")

    def far(ctx):
        return "far away"

    return dict(zip(DECLARED, (keep, keep_all, load, drop, talk, talk, far), strict=True))


@pytest.fixture
def base_url(tmp_path, monkeypatch):
    monkeypatch.setattr(_mount, "HANDLERS", handlers(tmp_path))
    app = FastAPI()
    app.state.cloud = None
    _mount.mount(app, Strange())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def things(base_url):
    with Client(base_url, backoff=0) as client:
        yield Things(client._send)


def test_a_form_comes_as_its_model_with_the_file(things, tmp_path):
    path = tmp_path / "grüße 1.csv"
    path.write_text("a,b\n1,2\n")
    kept = things.keep(Form(file=path, note="é\n"), key="k")
    assert (kept.name, kept.kind, kept.text) == (path.name, "text/csv", "a,b\n1,2\n")
    assert kept.said == ["batch", 1, "é\n", "k"]


def test_bytes_and_an_open_file_from_where_it_stands_are_files_too(things):
    assert things.keep({"file": b"abc"}).text == "abc"
    file = io.BytesIO(b"head,tail")
    file.seek(5)
    kept = things.keep(Form(file=Upload(file, name="t.jsonl", content_type="application/jsonl")))
    assert (kept.name, kept.kind, kept.text) == ("t.jsonl", "application/jsonl", "tail")
    assert not file.closed


def test_several_files_go_under_one_name(things):
    uploads = [Upload(b"1", name="a"), Upload(b"22", name="b"), Upload(b"", name="c")]
    assert things.keep_all(Folder(files=uploads, prefix="p/")) == ["p/a=1", "p/b=2", "p/c=0"]


def test_an_upload_tells_how_far_it_is(things):
    steps = []
    size = 300_000
    things.keep(Form(file=Upload(b"x" * size, progress=lambda *step: steps.append(step))))
    assert steps[0] == (0, size)
    assert steps[-1] == (size, size)
    assert steps == sorted(steps)
    assert len(steps) > 4


@pytest.mark.parametrize(
    ("data", "files", "field"),
    [
        ({}, {}, "file"),
        ({"copies": "0"}, {"file": b"x"}, "copies"),
        ({"copies": "many"}, {"file": b"x"}, "copies"),
        ({"file": "no file"}, {}, "file"),
    ],
)
def test_a_form_that_does_not_fit_names_the_field(base_url, data, files, field):
    answer = httpx.post(f"{base_url}{EXTERNAL}/things", data=data, files=files)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", field]


def test_the_declared_statuses_are_answered(base_url, things):
    answer = httpx.post(f"{base_url}{EXTERNAL}/things", files={"file": b"x"})
    assert answer.status_code == 201
    assert httpx.delete(f"{base_url}{EXTERNAL}/things/1").status_code == 204
    assert things.drop("1") is None


def test_a_download_is_read_iterated_or_saved(things, tmp_path):
    data = bytes(range(256)) * 2000
    (tmp_path / "a b.bin").write_bytes(data)
    download = things.load("a b.bin")
    assert (download.size, download.read()) == (len(data), data)
    assert b"".join(things.load("a b.bin")) == data
    steps = []
    saved = things.load("a b.bin").save(tmp_path / "copy", lambda *step: steps.append(step))
    assert (saved, saved.read_bytes(), steps[-1]) == (tmp_path / "copy", data, (len(data), len(data)))


def test_a_page_of_html_is_as_good_a_download_as_any(things, tmp_path):
    (tmp_path / "index.html").write_text("<html>")
    assert things.load("index.html").read() == b"<html>"


def test_an_operation_is_mounted_on_each_of_its_servers(base_url):
    for server in (OPENAI, EXTERNAL):
        answer = httpx.post(f"{base_url}{server}/talk", json={"words": 2}, headers={"X-Pin": "p"})
        assert answer.json() == ["p", "p"]


def test_one_operation_answers_as_a_whole_or_as_a_stream(things):
    assert things.talk(Question(words=2), pin="p") == ["p", "p"]
    assert [event.word for event in things.talk_on(Question(words=3))] == ["w", "w", "w"]
    with pytest.raises(UsageError, match=r"Things\.talk can't stream its answer"):
        things.talk(Question(words=1, stream=True))


def test_the_other_host_is_below_a_prefix_where_no_address_is_given(things):
    assert things.far() == "far away"


def test_errors_of_forms_and_downloads_are_errors_as_usual(things):
    with pytest.raises(NotFound, match="No such thing"):
        things.load("none")
    with pytest.raises(Invalid, match="copies"):
        things.keep(Form.model_construct(file=Upload(b"x"), copies=-1))


def test_who_asks_costs_a_route_no_field_at_the_start_of_the_cloud():
    read = get_dependant(path="/", call=caller)  # once for each route
    assert (read.dependencies, read.header_params, read.query_params) == ([], [], [])
