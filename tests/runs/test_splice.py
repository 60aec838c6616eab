from contextlib import closing

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.splice import OutputSplicer, Stored, count_repeated_bytes

WHOLE = b"".join(b"line %d\n" % number for number in range(20))


@pytest.fixture
def log(tmp_path):
    with closing(RunLog(tmp_path / "run.log")) as log:
        yield log


def joined(log, *connections, stored=b"", kept=None, late=False, ordered=True):
    """All that is shown when these connections come one after the other, each a list of chunks."""
    firsts = [stored.partition(b"\n")[0], *(line[0] for line in (OUT, ERR) if line[0] in stored)]
    join = OutputSplicer(log, lambda: Stored(stored, tuple(firsts)), late=late)
    shown = b""
    for chunks in connections:
        join.connect()
        shown += b"".join(join.feed(chunk) for chunk in chunks)
    return shown + (join.complete(kept, ordered=ordered) if kept is not None else b"")


def text_of(log):
    return log.read(0, log.size)


def test_one_connection_passes_everything_on(log):
    assert joined(log, [b"a\n", b"b\n"]) == b"a\nb\n"


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 7))
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_full_replay_shows_every_line_once(log, cut, size):
    replay = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    assert joined(log, [WHOLE[:cut]], replay) == WHOLE
    assert text_of(log) == WHOLE


@pytest.mark.parametrize("start", [0, 8, 30, 64, 80])
def test_a_replay_of_the_last_lines_shows_every_line_once(log, start):
    cut = 100
    assert joined(log, [WHOLE[:cut]], [WHOLE[start : cut - 3], WHOLE[cut - 3 :]]) == WHOLE


def test_a_stream_that_goes_on_without_a_replay_is_taken_as_it_is(log):
    assert joined(log, [WHOLE[:40]], [WHOLE[40:]], stored=WHOLE[:40]) == WHOLE


def test_a_gap_is_filled_from_the_stored_log(log):
    assert joined(log, [WHOLE[:40]], [WHOLE[80:]], stored=WHOLE[:80]) == WHOLE


def test_a_gap_is_filled_when_the_stored_log_is_further_than_the_stream(log):
    assert joined(log, [WHOLE[:40]], [WHOLE[80:]], stored=WHOLE[:96]) == WHOLE


def test_three_cuts_show_every_line_once(log):
    assert joined(log, [WHOLE[:11]], [WHOLE[:5]], [WHOLE[:77]], [WHOLE]) == WHOLE


def test_a_stream_that_ended_silently_is_completed_from_the_record(log):
    assert joined(log, [WHOLE[:43]], kept=WHOLE) == WHOLE
    assert text_of(log) == WHOLE


def test_a_lost_middle_comes_late_and_the_log_file_has_it_in_its_place(log):
    assert joined(log, [WHOLE[:42]], [WHOLE[86:]], kept=WHOLE) == WHOLE[:42] + WHOLE[86:] + WHOLE[42:86]
    assert text_of(log) == WHOLE


OUT = [b"out %d\n" % number for number in range(8)]
ERR = [b"\x1b[31merr %d\x1b[0m\n" % number for number in range(8)]


@st.composite
def orders(draw):
    """The lines of both streams in three orders: as they came, as they come again, as they are stored."""
    numbers = st.permutations([0] * len(OUT) + [1] * len(ERR))
    made = []
    for order in (draw(numbers), draw(numbers), draw(numbers)):
        streams = [iter(OUT), iter(ERR)]
        made.append([next(streams[which]) for which in order])
    return made


@given(
    orders=orders(),
    cut=st.integers(0, 16),
    size=st.integers(1, 50),
    kept=st.sampled_from(["record", "apart", "stored"]),
)
def test_streams_that_a_replay_or_the_store_mixes_in_another_order_show_every_line_once(
    tmp_path_factory, orders, cut, size, kept
):
    first, again, stored = orders
    assume(not cut or again[0] in first[:cut])  # else nothing tells a replay from what is new,
    assume(not any(first[cut - size : cut] == again[:size] for size in range(1, cut)))  # or from that of the last lines
    replay = b"".join(again)
    chunks = [replay[at : at + size] for at in range(0, len(replay), size)]
    whole = {"record": b"".join(stored), "apart": b"".join(OUT + ERR), "stored": b"".join(stored)}[kept]
    for connections, stored_now, late in (
        ([first[:cut], chunks], b"".join(line for line in stored if line in first[:cut]), False),  # a replay
        ([first[:cut], first[cut + 3 :]], b"".join(stored), False),  # a gap
        ([chunks], b"".join(stored), True),  # a run of somebody else
    ):
        with closing(RunLog(tmp_path_factory.mktemp("join") / "run.log")) as log:
            shown = joined(log, *connections, stored=stored_now, kept=whole, late=late, ordered=kept == "record")
            assert sorted(shown.splitlines()) == sorted((b"".join(OUT + ERR)).splitlines())
            assert sorted(text_of(log).splitlines()) == sorted((b"".join(OUT + ERR)).splitlines())


def test_an_unfinished_line_is_finished_by_a_store_of_another_order(log):
    came, whole = OUT[0] + ERR[0] + OUT[1][:3], b"".join(OUT + ERR)
    shown = joined(log, [came], kept=whole, ordered=False)
    assert shown.startswith(OUT[0] + ERR[0] + OUT[1])
    assert sorted(shown.splitlines()) == sorted(whole.splitlines())
    assert text_of(log) == shown


def test_a_clipped_record_does_not_replace_what_was_streamed(log):
    assert joined(log, [WHOLE], kept=WHOLE[:20]) == WHOLE
    assert text_of(log) == WHOLE


def test_a_record_of_the_last_part_only_is_joined_to_what_came(log):
    assert joined(log, [WHOLE[:100]], kept=WHOLE[49:]) == WHOLE
    assert text_of(log) == WHOLE


def test_a_record_of_a_last_part_that_does_not_fit_leaves_the_log_alone(log):
    assert joined(log, [WHOLE[:14]], kept=WHOLE[70:]) == WHOLE[:14]
    assert text_of(log) == WHOLE[:14]


def test_newlines_that_a_worker_adds_do_not_count_as_lines(log):
    doubled = WHOLE.replace(b"\n", b"\n\n")
    assert joined(log, [doubled[:50]], kept=WHOLE).splitlines()[-1] == b"line 19"
    assert text_of(log) == WHOLE


def test_equal_lines_keep_their_order_though_empty_ones_differ(log):
    assert joined(log, [b"\ntick\n"], kept=b"tick\nbetween\ntick\n") == b"\ntick\nbetween\ntick\n"


TICKS = b"tick\n" * 30


def test_equal_lines_are_counted_in_a_replay(log):
    assert joined(log, [TICKS[:50]], [TICKS]) == TICKS


def test_equal_lines_are_counted_in_the_record(log):
    assert joined(log, [TICKS[:50]], kept=TICKS) == TICKS


def test_a_progress_bar_of_one_long_line_goes_on_where_it_was(log):
    bar = b"\r 10%\r 20%\r 30%\r 40%\n"
    assert joined(log, [bar[:11]], [bar]) == bar


@given(st.data())
def test_any_text_cut_anywhere_and_replayed_is_shown_once(tmp_path_factory, data):
    text = data.draw(st.text(alphabet="abé\n", max_size=60)).encode()
    cut = data.draw(st.integers(0, len(text)))
    with closing(RunLog(tmp_path_factory.mktemp("join") / "run.log")) as log:
        assert joined(log, [text[:cut]], [text]) == text


@pytest.mark.parametrize(
    ("known", "came", "length"),
    [
        (b"one\ntwo\n", b"two\nthree\n", 4),
        (b"one\ntwo\n", b"two\n", 4),
        (b"one\ntwo\n", b"o\nthree\n", 2),
        (b"one\ntwo\nth", b"three\n", 2),
        (b"one\ntwo", b"wonder\n", None),  # two letters are chance
        (b"one\n", b"two\n", None),
        (b"", b"one\n", None),
    ],
)
def test_a_repeat_is_told_from_chance(known, came, length):
    assert count_repeated_bytes(known, came) == length
