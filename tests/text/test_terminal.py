import sys
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.errors import RunFailed, UsageError
from lk_jupyter.magics._output.live import Hints, Note, StatusLine
from lk_jupyter.magics._output.rich import show_error
from lk_jupyter.protocol.notice import HINT, Notice
from lk_jupyter.text.secrets import COLOUR
from lk_jupyter.text.terminal import LINE_LIMIT, TerminalText, overwrite, plain
from lk_jupyter.views.table import Table

#: Classes of signs that embed, override or isolate the direction of text.
TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def shown(*chunks):
    """Everything that a notebook shows of these chunks."""
    text = TerminalText()
    for chunk in chunks:
        text.feed(chunk)
    lines, _ = text.take()
    return lines + text.end()


def test_lines_come_as_printed():
    assert shown("one\ntwo\n\nthree") == ["one", "two", "", "three"]


def test_a_line_cut_between_chunks_is_one_line():
    assert shown("on", "e\ntw", "o\n") == ["one", "two"]


def test_the_unfinished_line_is_given_apart():
    text = TerminalText()
    text.feed("done\n 45%|####")
    assert text.take() == (["done"], " 45%|####")


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        ("10%\r20%\r30%\n", "30%"),
        ("abc\rd\n", "dbc"),
        ("dos line\r\n", "dos line"),
        ("long text\r\x1b[Kshort\n", "short"),
        ("|\b/\b-\n", "-"),
        ("\r 10%\r 20%\n", " 20%"),
    ],
)
def test_a_line_is_redrawn_as_on_a_terminal(printed, seen):
    assert shown(printed) == [seen]
    assert shown(*printed) == [seen]


def test_nested_progress_bars_are_redrawn_in_their_rows():
    bars = "\router 1", "\n\rinner 1\x1b[A", "\router 2", "\n\rinner 2\x1b[A", "\router 3\n\rinner 3\n"
    assert shown(*bars) == ["outer 3", "inner 3"]


def test_both_nested_bars_are_seen_while_they_move():
    text = TerminalText()
    for chunk in ("\router 1\n\rinner 1\x1b[A", "\router 1\n\rinner 2\x1b[A"):
        text.feed(chunk)
    assert text.take() == ([], "outer 1   inner 2")


def test_colours_are_kept():
    assert shown("\x1b[32mok\x1b[0m\n") == ["\x1b[32mok\x1b[0m"]


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
        "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
        "\x1b]0;new title\x07click",
        "\x1b[2J\x1b[Hclick",
        "\x1b[10;10Hclick",
        "\x07cl\x00ick",
        "\x9b2Jclick",
    ],
)
def test_links_titles_and_cursor_moves_are_dropped(hostile):
    assert shown(hostile + "\n") in (["click"], ["2Jclick"])
    assert shown(*hostile, "\n") in (["click"], ["2Jclick"])


@pytest.mark.parametrize(
    "hostile", ["\x1b\x07]52;c;eA==\x1b\x07\\", "\x1b\x00[2J", "\x1b\x1b\x07]0;title\x07", "\x1b\u202ec"]
)
def test_no_sequence_comes_from_parts_between_which_something_was_dropped(hostile):
    assert "\x1b" not in "".join(shown(hostile + "\n")) + "".join(shown(*hostile, "\n")) + plain(hostile)


def test_turned_text_is_shown_as_it_is_written():
    assert shown("rm \u202egpj.x\u2066\n", "… öä\n") == ["rm gpj.x", "… öä"]


def test_each_sign_that_controls_or_turns_text_is_dropped_alone_in_a_line():
    turns = [chr(code) for code in range(sys.maxunicode) if unicodedata.bidirectional(chr(code)) in TURNING]
    marks = ["\u061c", "\u200e", "\u200f"]
    for sign in [*turns, *marks, *map(chr, range(0x80, 0xA0))]:
        assert shown(f"a{sign}b\n") == ["ab"], ascii(sign)
        assert plain(f"a{sign}b") == "ab", ascii(sign)


def test_a_log_that_goes_far_up_keeps_few_lines_back():
    assert shown("a\n\x1b[" + "9" * 5000 + "Ab\n") == ["ab"]
    text = TerminalText()
    text.feed("x\n\x1b[99999999A\n" + "line\n" * 1000)
    assert len(text.take()[0]) > 800


def test_a_name_cannot_write_over_what_stands_before_it():
    assert plain("trusted\r\bother") == "trustedother"
    assert str(Hints([Notice("run a\x1b]0;title\x07\rb", HINT)])).endswith("run ab")
    assert Note("run a\x1b]0;title\x07\rb").text == "run ab"


def test_text_for_a_terminal_keeps_bars_and_nothing_else_that_it_obeys():
    text = TerminalText()
    chunks = ["\r 10%\x1b[K\x1b", "[A\x1b]52;c;eA", "==\x07\x1b[31mred\x1b[2J\x1b[999A\n"]
    assert "".join(map(text.allowed_text, chunks)) == "\r 10%\x1b[K\x1b[1A\x1b[31mred\x1b[100A\n"


def test_html_is_only_text():
    assert shown("<script>alert(1)</script>\n") == ["<script>alert(1)</script>"]


def test_a_megabyte_line_is_clipped():
    [line] = shown("x" * 1_000_000 + "\n")
    assert line.startswith("x" * LINE_LIMIT)
    assert line.endswith("… (the line is long; the log file contains the complete line)")
    assert len(line) < LINE_LIMIT + 100


def test_a_line_that_never_ends_takes_no_memory():
    text = TerminalText()
    for _ in range(100):
        text.feed("x" * 10_000)
    assert sum(map(len, text._rows)) <= 2 * LINE_LIMIT


def test_an_escape_that_never_ends_does_not_swallow_the_log():
    lines = shown("\x1b]8;;" + "a" * 10_000 + "\n", "after\n")
    assert lines[-1] == "after"


@given(st.lists(st.text(alphabet="ab\n\r\b\x1b[31mK;]\x07", max_size=12), max_size=8))
def test_where_the_chunks_are_cut_does_not_matter(chunks):
    assert shown(*chunks) == shown(*"".join(chunks))


@given(
    st.lists(st.sampled_from([*"aAm\r\b\n\0\x1b", "\x1b[31m", "\x1b[2A", "\x1b[K", "\x1b[2K"]), max_size=9).map("".join)
)
def test_no_text_ends_the_reading(text):
    assert shown(text, "\x1b[1A\n\n\nend")[-1] == "end"
    overwrite(text)


@given(st.text(alphabet="abc\r", max_size=20))
def test_a_line_is_what_a_terminal_of_columns_shows(line):
    screen, column = [], 0
    for character in line:
        if character == "\r":
            column = 0
        else:
            screen[column : column + 1] = character
            column += 1
    assert overwrite(line).partition("\r")[0] == "".join(screen)


OBEYED = "\x1b]52;c;aGk=\x07\x1b[2J\u202e\x9b\x00"


def test_tracebacks_of_others_color_a_terminal_and_no_more(capsys):
    lines = f"\x1b[31mValueError\x1b[0m: {OBEYED}no"
    failed = RunFailed("it ended", execution_id="3f0c", return_code=1, traceback=lines, shown=lines)
    assert failed._render_traceback_()[0].endswith("no")
    shell = SimpleNamespace(_showtraceback=lambda kind, error, found: print(kind.__name__, error, *found))
    show_error(shell, {"ename": f"Odd{OBEYED}\ud800", "evalue": OBEYED + "why", "traceback": [lines]})
    said = capsys.readouterr().out
    assert "why" in said
    assert "\x1b[31mValueError" in said
    for text in (*failed._render_traceback_(), said):
        assert not {"\x1b", "\x07", "\u202e", "\x9b", "\x00"} & set(COLOUR.sub("", text))


def test_names_of_others_neither_steer_a_terminal_nor_turn_what_is_read():
    name = "\x1b]0;title\x07\x1b[2Jgood\u202e\x9b31m\x00name\x1b[31m 👩‍🔬\u2066"
    assert plain(name) == "good31mname 👩‍🔬"
    assert plain("two\n\tlines") == "two\n\tlines"
    shown_error = UsageError(f"Unknown machine {name}.")._render_traceback_()[0]
    shown = Table(("Name", name), [(name, "x")], note=name, caption=name)
    assert "\x1b[31m" in shown_error
    for text in (shown_error.replace("\x1b[31m", ""), str(shown), shown.html, str(StatusLine("running", [name], name))):
        assert "name" in text
        assert not {"\x1b", "\x07", "\u202e", "\u2066", "\x9b"} & set(text)


def test_an_empty_line_of_windows_keeps_its_carriage_return():
    text = TerminalText(returns=True)
    text.feed("first\r\n\r")
    text.feed("\nlast\r\n")
    assert text.take() == (["first\r", "\r", "last\r"], "")
