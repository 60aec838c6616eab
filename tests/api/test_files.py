"""Uploads and downloads that do not go well, byte by byte."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import pytest
from api.scripted import KEY, RESET, answer
from patience import PATIENCE

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, GET, POST, PUT, Group, endpoint_of
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import Model
from lk_jupyter.errors import ConnectionFailed, NotFound, OutcomeUnknown, Unauthorized, UsageError


class Form(Model):
    file: Upload


class Things(Group):
    @POST("/things", effect="writes")
    def add(self, form: Form) -> None: ...

    @PUT("/things", effect="writes")
    def put(self, form: Form) -> None: ...

    @GET("/things/{key}")
    def load(self, key: str) -> Download: ...


for name in ("add", "put", "load"):
    ENDPOINTS.remove(endpoint_of(getattr(Things, name)))  # declarations of these tests, not of the package


@pytest.fixture
def things(client):
    return Things(client._send)


def sent_file(request):
    """Return the one file of a form as it travelled."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    _, part, _ = request.body.split(b"--" + boundary)
    return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


OK = answer(200, "null", "application/json")


@pytest.mark.parametrize("source", [b"0123456789", io.BytesIO(b"0123456789")])
def test_a_file_is_sent_again_from_its_beginning_where_that_is_safe(server, things, source):
    server.reply(answer(503, "later", "text/plain")).reply().reply(OK)
    things.put({"file": source})
    assert [sent_file(request) for request in server.requests] == [b"0123456789"] * 3


def test_a_file_is_sent_again_with_a_renewed_session(server, start_client):
    server.json({"detail": "expired"}, 401).json({"access_token": "a.b.c"}).reply(OK)
    client = start_client("x.y.z", refresh_token="r1")
    Things(client._send).add({"file": b"abc"})
    assert [sent_file(server.requests[i]) for i in (0, 2)] == [b"abc", b"abc"]


def test_an_upload_whose_answer_was_lost_is_not_sent_twice(server, things):
    server.lose_answer()
    with pytest.raises(OutcomeUnknown):
        things.add({"file": b"abc"})
    assert len(server.requests) == 1


def test_no_more_is_sent_than_there_was_when_it_began(server, things, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000)
    server.reply(OK)

    def grow(sent, total):
        with path.open("ab") as log:
            log.write(b"more")

    things.put(Form(file=Upload(path, progress=grow)))
    assert sent_file(server.requests[0]) == b"x" * 100_000


def test_what_is_no_file_is_refused_before_anything_is_sent(server, things, tmp_path):
    for source, words in (
        (tmp_path / "none", "No file"),
        (tmp_path, "No file"),
        (7, "needs a path"),
        (io.StringIO("x"), "binary"),
    ):
        with pytest.raises(UsageError, match=words):
            things.put({"file": source})
    assert server.requests == []


def test_a_pipe_cannot_be_rewound_and_says_so():
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as pipe,
        os.fdopen(writing, "wb"),
        pytest.raises(UsageError, match="that supports seek"),
    ):
        Upload(pipe)


def test_an_upload_reads_little_at_a_time(server, tmp_path):
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    program = (
        "import resource, sys\n"
        "from lk_jupyter.api._files import Upload\n"
        "from api.test_files import Form, Things\n"
        "from lk_jupyter.api._client import Client\n"
        "things = Things(Client(sys.argv[1], 'lk_x')._send)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "things.put(Form(file=Upload(sys.argv[2])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    server.reply(OK)
    command = [sys.executable, "-c", program, server.url, str(path)]
    grown = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True)
    assert int(grown) < 20_000
    assert len(server.requests[0].body) > 100 << 20


HALF = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\nConnection: close\r\n\r\n<html"


@pytest.mark.parametrize("end", [(), (RESET,)])
def test_a_broken_download_leaves_nothing_under_its_name(server, things, tmp_path, end):
    server.reply(HALF, *end)
    target = tmp_path / "page"
    target.write_text("older")
    with pytest.raises(ConnectionFailed, match="connection broke"):
        things.load("k").save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    assert target.read_text() == "older"


def test_a_download_that_is_refused_is_the_usual_error(server, things, start_client):
    server.json({"detail": "No such file"}, 404).json({"detail": "Unknown"}, 401)
    with pytest.raises(NotFound, match="No such file"):
        things.load("k")
    with pytest.raises(Unauthorized):
        things.load("k")
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_download_is_asked_for_again_after_a_passing_fault(server, things):
    server.reply().reply(answer(503, "", "text/plain")).reply(answer(200, "x", "text/plain"))
    assert things.load("k").read() == b"x"


def test_a_download_that_cannot_be_written_says_why(server, things, tmp_path):
    server.reply(answer(200, "x", "text/plain"))
    with pytest.raises(UsageError, match=r"Can't write .*: No such file or directory"):
        things.load("k").save(tmp_path / "no folder" / "file")


def test_a_download_without_a_size_does_not_tell_one(server, things):
    server.reply(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    download = things.load("k")
    assert (download.size, download.content_type, download.read()) == (None, "a/b", b"abc")


def test_a_download_is_read_once_and_its_connection_goes_back(server, things):
    server.reply(HALF, b"></ht")
    with things.load("k") as download:
        assert download.read() == b"<html></ht"
        assert download.read() == b""


def test_leaving_a_download_closes_its_connection(server, things):
    server.reply(HALF, "wait until the client leaves")
    with things.load("k"):
        pass
    assert server.left.wait(PATIENCE)


def test_closing_the_client_ends_its_downloads(server):
    more = threading.Event()
    server.reply(HALF, more, b"></ht")
    client = Client(server.url, KEY, backoff=0)
    download = Things(client._send).load("k")
    client.close()
    more.set()
    with pytest.raises(ConnectionFailed):
        download.read()
