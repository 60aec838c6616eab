"""Rows of a batch whose answers are odd, late or missing: no row is paid twice without a question."""

from __future__ import annotations

import json
import re

import pytest
from api.scripted import answer
from stand_in import KEY, STREAM, StandIn, event

from lk_jupyter.inference import batch
from lk_jupyter.inference.batch_file import LocalBatchFile

LINE = "%lk_batch texts -m m --max-tokens 8 --save found --yes"
PRICES = [
    {
        "meter_slug": f"serverless_inference_{meter}_tokens",
        "applies_to": {"deployment_id": "serverless:m"},
        "unit_price": "0.001",
    }
    for meter in ("prompt", "completion")
]
TEXTS = [f"text {number}" for number in range(6)]
CHAT = "POST /serverless/chat/completions"


def completion(row, **more):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return {"choices": [{"message": {"content": f"re {row}"}}], "usage": usage, **more}


def usual(row):
    return {"custom_id": f"row-{row}", "response": {"status_code": 200, "body": completion(row)}, "error": None}


class BatchServer:
    """A cloud with batches whose lines of answers and whose record a test decides; ``sent`` are the computed rows."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.sent = []
        self.files = {}
        self.write = lambda rows: [[usual(row) for row in rows]]
        self.record = {}
        self.looks_until_stored = 0
        cloud.on("POST /files", self._store).on("POST /batches", self._create)
        cloud.on("GET /batches", lambda _: {"data": [self._build_record(name) for name in self.files]})

    def _store(self, request):
        rows = [int(row) for row in re.findall(rb'"custom_id": "row-(\d+)"', request.body)]
        name = f"f{len(self.files)}"
        self.files[name] = rows
        return {"id": name}

    def _create(self, request):
        name = request.json["input_file_id"]
        self.sent += self.files[name]
        self.cloud.on(f"GET /batches/b{name}", lambda _: self._build_record(name))
        for number, lines in enumerate(self.write(self.files[name])):
            self._serve_file(f"o{name}{number}", lines)
        return {"id": f"b{name}", "status": "validating"}

    def _serve_file(self, name, lines):
        text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        stored = (answer(200, text, "application/jsonl"),)

        def content(_):
            self.looks_until_stored -= 1
            return (404, {"detail": f"No such file {name}"}) if self.looks_until_stored >= 0 else stored

        self.cloud.on(f"GET /files/{name}/content", content)

    def _build_record(self, name):
        files = [f"o{name}{number}" for number in range(len(self.write(self.files[name])))]
        record = {"id": f"b{name}", "status": "completed", "input_file_id": name, "output_file_id": files[0]}
        return {**record, **({"output_file_ids": files} if files[1:] else {}), **self.record}


@pytest.fixture
def cloud(home, monkeypatch):
    stand_in = StandIn()
    stand_in.on("GET /serverless/models", {"data": [{"id": "m"}]}).on("GET /pricing", {"prices": PRICES})
    monkeypatch.setenv("LK_BASE_URL", stand_in.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    monkeypatch.setattr(batch, "LATE_PAUSES", (0.0, 0.0))
    yield stand_in
    stand_in.close()


@pytest.fixture
def server(cloud):
    return BatchServer(cloud)


@pytest.fixture
def run_line(shell, run_cell):
    """Run a line; return the text it shows and its DataFrame, None if the line failed."""
    shell.user_ns["texts"] = TEXTS
    return lambda line=LINE: (run_cell(line), shell.user_ns.pop("found", None))


@pytest.fixture
def states(run_line):
    """Run a line; return the text it shows and the states of the rows."""

    def run(line=LINE):
        shown, frame = run_line(line)
        return shown, [] if frame is None else frame.state.tolist()

    return run


def with_body(row, **response):
    return {"custom_id": f"row-{row}", "response": {"body": completion(row), **response}}


LINES = {
    "the status as text": lambda row: with_body(row, status_code="200"),
    "the status as a float": lambda row: with_body(row, status_code=200.0),
    "the status as words": lambda row: with_body(row, status_code="200 OK"),
    "no status": with_body,
    "another name of the status": lambda row: with_body(row, status=200),
    "an error without content": lambda row: {**usual(row), "error": {"code": None, "message": None}},
    "a number as custom_id": lambda row: {**usual(row), "custom_id": row},
    "a float as custom_id": lambda row: {**usual(row), "custom_id": float(row)},
    "digits as custom_id": lambda row: {**usual(row), "custom_id": str(row)},
    "the body as text": lambda row: with_body(row, body=json.dumps(completion(row)), status_code=200),
    "the body in the response": lambda row: {"custom_id": f"row-{row}", "response": completion(row)},
    "no response around the body": lambda row: {"custom_id": f"row-{row}", **completion(row)},
    "content in parts": lambda row: with_body(
        row, body={"choices": [{"message": {"content": [{"type": "text", "text": f"re {row}"}]}}]}
    ),
}


@pytest.mark.parametrize("form", LINES.values(), ids=LINES)
def test_an_answer_in_another_form_is_an_answer(server, run_line, form):
    server.write = lambda rows: [[form(row) for row in reversed(rows)]]
    assert run_line()[1].answer.tolist() == [f"re {row}" for row in range(6)]
    assert sorted(server.sent) == list(range(6))


FILES = {
    "two files": lambda rows: [[usual(row) for row in rows[:2]], [usual(row) for row in rows[2:]]],
    "each line twice": lambda rows: [[usual(row) for row in rows for _ in range(2)]],
    "an answer and a later error": lambda rows: [
        [line for row in rows for line in (usual(row), {"custom_id": f"row-{row}", "error": {"message": "no"}})]
    ],
    "an error and a later answer": lambda rows: [
        [line for row in rows for line in ({"custom_id": f"row-{row}", "error": {"message": "no"}}, usual(row))]
    ],
    "a list in a line": lambda rows: [[[usual(row) for row in rows]]],
}


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_each_row_of_odd_files_is_answered_and_paid_once(server, states, write):
    server.write = write
    _, found = states()
    assert found == ["answered"] * 6
    assert sorted(server.sent) == list(range(6))


def test_files_in_the_field_of_a_single_file_are_read(server, states):
    server.write = FILES["two files"]
    server.record = {"output_file_id": ["of00", "of01"]}
    assert states()[1] == ["answered"] * 6


def test_answers_that_are_stored_late_are_waited_for(server, states):
    server.looks_until_stored = 2
    assert states()[1] == ["answered"] * 6
    assert sorted(server.sent) == list(range(6))


MISSING = {
    "no line": lambda rows: [[usual(row) for row in rows if row < 2]],
    "half a line": lambda rows: [[*(usual(row) for row in rows if row < 2), '{"custom_id": "row-2", "resp']],
    "no choices": lambda rows: [[usual(row) if row < 2 else with_body(row, status_code=200, body={}) for row in rows]],
    "a lost answer": lambda rows: [
        [usual(row) if row < 2 else with_body(row, status_code=504, body=None) for row in rows]
    ],
    "an error without a status": lambda rows: [
        [usual(row) if row < 2 else {"custom_id": f"row-{row}", "error": {"message": "odd"}} for row in rows]
    ],
}


@pytest.mark.parametrize("status", ["completed", "expired"])
@pytest.mark.parametrize("write", MISSING.values(), ids=MISSING)
def test_a_row_that_may_have_been_computed_is_not_sent_again(server, states, write, status):
    server.write, server.record = write, {"status": status}
    for _ in range(2):
        shown, found = states()
        assert found == ["answered"] * 2 + ["unknown"] * 4
        assert "4 rows are unknown and may be billed with at most " in shown
        assert "--resend" in shown
    assert sorted(server.sent) == list(range(6))


def test_unknown_rows_are_sent_again_after_a_question_with_the_price(server, states, monkeypatch):
    server.write = MISSING["no line"]
    states()
    questions, replies = [], iter(["n", "y"])
    monkeypatch.setattr("builtins.input", lambda question: (questions.append(question), next(replies))[1])
    server.write = lambda rows: [[usual(row) for row in rows if row < 5]]
    line = f"{LINE.removesuffix(' --yes')} --resend"
    shown, _ = states(line)
    assert "4 rows · about " in shown
    assert "answers at most " in shown
    assert sorted(server.sent) == list(range(6))
    _, found = states(line)
    assert " ".join(questions[1].split()) == "Send 4 rows again? They may be billed already. [y/N]"
    assert found == ["answered"] * 5 + ["unknown"]
    assert sorted(server.sent) == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_rows_that_a_cancelled_batch_has_not_computed_are_sent_again_without_a_question(server, states):
    counts = {"total": 6, "completed": 2, "failed": 0}
    server.write, server.record = MISSING["no line"], {"status": "cancelled", "request_counts": counts}
    assert "was cancelled" in states()[0]
    server.write, server.record = (lambda rows: [[usual(row) for row in rows]]), {}
    assert states()[1] == ["answered"] * 6
    assert sorted(server.sent) == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_failed_batch_with_answers_keeps_them_and_pays_no_row_twice(server, states):
    server.write, server.record = MISSING["no line"], {"status": "failed", "errors": {"data": [{"message": "odd"}]}}
    assert states()[1] == ["answered"] * 2 + ["unknown"] * 4
    assert states()[1] == ["answered"] * 2 + ["unknown"] * 4
    assert sorted(server.sent) == list(range(6))


def test_refused_rows_are_sent_again_and_invalid_rows_are_not(server, states):
    status = {2: 429, 3: 400}
    server.write = lambda rows: [
        [usual(row) if row not in status else with_body(row, status_code=status[row], body=None) for row in rows]
    ]
    shown, found = states(f"{LINE} --retries 1")
    assert found == ["answered", "answered", "refused", "refused", "answered", "answered"]
    assert "unknown" not in shown
    assert sorted(server.sent) == [0, 1, 2, 2, 3, 4, 5]


def test_a_batch_that_disappeared_is_reported_and_sent_again_on_request_only(server, states, cloud):
    cloud.on("POST /batches", lambda request: {"id": "b1", "status": "validating"})
    cloud.on("GET /batches/b1", (404, {"detail": "Batch b1 not found"}))
    for _ in range(2):
        assert "The server doesn't know the batch 'b1' any more. Its rows may be billed." in states()[0]
    assert cloud.calls["POST /batches"] == 1
    cloud.on("POST /batches", server._create)
    assert states(f"{LINE} --resend")[1] == ["answered"] * 6


def test_all_rows_again_is_refused_while_a_batch_may_be_active(server, states, cloud):
    server.record = {"status": "in_progress", "output_file_id": None}
    cloud.on("POST /batches", ())
    cloud.on("GET /batches", {"data": []})
    assert "may exist and be billed" in states()[0]
    assert "--again would pay the rows of an active batch twice. Nothing was sent." in states(f"{LINE} --again")[0]
    assert cloud.calls["POST /batches"] == 1


def test_a_dry_run_of_a_line_that_was_sent_before_sends_nothing(server, states):
    server.write = MISSING["no line"]
    states()
    assert "4 rows · about " in states(f"{LINE} --dry-run --resend")[0]
    assert sorted(server.sent) == list(range(6))


@pytest.fixture
def chats(cloud):
    """A cloud without batches, whose chats break before the first text of some rows."""
    cloud.on("POST /files", (404, {"detail": "Not Found"}))
    sent = []

    def reply(request):
        row = int(request.json["messages"][0]["content"].removeprefix("text "))
        sent.append(row)
        begin = event({"choices": [{"delta": {"content": "" if row > 1 else f"re {row}"}}]})
        return (STREAM, begin) if row > 1 else (STREAM, begin, b"data: [DONE]\n\n")

    cloud.on(CHAT, reply)
    return sent


def test_a_chat_that_breaks_before_its_first_word_is_not_sent_again(chats, states):
    for _ in range(2):
        shown, found = states()
        assert found == ["answered"] * 2 + ["unknown"] * 4
        assert "--resend" in shown
    assert sorted(chats) == list(range(6))


def test_a_chat_of_a_killed_process_is_unknown(chats, states, shell, monkeypatch):
    keep = LocalBatchFile.keep

    def keep_until_killed(self, part, outcomes):
        if part.rows == (0,):
            raise SystemExit  # as a killed process, which doesn't store this answer any more
        keep(self, part, outcomes)

    with monkeypatch.context() as killed:
        killed.setattr(LocalBatchFile, "keep", keep_until_killed)
        states()
    assert states()[1][0] == "unknown"
    assert chats.count(0) == 1


def test_a_batch_is_sent_without_metadata_that_the_server_refuses(server, states, cloud):
    def create(request):
        return (422, {"detail": "metadata: not permitted"}) if "metadata" in request.json else server._create(request)

    cloud.on("POST /batches", create)
    assert states()[1] == ["answered"] * 6
    assert cloud.calls["POST /batches"] == 2
    assert sorted(server.sent) == list(range(6))
