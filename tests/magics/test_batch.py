"""A question about every row of a column."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from contextlib import redirect_stdout
from decimal import Decimal

import pandas as pd
import pytest
from magics.kernels import fail
from magics.people import interrupt_us
from patience import PATIENCE

from lk_jupyter.inference.batch import Estimate
from lk_jupyter.inference.batch_file import BatchPart, LocalBatchFile, RowAnswer, RowFailure
from lk_jupyter.magics import batches
from lk_jupyter.magics.batches import lk_batch

REVIEWS = ["good", "bad", "so so"]


@pytest.fixture
def ask(talking, run_cell, shell):
    """A notebook with reviews that is signed in to a cloud with an upstream; gives what a cell shows."""
    shell.user_ns["df"] = pd.DataFrame({"review": REVIEWS, "stars": [5, 1, 3]}, index=[10, 20, 30])
    return run_cell


def test_a_bill_above_the_estimate_of_a_batch_is_shown_in_its_receipt(ask, monkeypatch):
    monkeypatch.setattr(batches.Job, "estimate", lambda *_: Estimate(3, 1, Decimal(0), Decimal("0.000001")))
    shown = ask("%lk_batch df.review -m up/large --max-tokens 50 --yes")
    assert "above the quote of at most" in shown


@pytest.fixture
def answer(monkeypatch):
    asked = []

    def with_(text):
        monkeypatch.setattr("builtins.input", lambda question: (asked.append(question), text)[1])
        return asked

    return with_


class Rows:
    """An upstream that answers a prompt with the prompt, and fails those that it is told to, as often as it is told."""

    def __init__(self, failing=(), times=1, status=500):
        self.left = dict.fromkeys(failing, times)
        self.status = status
        self.answered = Counter()

    def __call__(self, body):
        prompt = body["messages"][-1]["content"]
        if self.left.get(prompt):
            self.left[prompt] -= 1
            return self.status, {"error": {"message": "out of memory"}}
        self.answered[prompt] += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": f"re: {prompt}"}, "finish_reason": "stop"}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}


def test_a_missing_pandas_is_told_before_anything_is_asked(ask, shell, upstream, monkeypatch):
    upstream.answer = Rows()
    shell.user_ns["texts"] = REVIEWS
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert 'A table needs pandas: %pip install "fsspec>=2024.12" "pandas>=2.1" "pyarrow>=16"' in ask(
        "%lk_batch texts -m up/large -y"
    )
    assert not upstream.answer.answered


def test_a_batch_that_can_cost_more_than_is_left_is_warned_of(make_cloud, run_cell, shell, monkeypatch):
    poor = make_cloud("--credits", "0.0005")
    monkeypatch.setenv("LK_BASE_URL", poor.base_url)
    monkeypatch.setenv("LK_API_KEY", poor.api_key)
    shell.user_ns["texts"] = REVIEWS
    shown = run_cell("%lk_batch texts -m local/echo --max-tokens 2000 --dry-run")
    assert "0.0005 credits left, but this batch can cost 0.0024 credits. The cloud may stop it early." in shown
    assert "--max-cost" not in shown  # it has no such option


def test_answers_are_joined_by_row_and_priced(ask, shell, upstream):
    upstream.answer = Rows()
    shown = ask('%lk_batch df.review -m up/large --prompt "{stars} stars: {text}" --save answers --max-tokens 50 --yes')
    plan, line = shown.splitlines()
    assert plan.startswith("◌ plan · 3 rows · about ")
    assert plan.endswith("answers at most 0.0003 credits")
    assert line.startswith("✓ completed · up/large · 3 of 3 rows answered · ")
    assert line.endswith("under 0.0001 credits")
    frame = shell.user_ns["answers"]
    assert frame.index.tolist() == [10, 20, 30]
    assert frame.review.tolist() == REVIEWS
    assert frame.answer.tolist() == ["re: 5 stars: good", "re: 1 stars: bad", "re: 3 stars: so so"]
    assert (frame.error == "").all()
    described = dict.fromkeys(re.findall(r"``(\w+)``\s+\(str", lk_batch.doc), "str")
    assert dict(frame.dtypes.astype(str).replace("object", "str")) == {"review": "str", **described}
    assert upstream.requests[0]["max_tokens"] == 50


def test_it_tells_the_price_and_asks_first(ask, upstream, answer):
    shown = ask("%lk_batch df.review -m up/large --dry-run")
    assert "For each 1,000 tokens in the average answer, the batch costs 0.0066 credits more." in shown
    asked = answer("n")
    assert "Nothing was sent. To skip the question: --yes" in ask("%lk_batch df.review -m up/large")
    assert asked == ["Start the batch? [y/N] "]
    assert not upstream.requests


def test_the_same_line_asks_no_row_twice_unless_it_is_told_to(ask, upstream):
    upstream.answer = rows = Rows()
    ask("%lk_batch df.review -m up/large -y")
    shown = ask("%lk_batch df.review -m up/large -y")
    assert "re: so so" in shown
    assert "All rows have answers: nothing was sent or billed. Send the rows again: --again" in shown
    assert rows.answered == {"good": 1, "bad": 1, "so so": 1}
    ask("%lk_batch df.review -m up/large -y --again")
    assert rows.answered == {"good": 2, "bad": 2, "so so": 2}


def test_rows_that_fail_are_asked_again_and_what_is_left_is_told(ask, shell, upstream):
    upstream.answer = rows = Rows(["bad"], times=2)
    assert "✓ completed" in ask("%lk_batch df.review -m up/large -y --save answers --system one")
    assert rows.answered == {"good": 1, "bad": 1, "so so": 1}
    upstream.answer = Rows(["bad"], times=2)
    shown = ask("%lk_batch df.review -m up/large -y --save answers --retries 0 --system two")
    assert "✗ failed · up/large · 2 of 3 rows answered" in shown
    assert "1 row: the upstream service answered HTTP 500: out of memory" in shown
    assert shell.user_ns["answers"].error.tolist()[1].endswith("out of memory")
    upstream.answer = rows = Rows(["bad"], times=9, status=400)
    assert "✗ failed" in ask("%lk_batch df.review -m up/large -y --save answers --system three")
    assert rows.left == {"bad": 8}  # a request that is wrong is not sent again


def test_a_batch_whose_answer_was_lost_is_found_again(ask, shell, upstream, talkative):
    upstream.answer = rows = Rows()
    fail(talkative, path="/batches", method="POST", lose_answer=True)
    shown = ask("%lk_batch df.review -m up/large -y --save answers")
    assert "✓ completed" in shown, shown
    assert rows.answered == {"good": 1, "bad": 1, "so so": 1}


def test_an_interrupt_lets_it_go_on_and_cancelling_ends_it(ask, shell, upstream, talkative):
    line, rows, gate = "%lk_batch df.review -m up/large -y --save answers --system left", Rows(), threading.Event()

    def interrupting(body):
        if body["messages"][-1]["content"] == "so so" and not gate.is_set():
            interrupt_us()
            gate.wait(PATIENCE)
        return rows(body)

    upstream.answer = interrupting
    assert "KeyboardInterrupt: stopped waiting; the batch is still active." in ask(line)
    assert "Cancelled the batch; in progress: 3 rows." in ask(f"{line} --cancel")
    gate.set()
    assert "was cancelled. Run the cell again to send the rows that weren't computed." in ask(line)
    assert next(iter(talkative.client.batches.list().all())).status == "cancelled"
    assert "✓ completed" in ask(line)
    assert shell.user_ns["answers"].answer.tolist() == ["re: good", "re: bad", "re: so so"]


def test_lists_and_series_are_columns_too(ask, shell, upstream):
    upstream.answer = Rows()
    shell.user_ns["words"] = ["a", "b"]
    ask("%lk_batch words -m up/large -y --save answers")
    assert shell.user_ns["answers"].answer.tolist() == ["re: a", "re: b"]
    shell.user_ns["named"] = shell.user_ns["df"].review
    ask("%lk_batch named -m up/large -y --save answers")
    assert shell.user_ns["answers"].columns.tolist() == ["review", "answer", "error", "state"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("df.reviw -m up/large", "'df' has no column 'reviw'. Nothing was sent. Did you mean review?"),
        ("df -m up/large", "'df' is a DataFrame. Nothing was sent. Name one of its columns: df.review"),
        ("fd.review -m up/large", "Unknown variable 'fd'. Nothing was sent. Did you mean df?"),
        ("df.stars -m up/large", "Row 10 of 'df.stars' is 5, not a text. Nothing was sent."),
        (
            "blank -m up/large",
            "Row 1 of 'blank' is empty. Nothing was sent. First give such rows a text, or remove them.",
        ),
        ("df.review -m up/lrge", "Unknown model 'up/lrge'. Near: up/large."),
        ("df.review -m up/embed", "up/embed is for %lk_embed."),
        ('df.review -m up/large --prompt "Is it kind?"', "--prompt doesn't contain {text}"),
        (
            'df.review -m up/large --prompt "{txt}"',
            "Unknown variable 'txt' in the prompt. Nothing was sent. Did you mean {text}?",
        ),
        ("df.review", "needs --model"),
    ],
)
def test_a_slip_is_one_line_and_nothing_is_sent(ask, shell, upstream, line, told):
    shell.user_ns["blank"] = ["a", " "]
    assert told in ask(f"%lk_batch {line} -y")
    assert not upstream.requests


def test_a_key_in_a_row_is_not_sent(ask, shell, upstream):
    shell.user_ns["keys"] = ["lk_" + "a1b2c3d4" * 5]
    shown = ask("%lk_batch keys -m up/large -y")
    assert "The batch seems to contain a secret" in shown
    assert not upstream.requests


def test_a_row_keeps_its_first_answer_and_counts_its_failures(tmp_path):
    file = LocalBatchFile(tmp_path / "kept" / "job.sqlite")
    part = file.plan([0, 1])
    assert file.open_parts() == [BatchPart(part.token, (0, 1), None, None)]
    file.keep(part, [RowAnswer(0, "first"), RowFailure(1, 500, "no")])
    file.keep(file.plan([0, 1]), [RowAnswer(0, "second"), RowFailure(1, 429, "busy")])
    assert file.answers() == {0: RowAnswer(0, "first")}
    assert file.failures() == {1: RowFailure(1, 429, "busy", 2)}
    assert file.open_parts() == []
    file.close()


#: How many rows; ten thousand by hand: LK_ROWS=10000.
ROWS = int(os.environ.get("LK_ROWS", "1000"))

PROGRAM = """
    import json, lk_jupyter
    from lk_jupyter.inference.batch import Job, Work
    from lk_jupyter.inference.batch_file import open_batch_file
    from lk_jupyter.inference.catalogue import read_catalogue

    with lk_jupyter.connect() as session:
        job = Job(read_catalogue(session).find("up/large", "chat"), [f"row {n}" for n in range({rows})])
        with open_batch_file(job.key) as file:
            work = Work(session, job, file)
            for progress in work.steps():
                print(json.dumps([progress.answered, progress.failed, progress.total]), flush=True)
            print(json.dumps({row: answer.text for row, answer in work.result().answers.items()}))
"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_rows_by_the_thousand_survive_failures_and_a_killed_process(talking, upstream):
    upstream.answer = rows = Rows(failing=[f"row {n}" for n in range(0, ROWS, 33)])
    program = textwrap.dedent(PROGRAM).replace("{rows}", str(ROWS))
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as first:
        answered = next(n for n, _, total in map(json.loads, first.stdout) if 0 < n < total)
        first.send_signal(signal.SIGKILL)
    assert 0 < answered < ROWS
    with redirect_stdout(io.StringIO()) as printed:
        exec(program, {})
    *progress, answers = printed.getvalue().splitlines()
    assert json.loads(progress[-1]) == [ROWS, 0, ROWS]
    assert json.loads(answers) == {str(n): f"re: row {n}" for n in range(ROWS)}
    assert rows.answered == dict.fromkeys((f"row {n}" for n in range(ROWS)), 1)
    assert not any(rows.left.values())
