"""Outputs that went through the bucket, where others can write too."""

import json
import zlib
from hashlib import sha256

import pytest

from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.offloaded import FOLDER, MOST, fetch_content

NONCE = "n0nce"
KEY = f"{FOLDER}/{sha256(NONCE.encode()).hexdigest()[:32]}/1-1"


def told(content, **changes):
    facts = {"kind": "display", "key": KEY, "size": len(content), "sha256": sha256(content).hexdigest(), "plain": "Big"}
    return Frame("stored", {**facts, **changes}, "1-1")


def packed(payload):
    return zlib.compress(json.dumps(payload).encode())


MINE = packed({"data": {"text/html": "<b>mine</b>"}, "metadata": {}})


def test_what_the_run_sent_is_shown():
    assert fetch_content(lambda _: MINE, NONCE, told(MINE)).payload["data"] == {"text/html": "<b>mine</b>"}


@pytest.mark.parametrize(
    ("there", "facts"),
    [
        (packed({"data": {"text/html": "<script>"}, "metadata": {}}), told(MINE)),
        (MINE, told(MINE, sha256="0" * 64)),
        (MINE, told(MINE, size=None)),
        (MINE, told(MINE, key=".lk_jupyter/outputs/of another/1-1")),
        (b"", told(b"")),
        (b"[1]", told(b"[1]")),
        (packed([1]), told(packed([1]))),
        (zlib.compress(bytes(1000)), told(zlib.compress(bytes(1000)))),
    ],
    ids=["overwritten", "no hash", "no size", "of another run", "empty", "plain", "a list", "zeros"],
)
def test_a_member_who_overwrites_an_output_shows_nothing_here(there, facts):
    shown = fetch_content(lambda _: there, NONCE, facts)
    assert list(shown.payload["data"]) == ["text/plain"]
    assert shown.payload["data"]["text/plain"].startswith("Big\n(an output of ")


def test_a_member_who_overwrites_an_output_with_a_bomb_shows_nothing_here():
    bomb = zlib.compress(bytes(MOST + 1))
    test_a_member_who_overwrites_an_output_shows_nothing_here(bomb, told(bomb))
