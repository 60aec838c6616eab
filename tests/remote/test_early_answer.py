"""lk_jupyter.remote.script.call: the results of the first items are in the bucket before the next item starts."""

from __future__ import annotations

import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread

import pytest

from lk_jupyter.remote import sign
from lk_jupyter.remote.script import call

KEY = bytes(32)


@pytest.fixture
def bucket():
    """A server that stores what it receives, and answers with the next of ``statuses``."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            status = server.statuses.pop(0) if server.statuses else 200
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if status == 200:
                server.contents.append(content)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.statuses, server.contents = [], []
    Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def link(bucket, monkeypatch):
    monkeypatch.setattr(call.EarlyAnswer, "fastest", 0.0)
    monkeypatch.setattr(call.EarlyAnswer, "is_lost", False)
    monkeypatch.setitem(call._call, "key", KEY.hex())
    return f"http://127.0.0.1:{bucket.server_port}/answer"


def test_the_stored_results_are_signed_and_marked_as_the_first_results(bucket, link):
    call.EarlyAnswer(link).store([b"1", b"2"])
    (content,) = bucket.contents
    signature, answer = content[: sign.SIZE], content[sign.SIZE :]
    assert sign.is_signed(KEY, signature, answer)
    assert pickle.loads(answer) == (b"1", b"2")


def test_short_items_share_an_upload_and_large_results_are_left_to_the_answer(bucket, link, monkeypatch):
    early = call.EarlyAnswer(link)
    early.store([b"1"])
    monkeypatch.setattr(call.EarlyAnswer, "fastest", 60.0)
    early.store([b"1", b"2"])
    call.EarlyAnswer(link).store([bytes(call.INLINE + 1)])
    assert len(bucket.contents) == 1


def test_no_item_starts_before_the_bucket_answers_again(bucket, link, monkeypatch):
    monkeypatch.setattr(call, "_OUTAGE_PACE", 0.0)
    bucket.statuses += [503, 503]
    call.EarlyAnswer(link).store([b"1"])
    assert len(bucket.contents) == 1


def test_a_refused_upload_is_not_repeated_and_a_long_outage_is_waited_for_once(bucket, link, monkeypatch):
    bucket.statuses += [403, 200]
    early = call.EarlyAnswer(link)
    early.store([b"1"])
    early.store([b"1", b"2"])
    assert bucket.statuses == [200]
    monkeypatch.setattr(call, "_OUTAGE_SECONDS", 0.0)
    bucket.statuses[:] = [503]
    call.EarlyAnswer(link).store([b"1"])
    assert call.EarlyAnswer.is_lost
    monkeypatch.setattr(call, "_OUTAGE_SECONDS", 600.0)
    bucket.statuses[:] = [503]
    call.EarlyAnswer(link).store([b"1"])
    assert bucket.contents == []


def test_results_that_the_bucket_refuses_are_sent_by_the_log_as_far_as_they_fit(bucket, link, monkeypatch):
    frames = []
    monkeypatch.setattr(call.driver, "frame", lambda kind, payload: frames.append(payload))
    monkeypatch.setitem(call._call, "put", link)
    bucket.statuses += [400, 413]
    assert call._send_results(bytes(call.INLINE + 1)) == ""
    assert "data" in frames.pop()
    failure = call._send_results(bytes(call.MOST_INLINE + 1))
    assert failure == "its upload failed: HTTP Error 413: Request Entity Too Large"
    assert (frames, bucket.statuses, bucket.contents) == ([], [], [])
    assert call._replace_excess(b"small", failure) == b"small"
    assert failure in call._replace_excess(bytes(call.MOST_ITEM + 1), failure)["excess"]


def test_a_result_is_published_while_the_next_item_is_called(monkeypatch):
    monkeypatch.setattr(call, "_PACE", 0.5)  # both items are added within the pace
    messages = SimpleQueue()
    monkeypatch.setattr(call, "publish", messages.put)
    early = call.EarlyResults()
    early.add(b"1")
    early.add(b"2")
    assert [messages.get(timeout=60)["first"], messages.get(timeout=60)["first"]] == [0, 1]
    early.add({"error": "x" * (call._MOST_EARLY + 1)})
    early.close()
    assert messages.empty()
