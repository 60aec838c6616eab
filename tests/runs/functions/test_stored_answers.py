"""Answers in the bucket: a map continues with the calls that a process left active, and repeats no finished item."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE

from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.protocol.bucket import CALLS, answer_key
from lk_jupyter.remote import sign
from lk_jupyter.runs.functions.items import ItemMap, ItemPolicy
from lk_jupyter.runs.functions.stored_answers import StoredAnswers
from lk_jupyter.runs.functions.stored_results import StoredResults

TOKEN = "5f2d"


def store(session, entries, key=None, token=TOKEN):
    """Store an answer as a machine does."""
    answer = pickle.dumps(entries)
    signature = sign.signature(key or signing_key(answer_key(token)), answer)
    session.storage.put(signature + answer, answer_key(token))


@pytest.fixture
def answers(session):
    return StoredAnswers(lambda: session.storage, lambda _: False)


def test_an_answer_that_a_member_changed_is_not_read(session, answers):
    assert answers.read(TOKEN) == []
    store(session, [b"1"])
    assert answers.read(TOKEN) == [b"1"]
    store(session, [b"2"], key=bytes(32))
    assert answers.read(TOKEN) == []
    session.storage.put(b"short", answer_key(TOKEN))
    assert answers.read(TOKEN) == []


def test_the_answer_of_a_call_is_waited_for_while_its_machine_is_busy(session):
    looks = []

    def is_busy(run):
        looks.append(run)
        if len(looks) == 2:
            store(session, [b"1"])
        return True

    assert StoredAnswers(lambda: session.storage, is_busy).read(TOKEN, "run") == [b"1"]
    assert looks == ["run", "run"]


def test_the_results_of_the_first_items_do_not_end_the_wait_for_a_busy_machine(session):
    def is_busy(_):
        is_ended.append(False)
        if len(is_ended) == 3:
            store(session, [b"1", b"2"])
        return True

    is_ended = []
    store(session, (b"1",))
    assert StoredAnswers(lambda: session.storage, is_busy).read(TOKEN, "run") == [b"1", b"2"]
    store(session, (b"1",))
    assert StoredAnswers(lambda: session.storage, lambda _: False).read(TOKEN, "run") == [b"1"]


def double(number):
    return 2 * number


def map_with(send, answers, count=6, resume="stored"):
    items = ItemMap(
        ItemPolicy(double, Path.cwd()), [((number,), {}) for number in range(count)], resume, answers, is_listed=True
    )
    chunks = list(items.chunks(count, 1))
    return list(items.merge(result for chunk in chunks for result in chunk.run(send, pickle.loads)))


def test_items_whose_results_arrived_before_a_machine_was_lost_are_not_called_again(answers, home):
    calls = []

    def send(call):
        _, arguments = pickle.loads(call.payload)
        numbers = [args[0] for args, _ in arguments]
        calls.append(numbers)
        call.stored.on_send("run")
        entries = [pickle.dumps(double(number)) for number in numbers]
        if 3 in numbers and len(calls) < 2:
            call.stored.entries += entries[: numbers.index(3)]
            raise ConnectionFailed("The machine was lost.")
        return entries

    assert map_with(send, answers) == [0, 2, 4, 6, 8, 10]
    assert calls == [[0, 1, 2, 3, 4, 5], [3], [4, 5]]


def test_a_repeated_chunk_has_another_answer_than_the_answer_that_is_being_removed(answers, home):
    tokens = []

    def send(call):
        tokens.append(call.token)
        call.stored.on_send("run")
        if len(tokens) < 3:
            raise ConnectionFailed("The machine was lost.")
        return [pickle.dumps(double(*args)) for args, _ in pickle.loads(call.payload)[1]]

    with pytest.raises(ConnectionFailed):
        map_with(send, answers, count=1)
    assert map_with(send, answers, count=1) == [0]
    assert len(set(tokens)) == 3


def test_a_map_continues_with_the_answer_of_a_call_whose_process_ended(session, answers, home):
    token = ""

    def end(call):
        nonlocal token
        token = call.token
        call.stored.on_send("run")
        store(session, [pickle.dumps(double(number)) for number in range(4)], token=token)
        raise SystemExit

    with pytest.raises(SystemExit):
        map_with(end, answers)
    sizes = []

    def send(call):
        _, arguments = pickle.loads(call.payload)
        sizes.append(len(arguments))
        return [pickle.dumps(double(*args)) for args, _ in arguments]

    assert map_with(send, answers) == [0, 2, 4, 6, 8, 10]
    assert sizes == [2]
    assert StoredResults("stored", double, Path.cwd(), print).load([]) == {}
    end = time.monotonic() + PATIENCE
    while token in "".join(info.key for info in session.storage.ls(f"{CALLS}{token}/")):
        assert time.monotonic() < end


#: Prints the key of an item whose function and arguments contain sets, which have another order in each process.
KEYS = """
from pathlib import Path
from lk_jupyter.runs.functions.stored_results import StoredResults

names = {"a", "b", "c"}

def outer(limit):
    def work(number, *, words=frozenset({"d", "e", "f"})):
        return number in {1, limit} or names & words or str(number) in {"g", "h", "i"}
    return work

results = StoredResults("keys", outer(3), Path.cwd(), print)
print(results.next_key((({"j", "k", "l"}, [1.5, {"m": {"n", "o"}}]), {})))
"""


def test_another_process_has_the_same_key_for_a_function_and_an_item_with_sets(home):
    variants = [KEYS, KEYS.replace('"i"', '"x"'), KEYS.replace('"c"', '"x"'), KEYS.replace("outer(3)", "outer(4)")]
    code = f"for variant in {variants!r}:\n    exec(variant, {{'__name__': '__main__'}})"
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in "12"
    )
    assert first == second
    assert len(set(first)) == 4
