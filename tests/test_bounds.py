"""What reads bytes from elsewhere takes little time and memory for them, whatever they are."""

import tracemalloc
from contextlib import suppress

import pytest
from patience import cpu_seconds

from lk_jupyter.api._events import parse
from lk_jupyter.api.states import is_run_id
from lk_jupyter.errors import LkError
from lk_jupyter.inference.batch_answers import parse_outcomes
from lk_jupyter.journal.entry import parse_entry
from lk_jupyter.protocol.frames import Splitter
from lk_jupyter.serverext.allowlist import NotAllowed, match
from lk_jupyter.storage._plan import file_name
from lk_jupyter.text.terminal import TerminalText, plain

MUCH, FEWER = 100_000, 5_000
MIB = 1024**2


def allowed(path):
    match("GET", path)


def journal(text):
    parse_entry({"execution_id": "a", "request": text, "metadata": text, "receipt": text, "result": text})


@pytest.mark.parametrize("value", [1, [], [0.5] * 300_000])
def test_a_row_of_the_journal_whose_json_is_no_text_is_damaged(value):
    assert parse_entry({"execution_id": "0d9f1f52-6a0d-4b30-9a3e-0d9c1c3f9d11", "metadata": value}) is None


def answers(text):
    list(parse_outcomes(text.encode()))


def stream(text):
    return list(parse(text))


def frames(text):
    splitter = Splitter("0123456789abcdef")
    return [*splitter.feed(text), *splitter.end()]


def terminal(text):
    shown = TerminalText()
    for end in ("\n", "\r", "\bx\n"):
        shown.feed(text + end)
        shown.take()
    return shown.end(), plain(text)


NESTED = ["[" * MUCH, '{"output":' * MUCH, '{"output":{"content":"' + "x" * MUCH + '"}}', "\\" * MUCH, "1" * MUCH]
SIGNS = [
    "\x1b[m" * MUCH,
    "a" * MUCH + "\b" * MUCH,
    "\x1b[mx" * FEWER + "a\r" * (MUCH // 4),
    "a\x1b[m\x1b[K" * FEWER,
    "\x1b[9A\n" * FEWER,
]
STEPS = ["%25" * MUCH, "../" * MUCH, "%2e%2e%2f" * MUCH, "\\" * MUCH, "a" * MUCH, "/" * MUCH, ";" * MUCH]


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        *((reader, text) for reader in (stream, journal, answers) for text in NESTED),
        *((terminal, text) for text in SIGNS),
        *((reader, text) for reader in (allowed, file_name, is_run_id, frames) for text in STEPS),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[:12],
)
def test_no_text_from_elsewhere_takes_a_second_or_50_mb(reader, text):
    """Half as much text takes half of that."""

    def read():
        with suppress(LkError, NotAllowed):
            reader(text)

    assert cpu_seconds(read, limit=0.5) < 0.5
    tracemalloc.start()
    read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * MIB
