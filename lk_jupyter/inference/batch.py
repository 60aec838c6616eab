"""Many rows asked as one batch: priced, sent, followed, read, and what failed asked again.

A row has one answer, whatever happens: what was sent is on disk before it goes, under a token that travels with it;
after the end of the process its batch is found by that token. Answers are joined to their rows by ``custom_id``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from lk_jupyter.api._files import Upload
from lk_jupyter.api.batches import Batch, CreateBatchRequest
from lk_jupyter.api.files import BatchFileUpload
from lk_jupyter.api.serverless import MAX_TOKENS, ChatCompletionRequest, StreamOptions, Usage
from lk_jupyter.config.assumptions import ABSENT
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.gate import costs_at_most, record_cost
from lk_jupyter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    LkError,
    OperationNotAvailable,
    OutcomeUnknown,
    PaymentRequired,
    ServerError,
    Unauthorized,
)
from lk_jupyter.inference.batch_file import REQUESTED, BatchPart, LocalBatchFile, RowAnswer, RowFailure, job_key
from lk_jupyter.inference.catalogue import ModelOffer
from lk_jupyter.protocol.json_limits import MOST_MESSAGE_BYTES, load_json
from lk_jupyter.session import Session

CHAT = "/v1/chat/completions"

#: Most lines and bytes of one file; the API tells none, so these are OpenAI's.
MOST_LINES, MOST_BYTES = 50_000, 90_000_000

#: Seconds between two looks at a batch: few at first, at most this many.
LONGEST_PACE = 10.0

#: Letters of a token, on average over English prose: for estimates alone.
LETTERS = 4

#: Name of the token in the metadata of a batch.
TOKEN = "lk_jupyter"  # noqa: S105 (no secret)

_UNCLEAR = (
    "The batch may exist and be billed, but the server lists none with this file. The request was not sent "
    "again.\nCheck: lk_jupyter.connect().client.batches.list(). If it is missing: %lk_batch … --again"
)

#: In the place of a status: the answer of a chat was lost, and may be billed.
_LOST = 0

_UNREADABLE = "the answer isn't in the format of this API, and may be billed; ask again: --again"

_FOR_NOTHING = frozenset({_LOST, 400, 401, 402, 403, 404, 413, 422})

#: Seconds between two looks at chats, and what is said of them.
_CHAT_PACE = 0.3
_AS_CHATS = "asked as chats: this server has no batches"


@dataclass(frozen=True)
class Job:
    """What is asked: a prompt for each row, and how the model is to answer."""

    offer: ModelOffer
    prompts: list[str]
    system: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same question about the same rows."""
        return job_key([self.offer.id, self.system, self.parameters], self.prompts)

    def body(self, row: int) -> dict[str, Any]:
        """Return the request of a row."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": self.prompts[row]}]
        return {"model": self.offer.id, "messages": messages, **self.parameters}

    def line(self, row: int) -> bytes:
        """Return the line of a row."""
        line = {"custom_id": f"row-{row}", "method": "POST", "url": CHAT, "body": self.body(row)}
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def most(self, rows: Iterable[int]) -> Decimal | None:
        """Return the most that these rows may cost: each byte may be a token. None if a price isn't known."""
        numbers, prices = list(rows), self.offer.prices
        if prices.prompt is None or prices.completion is None:
            return None
        answer = self.parameters.get("max_tokens") or MAX_TOKENS
        prompts = sum(len(self.line(row)) for row in numbers) * prices.prompt
        return prompts + answer * len(numbers) * prices.completion

    def estimate(self, rows: Iterable[int]) -> Estimate:
        """Return what these rows may cost; their tokens are only guessed from their letters."""
        numbers = list(rows)
        letters = sum(len(self.prompts[row]) + len(self.system or "") for row in numbers)
        tokens, prices = letters // LETTERS + 4 * len(numbers), self.offer.prices
        most = self.parameters.get("max_tokens")
        answers = None if most is None or prices.completion is None else most * len(numbers) * prices.completion
        return Estimate(len(numbers), tokens, None if prices.prompt is None else tokens * prices.prompt, answers)


@dataclass(frozen=True)
class Estimate:
    """What rows may cost in credits: their prompts about, their answers at most; None where that is not known."""

    rows: int
    prompt_tokens: int
    prompts: Decimal | None
    answers: Decimal | None


@dataclass(frozen=True)
class BatchProgress:
    """How far a job is: rows answered, rows that failed, and failed rows that are asked again now."""

    answered: int
    failed: int
    total: int
    state: str
    again: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, (self.answered + self.failed) / self.total) if self.total else 1.0


@dataclass(frozen=True)
class BatchResult:
    """What came of a job: answers and failures by row, how many rows were asked again, and what it cost."""

    answers: dict[int, RowAnswer]
    failures: dict[int, RowFailure]
    cost: Decimal | None

    def reasons(self) -> list[str]:
        """Return why rows have no answer, the most frequent first."""
        counted = Counter(failure.message for failure in self.failures.values())
        return [f"{count:,} {'row' if count == 1 else 'rows'}: {message}" for message, count in counted.most_common(3)]


class Work:
    """A job on its way. ``steps`` brings it to its end; it may be begun in one process and ended in another."""

    def __init__(
        self,
        session: Session,
        job: Job,
        file: LocalBatchFile,
        *,
        retries: int = 3,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._client = session.client
        self._job = job
        self._file = file
        self._retries = retries
        self._pause = pause
        self._storing = Lock()

    def missing(self) -> list[int]:
        """Return the rows to ask: rows without an answer that may get one and aren't on their way."""
        failures, answered = self._file.failures(), self._file.answers()
        pending_rows = {row for part in self._file.open_parts() for row in part.rows}
        open_rows = (row for row in range(len(self._job.prompts)) if row not in answered and row not in pending_rows)
        return [
            row
            for row in open_rows
            if row not in failures
            or (failures[row].status not in _FOR_NOTHING and failures[row].tries <= self._retries)
        ]

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.missing() or self._file.open_parts())

    def steps(self) -> Iterator[BatchProgress]:
        """Do what is left to do, and return how far it is. Raises the error of a batch that the cloud refused.

        On a server without batches each row is a chat, several at once.
        """
        try:
            yield from self._batched()
        except OperationNotAvailable:
            batched = [part for part in self._file.open_parts() if part.batch]
            if batched:  # it had batches when they were asked for
                raise
            self._client.assumptions.learn("batch_prefix", ABSENT)
            yield from self._chatted()
        yield self._progress([], "completed")

    def _batched(self) -> Iterator[BatchProgress]:
        if self._client.assumptions["batch_prefix"] == ABSENT:
            raise OperationNotAvailable("POST /batches", self._client.base_url)
        for part in self._file.open_parts():
            self._send(part)
        while not self.is_done():
            for rows in self._cut(self.missing()):
                self._send(self._file.plan(rows))
            yield from self._follow()

    def _chatted(self) -> Iterator[BatchProgress]:
        """Ask the rows as chats; an answer is stored as it comes, and an interrupt waits for those on their way."""
        for part in self._file.open_parts():
            self._file.keep(part, ())
        while rows := self.missing():
            with ThreadPoolExecutor(min(setting("parallel"), len(rows)), "lk-chat") as pool:
                waiting = {pool.submit(self._chat, row) for row in rows}
                try:
                    while waiting:
                        done, waiting = wait(waiting, timeout=_CHAT_PACE, return_when=FIRST_EXCEPTION)
                        for each in done:
                            each.result()
                        yield self._progress([], _AS_CHATS)
                finally:
                    for each in waiting:
                        each.cancel()

    def _chat(self, row: int) -> None:
        """Ask one row and store what came of it."""
        request = ChatCompletionRequest(**self._job.body(row), stream_options=StreamOptions(include_usage=True))
        text, usage = [], Usage()
        row_outcome: RowAnswer | RowFailure
        try:
            for piece in self._client.serverless.stream_chat_completions(request):
                text.append(piece.text)
                usage = piece.usage or usage
            row_outcome = RowAnswer(row, "".join(text), usage.prompt_tokens, usage.completion_tokens)
        except ApiError as refusal:
            if isinstance(refusal, (OperationNotAvailable, Unauthorized, PaymentRequired)):
                raise
            row_outcome = RowFailure(row, refusal.status, refusal.detail)
        except ConnectionFailed as problem:
            row_outcome = RowFailure(row, _LOST if text else None, first_line(problem))
        except LkError as problem:
            row_outcome = RowFailure(row, _LOST, f"{first_line(problem)} It may be billed. Ask again: --again")
        with self._storing:
            self._file.keep(self._file.plan([row]), [row_outcome])

    @property
    def goes_on(self) -> bool:
        """Whether the server works on it without us."""
        return any(part.batch for part in self._file.open_parts())

    def result(self) -> BatchResult:
        """Return what came of it so far."""
        answers = self._file.answers()
        costs = [self._cost(answer) for answer in answers.values()]
        prices = [cost for cost in costs if cost is not None]
        return BatchResult(
            answers, self._file.failures(), sum(prices, Decimal(0)) if len(prices) == len(costs) else None
        )

    def cancel(self) -> int:
        """Cancel what is on its way; return how many rows that were."""
        parts = [self._with_batch(part) for part in self._file.open_parts()]
        for part in parts:
            if part.batch and part.batch != REQUESTED:
                self._client.batches.cancel(part.batch)
        return sum(len(part.rows) for part in parts)

    def _cut(self, rows: list[int]) -> Iterator[list[int]]:
        """Yield rows in files that are not too large."""
        part: list[int] = []
        size = 0
        for row in rows:
            size += len(self._job.line(row))
            if part and (len(part) == MOST_LINES or size > MOST_BYTES):
                yield part
                part, size = [], len(self._job.line(row))
            part.append(row)
        if part:
            yield part

    def _send(self, part: BatchPart) -> None:
        """Send a part whose batch is not there yet."""
        part = self._with_batch(part)
        if part.batch == REQUESTED:
            raise OutcomeUnknown(_UNCLEAR)
        if part.batch:
            return
        if not part.file:
            with self._written(part) as path:
                upload = Upload(path, content_type="application/jsonl")
                part = self._file.note(part, file=self._client.files.upload(BatchFileUpload(file=upload)).id)
        request = CreateBatchRequest(input_file_id=str(part.file), endpoint=CHAT, metadata={TOKEN: part.token})
        part = self._file.note(part, batch=REQUESTED)
        try:
            with costs_at_most(self._job.most(part.rows)):
                self._file.note(part, batch=self._client.batches.create(request).id)
        except (OutcomeUnknown, InvalidResponse, ServerError) as lost:
            with suppress(LkError):
                part = self._with_batch(part)
            if part.batch == REQUESTED:
                raise OutcomeUnknown(f"{first_line(lost)}\n{_UNCLEAR}") from None
        except LkError:  # it was refused, or never left
            self._file.clear_request(part)
            raise

    def _with_batch(self, part: BatchPart) -> BatchPart:
        """Return a part with its batch, if the cloud has it though its answer never came; its file is of no other."""
        if part.batch not in {None, REQUESTED} or not part.file:
            return part
        every = self._client.batches.list(limit=100).all()
        marks = ((batch, (batch.metadata or {}).get(TOKEN)) for batch in every)
        match = next((batch for batch, mark in marks if part.token == mark or part.file == batch.input_file_id), None)
        return self._file.note(part, batch=match.id) if match else part

    @contextmanager
    def _written(self, part: BatchPart) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lk_batch") as folder:
            path = Path(folder, "requests.jsonl")
            with path.open("wb") as file:
                file.writelines(self._job.line(row) for row in part.rows)
            yield path

    def _follow(self) -> Iterator[BatchProgress]:
        """Look at what is on its way until it has come, and read it."""
        began = time.monotonic()
        while parts := self._file.open_parts():
            batches = {part: self._client.batches.get(str(part.batch)) for part in parts}
            for part, batch in batches.items():
                if batch.is_over:
                    self._read(part, batch)
            going = [batch for batch in batches.values() if not batch.is_over]
            if going:
                yield self._progress(going, going[0].status)
                self._pause(min(LONGEST_PACE, 0.2 + (time.monotonic() - began) / 10))

    def _read(self, part: BatchPart, batch: Batch) -> None:
        if batch.status == "failed":
            record_cost(self._session, batch.id, Decimal(0))
            self._file.keep(part, ())
            raise LkError(f"The cloud refused the batch {batch.id}: {_faults(batch)}. No row was answered.")
        read = list(self._downloaded(batch))
        rows = set(part.rows)
        outcomes = {each.row: each for each in read if each and each.row in rows}
        lost = (_without_line(row, batch, all_readable=None not in read) for row in part.rows if row not in outcomes)
        self._file.keep(part, [*outcomes.values(), *lost])
        costs = [self._cost(each) for each in outcomes.values() if isinstance(each, RowAnswer)]
        if None not in costs:
            record_cost(self._session, batch.id, sum(filter(None, costs), Decimal(0)))
        with suppress(ApiError):  # the prompts need not lie there any longer
            self._client.files.delete(batch.input_file_id)
        if batch.status == "cancelled":
            raise LkError(f"The batch {batch.id} was cancelled. Run the cell again to ask the remaining rows.")

    def _downloaded(self, batch: Batch) -> Iterator[RowAnswer | RowFailure | None]:
        for file_id in filter(None, (batch.error_file_id, batch.output_file_id)):
            with tempfile.TemporaryDirectory(prefix="lk_batch") as folder:
                path = self._client.files.content(file_id).save(Path(folder, "answers.jsonl"))
                with path.open("rb") as lines:
                    pieces = iter(
                        partial(lines.readline, MOST_MESSAGE_BYTES), b""
                    )  # of a longer line, none is an answer
                    yield from (outcome(line) for line in pieces if line.strip())

    def _progress(self, going: list[Batch], state: str) -> BatchProgress:
        counts = [batch.request_counts for batch in going if batch.request_counts]
        pending_rows = {row for part in self._file.open_parts() for row in part.rows}
        failed = self._file.failures().keys()
        answered = len(self._file.answers()) + sum(count.completed or 0 for count in counts)
        fallen = len(failed - pending_rows) + sum(count.failed or 0 for count in counts)
        return BatchProgress(answered, fallen, len(self._job.prompts), state, len(failed & pending_rows))

    def _cost(self, answer: RowAnswer) -> Decimal | None:
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return self._job.offer.prices.cost(usage)


def first_line(problem: Exception) -> str:
    """Return what an error says first."""
    return str(problem).partition("\n")[0]


def outcome(line: bytes) -> RowAnswer | RowFailure | None:
    """Return what a line of answers or of errors says of its row; None if it doesn't say of which."""
    try:
        record = load_json(line)
        row = int(record["custom_id"].removeprefix("row-"))
    except (RecursionError, ValueError, KeyError, TypeError, AttributeError):
        return None
    try:
        response = record.get("response") or {}
        body = response.get("body") or {}
        if response.get("status_code") != 200 or record.get("error"):
            error = record.get("error") or body.get("error") or {}
            return RowFailure(row, response.get("status_code"), str(error.get("message") or "no reason was given"))
        usage = body.get("usage") or {}
        text = str(body["choices"][0]["message"].get("content") or "")
        return RowAnswer(row, text, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    except (KeyError, TypeError, IndexError, AttributeError):
        return RowFailure(row, _LOST, _UNREADABLE)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _without_line(row: int, batch: Batch, *, all_readable: bool) -> RowFailure:
    """Return why a row has no line: it is asked again only if no line could have been its own."""
    return (
        RowFailure(row, None, f"the batch was {batch.status}") if all_readable else RowFailure(row, _LOST, _UNREADABLE)
    )


def _faults(batch: Batch) -> str:
    listed = batch.errors.get("data", []) if isinstance(batch.errors, dict) else batch.errors or []
    messages = [str(fault.get("message")) for fault in listed if isinstance(fault, dict)]
    return "; ".join(messages[:3]) or "no reason was given"
