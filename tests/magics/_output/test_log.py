import re

import pytest

from lk_jupyter.magics._output import log
from lk_jupyter.magics._output.log import LogOutput

TRACEBACK = 'Traceback (most recent call last):\n  File "cell.py", line 2, in <module>\nValueError: no\n'


class Screen:
    """What a notebook shows: text as a front end redraws it, and the note between head and tail."""

    def __init__(self, limit=5):
        self.text = ""
        self.messages = 0
        self.notes = []
        self.hidden = []
        self.output = LogOutput(self.write, self.notes.append, self.hidden.append, limit=limit)

    def write(self, text):
        self.messages += 1
        self.text += text

    @property
    def lines(self):
        """A notebook keeps what follows the last carriage return, over what is longer before."""
        return [re.sub(r"^.*\r", "", line).rstrip() for line in self.text.removesuffix("\n").split("\n")]


@pytest.fixture
def screen():
    return Screen()


def test_stderr_brings_nothing_that_a_terminal_obeys(screen):
    for chunk in ("\x1b]52;c;eA", "==\x07", "\x1b[2J\x1b\x07]0;title\x07bad\n"):
        screen.output.show_error(chunk)
    assert screen.text == "]0;titlebad\n"


def test_lines_are_written_as_they_come(screen):
    screen.output.show("one\ntw")
    assert screen.text == "one\n"
    screen.output.show("o\nthree\n")
    screen.output.end()
    assert screen.text == "one\ntwo\nthree\n"


def test_lines_of_a_command_keep_the_return_that_they_have_in_a_notebook(screen):
    screen.output.show("a.txt  b.txt\r")
    screen.output.show("\n 50%\r100%\nlast\r\n")
    screen.output.end()
    assert screen.text == "a.txt  b.txt\r\n100%\nlast\r\n"


def test_an_unfinished_line_alone_is_shown_at_once_and_only_its_rest_later(screen):
    screen.output.show("Password")
    assert screen.text == "Password"
    screen.output.show(": ok\n")
    assert screen.text == "Password: ok\n"


def test_an_unfinished_line_after_others_gets_a_moment(screen):
    screen.output.show("one\nloading")
    assert screen.output.holds
    screen.output.show("")
    assert screen.text == "one\nloading"
    assert not screen.output.holds


def test_a_progress_bar_is_redrawn_in_its_line(screen):
    for bar in ("\r 10%|#   |", "\r 90%|####|", "\r100%|####| 40/40", "\n"):
        screen.output.show(bar)
    screen.output.end()
    assert screen.lines == ["100%|####| 40/40"]


def test_states_between_two_updates_are_never_sent(screen):
    screen.output.show("".join(f"\r{percent}%" for percent in range(100)))
    assert screen.text == "99%"
    assert screen.messages == 1


def test_a_shorter_redraw_leaves_nothing_of_the_longer(screen):
    screen.output.show("\rdownloading a file")
    screen.output.show("\rdone\x1b[K")
    screen.output.end()
    assert screen.lines == ["done"]


def test_nothing_is_sent_twice(screen):
    for number in range(5):
        screen.output.show(f"line {number}\n")
    screen.output.end()
    assert screen.text == "".join(f"line {number}\n" for number in range(5))


def test_a_flood_is_cut_to_its_first_and_last_lines():
    screen = Screen(limit=3)
    for number in range(100):
        screen.output.show(f"line {number}\n")
    screen.output.end()
    assert screen.lines == ["line 0", "line 1", "line 2", "line 97", "line 98", "line 99"]
    assert screen.hidden == [94]


def test_the_newest_line_of_a_flood_is_seen_while_it_lasts():
    screen = Screen(limit=2)
    screen.output.show("a\nb\nc\n\x1b[31mnewest\x1b[0m\n")
    assert screen.notes == ["… 2 more lines so far, the newest: newest"]


def test_the_note_stands_between_the_first_lines_and_the_last():
    screen = Screen(limit=2)
    shown = []
    screen.output = LogOutput(shown.append, shown.append, shown.append, limit=2)
    screen.output.show("a\nb\nc\nd\ne\n")
    assert shown == ["a\nb\n", "… 3 more lines so far, the newest: e"]


def test_a_log_of_up_to_twice_the_limit_is_whole():
    screen = Screen(limit=3)
    screen.output.show("".join(f"{number}\n" for number in range(6)))
    screen.output.end()
    assert screen.lines == list("012345")
    assert screen.hidden == [0]


def test_the_traceback_that_ends_the_run_is_left_to_the_error_of_the_cell(screen):
    screen.output.show("before\n" + TRACEBACK)
    screen.output.end(TRACEBACK)
    assert screen.lines == ["before"]


def test_a_traceback_that_the_error_does_not_show_is_written(screen):
    screen.output.show(TRACEBACK)
    screen.output.end("")
    assert screen.lines == TRACEBACK.splitlines()


def test_a_traceback_in_mid_run_is_written_after_a_moment(screen, monkeypatch):
    screen.output.show("before\n" + TRACEBACK)
    assert screen.output.holds
    monkeypatch.setattr(log, "_HOLD", 0)
    screen.output.show("after\n")
    screen.output.end("")
    assert screen.lines == ["before", *TRACEBACK.splitlines(), "after"]


def test_a_notebook_leaves_an_unfinished_line_as_the_code_did():
    screen = Screen()
    screen.output = LogOutput(screen.write, screen.notes.append, screen.hidden.append, limit=5, ends=False)
    screen.output.show("one\n1 2 ")
    screen.output.show("3 ")
    screen.output.cut()
    screen.output.show("\n4 5\n6 ")
    screen.output.end()
    assert screen.text == "one\n1 2 3 \n4 5\n6 "


def test_an_unfinished_last_line_is_ended(screen):
    screen.output.show("no newline")
    screen.output.end()
    assert screen.text == "no newline\n"
