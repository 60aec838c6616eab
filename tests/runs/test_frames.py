import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.runs.follow import _Squeeze
from lk_jupyter.runs.frames import Frame, Splitter, split
from lk_jupyter.runs.parts import SHIPPED

NONCE = "5f2c9f0e8d7b4a61"


@pytest.fixture(scope="module")
def driver():
    """What makes frames over there, as a module here."""
    sys.path.insert(0, str(SHIPPED))
    try:
        import _lk_run as module  # noqa: PLC0415
    finally:
        sys.path.remove(str(SHIPPED))
    module._nonce = NONCE
    return module


@pytest.fixture(scope="module")
def made(driver):
    """Make the text of a frame."""

    def make(payload, seq="1", kind="display"):
        return b"".join(driver.lines(kind, payload, seq)).decode()

    return make


def fed(chunks, nonce=NONCE):
    """Everything that a splitter gives of these chunks: the text with each frame's payload in its place."""
    splitter = Splitter(nonce)
    items = [item for chunk in chunks for item in splitter.feed(chunk)] + splitter.end()
    return "".join(item if isinstance(item, str) else f"<{item.payload['n']}>" for item in items), splitter.damaged


def cut(text, places):
    places = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]


def test_a_frame_and_the_text_around_it_come_in_order(made):
    assert fed(["before\n" + made({"n": 1}) + "after\n"]) == ("before\n<1>after\n", 0)


def test_a_frame_carries_its_payload(made):
    payload = {"text": "é\n\x1b[31m", "list": [1, None, 2.5]}
    assert split(made(payload), NONCE) == ("", [Frame("display", payload, "1")])


def test_the_newline_of_a_print_after_a_frame_stays(made):
    assert fed(["a" + made({"n": 1}) + "\nb\n"]) == ("a<1>\nb\n", 0)


def test_a_large_frame_is_several_lines_that_a_pipe_takes_whole(made):
    noise = random.Random(1).randbytes(20_000).hex()
    text = made({"n": noise})
    lines = text.splitlines(keepends=True)
    assert len(lines) > 5
    assert max(map(len, lines)) <= 4096
    mixed = "".join(f"{line}print {number}\n" for number, line in enumerate(lines))
    shown, _ = fed([mixed])
    assert (
        shown == "".join(f"print {number}\n" for number in range(len(lines) - 1)) + f"<{noise}>print {len(lines) - 1}\n"
    )


@given(places=st.lists(st.integers(0, 10_000), max_size=12))
def test_it_may_be_cut_anywhere(made, places):
    text = "one\n" + made({"n": 1}) + "\x1b[32mtwo\x1b[0m\n" + made({"n": "é" * 50}, "2") + "three"
    assert fed(cut(text, places)) == ("one\n<1>\x1b[32mtwo\x1b[0m\n<" + "é" * 50 + ">three", 0)


@given(places=st.lists(st.integers(0, 10_000), max_size=12), data=st.data())
def test_newlines_that_a_server_adds_within_count_for_nothing(made, places, data):
    frame = made({"n": 1}).removesuffix("\n")
    added = data.draw(st.lists(st.integers(0, len(frame)), max_size=6))
    broken = "\n".join(cut(frame, added)).strip("\n") + "\n"
    assert fed(cut(f"a\n{broken}b\n", places)) == ("a\n<1>b\n", 0)


def test_a_newline_may_be_added_and_cut_behind_its_first_sign(made):
    first, rest = "\x1b\n", made({"n": 1}).removeprefix("\x1b")
    assert fed(["a\n" + first, rest + "b\n"]) == ("a\n<1>b\n", 0)


def test_squeezed_newlines_leave_the_text_in_its_lines(made):
    assert fed(["a\n" + made({"n": 1}).removesuffix("\n") + "b\n"]) == ("a\n<1>b\n", 0)


@given(places=st.lists(st.integers(0, 10_000), max_size=8))
def test_a_replay_brings_no_frame_twice(made, places):
    frames = made({"n": 1}) + made({"n": 2}, "2")
    assert fed(cut(frames + frames + made({"n": 3}, "3"), places)) == ("<1><2><3>", 0)


@given(st.text(alphabet="\x1b]7411;\x07\n" + NONCE[:4] + "az0/"), st.lists(st.integers(0, 1000), max_size=5))
def test_what_has_not_the_nonce_is_text_and_all_of_it(text, places):
    assert fed(cut(text, places)) == (text, 0)


@given(other=st.text(alphabet="0123456789abcdef", max_size=16).filter(lambda nonce: nonce != NONCE))
def test_a_forged_frame_stays_text(driver, other):
    driver._nonce = other
    try:
        forged = b"".join(driver.lines("display", {"n": 1}, "9")).decode()
    finally:
        driver._nonce = NONCE
    assert fed([f"x\n{forged}y\n"]) == (f"x\n{forged}y\n", 0)


def test_a_damaged_frame_is_counted_and_not_shown(made):
    frame = made({"n": 1})
    for damaged in (f"{frame[:50]}!{frame[51:]}", frame[:50] + made({"n": 2}, "2"), frame[:50]):
        shown, count = fed(["a\n", damaged])
        assert shown in {"a\n", "a\n<2>"}
        assert count == 1


def test_a_frame_that_never_ends_does_not_hold_the_text_back(made):
    begun = made({"n": 1})[:50]
    shown, damaged = fed(["a\n", begun, "b" * 20_000, "c"])
    assert shown == "a\nc"
    assert damaged == 1


def test_plain_text_is_passed_on_as_it_is():
    text = "line\n" * 10
    assert Splitter(NONCE).feed(text)[0] is text


def test_hidden_text_is_given_only_to_those_who_want_it(made):
    text = "a" + made({"on": True}, "1", "hide") + "bar" + made({"on": False}, "2", "hide") + "b"
    assert split(text, NONCE, keeps_hidden=False)[0] == "ab"
    assert split(text, NONCE)[0] == "abarb"


def test_hiding_ends_by_itself_where_its_end_is_lost(made):
    assert split(made({"on": True}, "1", "hide") + "x" * 70_000, NONCE, keeps_hidden=False)[0] == "x" * (
        70_000 - 65_536
    )


@given(places=st.lists(st.integers(0, 10_000), max_size=8))
def test_a_worker_that_doubles_newlines_and_a_reader_that_squeezes_them_lose_nothing(made, places):
    text = "one\n" + made({"n": 1}) + "two\n" + made({"n": 2}, "2") + made({"n": 3}, "3") + "three\n"
    squeeze = _Squeeze()
    assert fed(map(squeeze, cut(text.replace("\n", "\n\n"), places))) == ("one\n<1>two\n<2><3>three\n", 0)
