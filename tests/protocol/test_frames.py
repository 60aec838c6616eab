import json
import random
import tracemalloc
import zlib
from binascii import a2b_base64, b2a_base64, crc32
from itertools import pairwise

import pytest
from conftest import for_each
from hypothesis import given
from hypothesis import strategies as st
from patience import cpu_seconds

from lk_jupyter.protocol.frames import UNSIGNED, Frame, Splitter, format_items, split
from lk_jupyter.remote import sign
from lk_jupyter.runs.follow import _Squeeze

NONCE = "5f2c9f0e8d7b4a61"


@pytest.fixture(scope="module")
def driver():
    """What makes frames over there, as a module here."""
    from lk_jupyter.remote.script import run  # noqa: PLC0415

    run._nonce = NONCE
    return run


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


@pytest.fixture
def signed(driver, made, monkeypatch):
    """Make the text of a frame of a run that has this key."""

    monkeypatch.setattr(driver, "_sign", sign)

    def make(key, payload, seq="1", kind="returned"):
        monkeypatch.setattr(driver, "_key", key)
        return made(payload, seq, kind)

    return make


def kinds(text, key):
    return [frame.kind for frame in split(text, NONCE, key=key)[1]]


def test_a_frame_that_decides_what_is_read_counts_only_with_the_signature_of_its_run(signed):
    key, other = b"k" * 32, b"o" * 32
    assert kinds(signed(key, {"n": 1}), key) == ["returned"]
    assert kinds(signed(other, {"n": 1}), key) == [UNSIGNED]
    assert kinds(signed(b"", {"n": 1}), key) == [UNSIGNED]
    assert split(signed(b"", {"n": 1}), NONCE, key=key)[1][0].payload == {"kind": "returned"}


def test_a_signature_is_of_one_frame_and_no_other(signed):
    key = b"k" * 32
    text = signed(key, {"n": 1}, "1")
    body = a2b_base64(text.split(";")[4])
    for moved in (signed(b"", {"n": 2}, "1"), signed(b"", {"n": 1}, "2")):
        head, content = moved.split(";")[1:4], a2b_base64(moved.split(";")[4])
        line = ";".join([*head, b2a_base64(content + body[-32:], newline=False).decode()])
        assert kinds(f"\x1b]7411;{line};{crc32(line.encode()):08x}\x07\n", key) == [UNSIGNED]


def test_a_frame_that_only_shows_something_needs_no_signature(signed):
    assert kinds(signed(b"", {"n": 1}, kind="display"), b"k" * 32) == ["display"]


def test_a_frame_and_the_text_around_it_come_in_order(made):
    assert fed(["before\n" + made({"n": 1}) + "after\n"]) == ("before\n<1>after\n", 0)


WRITTEN = [
    ("", ""),
    ("^[", "^G"),
    (r"\x1b", r"\x07"),
    (r"\u001b", r"\u0007"),
    ("\ufffd", "\ufffd"),
    ("␛", "␇"),
    ("?", "?"),
]


@pytest.mark.parametrize(("first", "last"), WRITTEN)
@given(places=st.lists(st.integers(0, 5000), max_size=6), words=st.text("a]7411;?^[-", max_size=8))
def test_a_frame_whose_control_characters_a_server_changed_is_found_however_the_text_is_cut(
    made, first, last, places, words
):
    written = f"before {words}\n" + made({"n": 1}) + "print\n" + made({"n": 2}, seq="2") + "after\n"
    changed = written.replace("\x1b", first).replace("\x07", last)
    shown, damaged = fed(cut(changed, places))
    expected = f"before {words}\n<1>print\n<2>after\n"
    assert shown == expected or (first and shown.replace(first, "") == expected.replace(first, ""))  # cut behind it
    assert damaged == 0


def test_text_that_looks_like_the_begin_of_a_frame_is_shown(made):
    text = f"]7411;{NONCE};ab-1;0/1;data, and no frame\n" + "]7411;other;1\n]7411;"
    assert fed([text]) == (text, 0)


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
    text = "a" + made({"text": "bar"}, "1", "hide") + "barb"
    assert split(text, NONCE, keeps_hidden=False)[0] == "ab"
    assert split(text, NONCE)[0] == "abarb"


def test_only_the_text_that_a_frame_names_is_hidden(made):
    named = made({"text": "\r 10%|#"}, "1", "hide")
    assert split(named + "epoch 1\n\r 10%|#\n", NONCE, keeps_hidden=False)[0] == "epoch 1\n\n"
    assert split(named + "x" * 70_000, NONCE, keeps_hidden=False)[0] == "x" * 70_000


def test_hidden_text_that_other_text_cuts_in_two_is_hidden(made):
    named = made({"text": "\r 50%|#####     | 5/10"}, "1", "hide")
    shown, _ = split(named + "\r 50%|#####epoch 1\n     | 5/10", NONCE, keeps_hidden=False)
    assert shown == "epoch 1\n"


@for_each(range(8, 120, 3))
def test_text_of_the_other_stream_within_a_frame_is_kept_and_so_is_the_frame(at, made):
    frame = made({"n": "a figure of the run, long enough to be cut"})
    other = "\x1b[32mepoch 1\x1b[0m\naccuracy 0.9\n"
    assert len(frame) > 120
    assert fed(["a\n", frame[:at], other, frame[at:], "b\n"]) == (
        f"a\n{other}<a figure of the run, long enough to be cut>b\n",
        0,
    )


@pytest.mark.parametrize("at", range(10, 100, 9))
def test_frames_of_both_streams_that_cut_each_other_come_whole(made, at):
    one, two = made({"n": "the first, of stdout"}, "1"), made({"n": "the second, of stderr"}, "2")
    for text in (one[:at] + two + one[at:], one[:at] + two[: at + 3] + one[at:] + two[at + 3 :]):
        shown, damaged = fed([text + "end\n"])
        assert sorted(shown.removesuffix("end\n").split("<")) == ["", "the first, of stdout>", "the second, of stderr>"]
        assert damaged == 0


WORDS = st.text(alphabet="ab é█|%=0", min_size=1, max_size=12)
LINES = st.one_of(
    WORDS.map(lambda word: word + "\n"),
    st.just("\n"),
    WORDS.map(lambda word: f"\x1b[3{len(word) % 8}m{word}\x1b[0m\n"),
    WORDS.map(lambda word: f"\r 10%|{word}\r 99%|{word}\n"),
    st.integers(5_000, 9_000).map(lambda length: "x" * length + "\n"),
    # What a frame begins with may be the first half of one that the other stream has cut: it comes later than that.
    st.text(alphabet="\x1b]7411;\x07" + NONCE[:3], max_size=9)
    .filter(lambda text: "\x1b]7411;" not in text)
    .map(lambda text: text + "!\n"),
)
TOLD = st.tuples(st.sampled_from(["display", "bar", "hide", "error"]), WORDS, st.integers(0, 400))


def written(made, driver, number, piece):
    """What a run writes for this: at once, as one write to its pipe."""
    if isinstance(piece, str):
        return piece, piece
    kind, word, length = piece
    text = "\r" + word * (1 + length // 40)
    if kind == "hide":
        return driver_aside(driver, number, text) + text, ""
    return made({"n": number, "text": f"{text}\n"}, str(number), kind) + (f"{text}\n" if kind == "error" else ""), (
        f"<{number}>"
    )


def driver_aside(driver, number, text):
    return b"".join(line[:-1] for line in driver.lines("hide", {"text": text}, str(number), b"+")).decode()


@given(
    streams=st.tuples(*[st.lists(st.one_of(LINES, LINES, TOLD), max_size=8)] * 2),
    order=st.randoms(use_true_random=False),
    places=st.lists(st.integers(0, 40_000), max_size=12),
)
def test_any_mixture_of_both_streams_cut_anywhere_gives_every_line_and_frame_of_both(
    made, driver, streams, order, places
):
    queues = [
        [written(made, driver, 1 + at + 100 * which, piece) for at, piece in enumerate(stream)]
        for which, stream in enumerate(streams)
    ]
    mixed, shown = "", ""
    while any(queues):
        sent, seen = order.choice([queue for queue in queues if queue]).pop(0)
        mixed, shown = mixed + sent, shown + seen
    assert fed(cut(mixed, places)) == (shown, 0)


@given(places=st.lists(st.integers(0, 10_000), max_size=8))
def test_a_worker_that_doubles_newlines_and_a_reader_that_squeezes_them_lose_nothing(made, places):
    text = "one\n" + made({"n": 1}) + "two\n" + made({"n": 2}, "2") + made({"n": 3}, "3") + "three\n"
    squeeze = _Squeeze()
    assert fed(map(squeeze, cut(text.replace("\n", "\n\n"), places))) == ("one\n<1>two\n<2><3>three\n", 0)


def packed(driver, text, seq="1-1", parts=4):
    """The lines of a frame that carries these bytes, compressed as tightly as can be."""
    data = b2a_base64(zlib.compress(text, 9), newline=False).decode()
    size = -(-len(data) // parts)
    bodies = [f"{NONCE};{seq};{at}/{parts};{data[at * size : (at + 1) * size]}" for at in range(parts)]
    return "".join(f"\x1b]7411;{body};{crc32(body.encode()):08x}\x07\n" for body in bodies)


@pytest.mark.parametrize(
    "write",
    [
        lambda: b'["display", {"x": "' + b"0" * 100_000_000 + b'"}]',
        lambda: b'["display", {"x": [' + b"[]," * 3_000_000 + b"0]}]",
        lambda: b'["display", ' + b"[" * 1_000_000,
        lambda: b'["display", [1]]',
        lambda: b"[[], {}]",
        lambda: b'["hide", 5]',
        lambda: b"null",
        lambda: b"\xff",
    ],
    ids=["bomb", "many parts", "deep", "a list", "no kind", "no payload", "nothing", "no text"],
)
def test_a_run_takes_neither_the_memory_nor_the_time_of_its_reader(driver, write):
    lines = packed(driver, write(), parts=200)
    assert len(lines) < 700_000
    splitter = Splitter(NONCE)
    tracemalloc.start()
    items = splitter.feed("before\n" + lines + "after\n") + splitter.end()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items == ["before\nafter\n"]
    assert splitter.damaged == 1
    assert peak < 50_000_000
    assert cpu_seconds(lambda: Splitter(NONCE).feed("before\n" + lines + "after\n"), limit=1) < 1


PIECES = ["\x1b]7411;", "\x1b", "\x07", ";", "1-1;0/1;", "+", "\n", "\r", "eJw=", "00000000", "-", "/"]
FOREIGN = st.lists(st.sampled_from([*PIECES, f"\x1b]7411;{NONCE};"]) | st.text(max_size=10), max_size=40).map("".join)
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5)
SEQ = st.sampled_from(["1-1", "x", "-", "1-", "-1-1", "1-0", "9" * 20])


SIGNED = st.sampled_from(sorted(sign.KINDS)).flatmap(lambda kind: JSON.map(lambda payload: [kind, payload]))
KEYS = st.none() | st.binary(max_size=40)


@given(FOREIGN, st.tuples(JSON | SIGNED, SEQ), st.lists(st.integers(0, 500), max_size=4), KEYS)
def test_no_log_raises(driver, text, frame, places, key):
    payload, seq = frame
    whole = text + packed(driver, json.dumps(payload).encode(), seq, parts=1) + text
    cuts = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    splitter = Splitter(NONCE, key=key)
    items = [item for start, end in pairwise(cuts) for item in splitter.feed(whole[start:end])]
    for item in [*items, *splitter.end()]:
        assert isinstance(item, str) or (isinstance(item.kind, str) and isinstance(item.payload, dict))
        assert key is None or isinstance(item, str) or item.kind not in sign.KINDS
    assert isinstance(format_items(items), str)
