import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lk_jupyter.runs.repair import repair_log

LINES = [b"step %d loss 0.%d\n" % (number, 97 - number) for number in range(20)]
WHOLE = b"".join(LINES)


def with_gaps(gaps):
    """Return the log of a stream that left out these parts of the output, and the positions where it continued."""
    log, seams, end = b"", [], 0
    for start, length in sorted(gaps):
        if start > end:
            log += WHOLE[end:start]
            seams.append(len(log))
            end = start + length
    return log + WHOLE[end:], seams


GAPS = st.lists(st.tuples(st.integers(1, len(WHOLE) - 1), st.integers(1, 60)), min_size=1, max_size=4)


@given(GAPS)
def test_a_record_repairs_any_gaps_and_the_missing_lines_are_returned(gaps):
    log, seams = with_gaps(gaps)
    repair = repair_log(log, WHOLE, seams, ordered=True)
    assert (repair.start, repair.text) == (0, WHOLE)
    known = [line + b"\n" for line in log.splitlines() if line + b"\n" in LINES]
    assert sorted([*known, *(line + b"\n" for line in repair.lines)]) == sorted(LINES)


@given(GAPS)
def test_stored_streams_that_are_apart_put_each_missing_line_in_its_place(gaps):
    log, seams = with_gaps(gaps)
    assume({LINES[1], LINES[-2]} <= set(log.splitlines(keepends=True)))  # else nothing tells one stream from the next
    apart = b"".join(LINES[::2] + LINES[1::2])
    repair = repair_log(log, apart, seams, ordered=False)
    lines = [line for line in repair.text.splitlines(keepends=True) if line.strip()]
    assert sorted(lines) == sorted(LINES)
    for stream in (LINES[::2], LINES[1::2]):
        assert [line for line in lines if line in stream] == stream


@given(GAPS, st.integers(len(LINES[0]), len(WHOLE) - 1))
def test_a_record_of_the_last_part_repairs_the_log_from_there_or_not_at_all(gaps, start):
    log, seams = with_gaps(gaps)
    repair = repair_log(log, WHOLE[start:], seams, ordered=True)
    if repair:
        repaired = log[: repair.start] + repair.text
        assert WHOLE.endswith(repair.text)
        assert repaired == WHOLE or any(seam <= repair.start for seam in seams)


def test_a_torn_line_without_a_known_seam_is_recognized_by_its_parts():
    log = WHOLE.replace(LINES[4][6:] + LINES[5] + LINES[6][:9], b"")
    repair = repair_log(log, WHOLE, [], ordered=True)
    assert (repair.text, repair.is_torn) == (WHOLE, True)
    assert repair.lines == tuple(line.strip() for line in LINES[4:7])


def test_lines_that_came_twice_are_left_out():
    log = b"".join(LINES[:8] + LINES[5:])
    repair = repair_log(log, WHOLE, [len(b"".join(LINES[:8]))], ordered=True)
    assert (repair.text, repair.lines, repair.is_torn) == (WHOLE, (), True)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"another text\n",
        b"".join(line.replace(b"loss", b"Loss") for line in LINES),
        b"".join(LINES[:10]),
        b"".join(LINES[1::2]),
    ],
    ids=["empty", "of another run", "another spelling", "only the first part", "only some lines"],
)
def test_a_log_is_not_repaired_by_a_record_that_lacks_lines_of_it(record):
    log, seams = with_gaps([(55, 30)])
    assert repair_log(log, record, seams, ordered=True) is None


def test_equal_lines_before_the_last_part_of_an_output_stay():
    log, record = b"tick\n" * 100, b"tick\n" * 30 + b"end\n"
    repair = repair_log(log + b"e", record, [], ordered=True)
    assert log[: repair.start] + repair.text == log + b"end\n"


def test_colors_that_a_record_lacks_make_no_other_line():
    log = b"\x1b[31mred\x1b[0m\nplain\n"
    repair = repair_log(log + b"to", b"red\nplain\ntorn\nlast\n", [len(log)], ordered=False)
    assert repair.text == log + b"torn\nlast\n"
