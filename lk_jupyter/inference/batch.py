"""Send many rows as a batch: price, send, follow and read the batch, and repeat refused rows.

A row is paid once in any case: requests are on disk before they are sent, under a token that is part of the request;
after the end of the process, the token finds the batch. ``custom_id`` joins answers to rows. A row that may have been
computed is unknown until an answer arrives: only ``Work.resend`` sends the row again, after a question with
the price.
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
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

from lk_jupyter.api._creation import Candidates, create_once
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
    LkError,
    NotFound,
    OperationNotAvailable,
    OutcomeUnknown,
    PaymentRequired,
    Unauthorized,
    UsageError,
)
from lk_jupyter.inference.batch_answers import (
    ROW_PREFIX,
    RowOutcome,
    excludes_more_answers,
    explain_missing_row,
    merge_outcomes,
    parse_outcomes,
    was_refused,
)
from lk_jupyter.inference.batch_file import (
    ACTIVE_CHAT,
    REQUESTED,
    BatchPart,
    LocalBatchFile,
    RowAnswer,
    RowFailure,
    job_key,
)
from lk_jupyter.inference.catalogue import ModelOffer
from lk_jupyter.machines.catalogue import sum_costs
from lk_jupyter.protocol.json_limits import MOST_MESSAGE_BYTES
from lk_jupyter.runs.submit.start import send_accepted_fields
from lk_jupyter.session import Session
from lk_jupyter.text.units import count_label

CHAT = "/v1/chat/completions"

#: Maximum lines and bytes of a file; the API documents no limits, so these are OpenAI's.
MOST_LINES, MOST_BYTES = 50_000, 90_000_000

#: Seconds between two looks at a batch: few at first, at most this many.
LONGEST_PACE = 10.0

#: Letters of a token, on average over English prose: for estimates alone.
LETTERS = 4

#: Name of the token in the metadata of a batch.
TOKEN = "lk_jupyter"  # noqa: S105 (no secret)

#: Pauses between two looks for the answers of a batch that has ended, in seconds: files may be stored later.
LATE_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)

_UNCLEAR = (
    "The server lists no batch with this file, but the batch may exist and be billed. Nothing was sent again.\n"
    "Check: lk_jupyter.connect().client.batches.list(). If the batch is missing there, send its rows again: "
    "%lk_batch … --resend"
)
_NO_BATCH = (
    "The server doesn't know the batch '{}' any more. Its rows may be billed. Nothing was sent again.\n"
    "Send its rows again, after a question with the price: %lk_batch … --resend"
)
_LOST_BATCH = "the batch can't be found, and may be billed"
_LOST_CHAT = "the answer was lost, and may be billed"

#: Statuses of refused rows that another attempt wouldn't change.
_FINAL_REFUSALS = frozenset({400, 401, 402, 403, 404, 413, 422})

#: Seconds between two reports of chats, and the label of their state.
_CHAT_PACE = 0.3
_AS_CHATS = "sent as chats, because this server has no batches"


@dataclass(frozen=True)
class Job:
    """The questions of a batch: a prompt for each row, and the parameters of the model."""

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
        line = {"custom_id": f"{ROW_PREFIX}{row}", "method": "POST", "url": CHAT, "body": self.body(row)}
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def highest_cost(self, rows: Iterable[int]) -> Decimal | None:
        """Return the most that these rows may cost: each byte may be a token. None if a price isn't known."""
        numbers, prices = list(rows), self.offer.prices
        if prices.prompt is None or prices.completion is None:
            return None
        answer = self.parameters.get("max_tokens") or MAX_TOKENS
        prompts = sum(len(self.line(row)) for row in numbers) * prices.prompt
        return prompts + answer * len(numbers) * prices.completion

    def estimate(self, rows: Iterable[int]) -> Estimate:
        """Return the estimated cost of these rows; tokens are estimated from letters."""
        numbers = list(rows)
        letters = sum(len(self.prompts[row]) + len(self.system or "") for row in numbers)
        tokens, prices = letters // LETTERS + 4 * len(numbers), self.offer.prices
        most = self.parameters.get("max_tokens")
        answers = None if most is None or prices.completion is None else most * len(numbers) * prices.completion
        return Estimate(len(numbers), tokens, None if prices.prompt is None else tokens * prices.prompt, answers)


@dataclass(frozen=True)
class Estimate:
    """The cost of rows in credits: prompts estimated, answers at most; None if unknown."""

    rows: int
    prompt_tokens: int
    prompts: Decimal | None
    answers: Decimal | None


@dataclass(frozen=True)
class BatchProgress:
    """The progress of a job: answered rows, failed rows, and failed rows that are being repeated."""

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
    """The result of a job: answers and failures by row, the number of repeated rows, and the cost."""

    answers: dict[int, RowAnswer]
    failures: dict[int, RowFailure]
    cost: Decimal | None

    def unknown_rows(self) -> list[int]:
        """Return the rows without an answer that may have been computed and billed."""
        return sorted(row for row, failure in self.failures.items() if failure.is_unknown)

    def state(self, row: int) -> str:
        """Return the state of a row: answered, refused, unknown, or "" for a row that wasn't sent."""
        if row in self.answers:
            return "answered"
        failure = self.failures.get(row)
        return "" if failure is None else "unknown" if failure.is_unknown else "refused"

    def reasons(self) -> list[str]:
        """Return why rows have no answer, the most frequent first."""
        counted = Counter(failure.message for failure in self.failures.values())
        return [f"{count_label(count, 'row')}: {message}" for message, count in counted.most_common(3)]


class Work:
    """The execution of a job. ``steps`` runs the job to its end; another process can continue an unfinished job."""

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
        self._resending: set[int] = set()

    def missing(self) -> list[int]:
        """Return the rows to send: rows without an answer that weren't computed, may succeed and aren't processed."""
        failures, answered = self._file.failures(), self._file.answers()
        pending_rows = {row for part in self._file.open_parts() for row in part.rows}
        open_rows = (row for row in range(len(self._job.prompts)) if row not in answered and row not in pending_rows)
        return [
            row for row in open_rows if row not in failures or row in self._resending or self._may_retry(failures[row])
        ]

    def _may_retry(self, failure: RowFailure) -> bool:
        return not failure.is_unknown and failure.status not in _FINAL_REFUSALS and failure.tries <= self._retries

    def find_unknown_rows(self) -> list[int]:
        """Return the rows that may have been computed and billed, and of which no answer can arrive any more."""
        for part in self._file.open_parts():
            if part.batch == REQUESTED:
                part = self._find_batch(part)  # noqa: PLW2901 (the same part, with its batch)
            if part.batch == REQUESTED or not self._is_listed(part):
                self._store_lost_rows(part, _LOST_BATCH)
        self._store_lost_chats()
        return self.result().unknown_rows()

    def resend(self, rows: Iterable[int]) -> None:
        """Let ``steps`` send unknown rows again, once. The rows may be paid twice, so callers show a question first."""
        self._resending.update(rows)

    def _is_listed(self, part: BatchPart) -> bool:
        try:
            return not part.batch_id or bool(self._client.batches.get(part.batch_id))
        except NotFound:
            return False

    def _store_lost_rows(self, part: BatchPart, reason: str) -> None:
        self._file.keep(part, [RowFailure(row, None, reason, is_unknown=True) for row in part.rows])

    def _store_lost_chats(self) -> None:
        """Store that the chats of an ended process are unknown."""
        for part in self._file.open_parts():
            if part.batch == ACTIVE_CHAT:
                self._store_lost_rows(part, _LOST_CHAT)

    def _plan(self, rows: list[int]) -> BatchPart:
        self._resending.difference_update(rows)
        return self._file.plan(rows)

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.missing() or self._file.open_parts())

    def steps(self) -> Iterator[BatchProgress]:
        """Process the remaining rows, and yield the progress. Raises the error of a batch that the cloud refused.

        On a server without batches, each row is a chat, several in parallel.
        """
        self._store_lost_chats()
        try:
            yield from self._run_batches()
        except OperationNotAvailable:
            batched = [part for part in self._file.open_parts() if part.batch]
            if batched:  # the server supported batches when the batch was created
                raise
            self._client.assumptions.store_finding("batch_prefix", ABSENT)
            yield from self._send_chats()
        yield self._compute_progress([], "completed")

    def _run_batches(self) -> Iterator[BatchProgress]:
        if self._client.assumptions["batch_prefix"] == ABSENT:
            raise OperationNotAvailable("POST /batches", self._client.base_url)
        for part in self._file.open_parts():
            self._create_batch(part)
        while not self.is_done():
            for rows in self._split_rows(self.missing()):
                self._create_batch(self._plan(rows))
            yield from self._follow_batches()

    def _send_chats(self) -> Iterator[BatchProgress]:
        """Send the rows as chats; each answer is stored on arrival, and an interrupt waits for active chats."""
        for part in self._file.open_parts():
            self._file.keep(part, ())
        while rows := self.missing():
            with ThreadPoolExecutor(min(setting("parallel"), len(rows)), "lk-chat") as pool:
                waiting = {pool.submit(self._send_and_store_row, row) for row in rows}
                try:
                    while waiting:
                        done, waiting = wait(waiting, timeout=_CHAT_PACE, return_when=FIRST_EXCEPTION)
                        for each in done:
                            each.result()
                        yield self._compute_progress([], _AS_CHATS)
                finally:
                    for each in waiting:
                        each.cancel()

    def _send_and_store_row(self, row: int) -> None:
        """Send a row as a chat and store the answer or the failure."""
        request = ChatCompletionRequest(**self._job.body(row), stream_options=StreamOptions(include_usage=True))
        text, usage = [], Usage()
        row_outcome: RowOutcome
        with self._storing:
            part = self._file.note(self._plan([row]), batch=ACTIVE_CHAT)
        try:
            for piece in self._client.serverless.stream_chat_completions(request):
                text.append(piece.text)
                usage = piece.usage or usage
            row_outcome = RowAnswer(row, "".join(text), usage.prompt_tokens, usage.completion_tokens)
        except ApiError as refusal:
            if isinstance(refusal, (OperationNotAvailable, Unauthorized, PaymentRequired)):
                self._clear_chat(part)
                raise
            row_outcome = RowFailure(row, refusal.status, refusal.detail, is_unknown=bool(text))
        except UsageError:  # a budget or the read-only mode: nothing was sent
            self._clear_chat(part)
            raise
        except LkError as problem:
            is_unsent = isinstance(problem, ConnectionFailed) and not problem.is_accepted
            reason = first_line(problem) if is_unsent else f"{first_line(problem)} The request may be billed."
            row_outcome = RowFailure(row, None, reason, is_unknown=not is_unsent)
        with self._storing:
            self._file.keep(part, [row_outcome])

    def _clear_chat(self, part: BatchPart) -> None:
        with self._storing:
            self._file.keep(part, ())

    @property
    def goes_on(self) -> bool:
        """Whether the server continues to work without this process."""
        return any(part.batch and part.batch != ACTIVE_CHAT for part in self._file.open_parts())

    def result(self) -> BatchResult:
        """Return the result so far."""
        answers = self._file.answers()
        return BatchResult(answers, self._file.failures(), sum_costs(map(self._compute_answer_cost, answers.values())))

    def cancel(self) -> int:
        """Cancel active batches; return the number of their rows."""
        parts = [self._find_batch(part) for part in self._file.open_parts()]
        for part in parts:
            if part.batch_id:
                self._client.batches.cancel(part.batch_id)
        return sum(len(part.rows) for part in parts)

    def _split_rows(self, rows: list[int]) -> Iterator[list[int]]:
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

    def _create_batch(self, part: BatchPart) -> None:
        """Create the batch of a part, if the batch doesn't exist yet."""
        part = self._find_batch(part)
        if part.batch == REQUESTED:
            raise OutcomeUnknown(_UNCLEAR)
        if part.batch:
            return
        if not part.file:
            with self._write_requests(part) as path:
                upload = Upload(path, content_type="application/jsonl")
                part = self._file.note(part, file=self._client.files.upload(BatchFileUpload(file=upload)).id)
        request = CreateBatchRequest(input_file_id=str(part.file), endpoint=CHAT, metadata={TOKEN: part.token})
        part = self._file.note(part, batch=REQUESTED)

        def send() -> str:
            with costs_at_most(self._job.highest_cost(part.rows)):
                create = self._client.batches.create
                return send_accepted_fields(self._client.assumptions, request, create).id

        def find() -> Candidates[str]:
            return Candidates(self._find_batch(part).batch_id)

        try:
            self._file.note(part, batch=create_once(send, find, lambda: _UNCLEAR, trusts_failure=lambda _: False))
        except OutcomeUnknown:
            raise
        except LkError:  # the request was refused, or never sent
            self._file.clear_request(part)
            raise

    def _find_batch(self, part: BatchPart) -> BatchPart:
        """Return a part with its batch, if the cloud has a batch with the part's token or file."""
        if part.batch_id or not part.file:
            return part
        every = self._client.batches.list(limit=100).all()
        marks = ((batch, (batch.metadata or {}).get(TOKEN)) for batch in every)
        match = next((batch for batch, mark in marks if part.token == mark or part.file == batch.input_file_id), None)
        return self._file.note(part, batch=match.id) if match else part

    @contextmanager
    def _write_requests(self, part: BatchPart) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lk_batch") as folder:
            path = Path(folder, "requests.jsonl")
            with path.open("wb") as file:
                file.writelines(self._job.line(row) for row in part.rows)
            yield path

    def _follow_batches(self) -> Iterator[BatchProgress]:
        """Follow the active batches to their ends, and read the results."""
        began = time.monotonic()
        while parts := self._file.open_parts():
            batches = {part: self._read_batch(str(part.batch)) for part in parts}
            for part, batch in batches.items():
                if batch.is_over:
                    yield from self._read_results(part, batch)
            going = [batch for batch in batches.values() if not batch.is_over]
            if going:
                yield self._compute_progress(going, going[0].status)
                self._pause(min(LONGEST_PACE, 0.2 + (time.monotonic() - began) / 10))

    def _read_batch(self, batch_id: str) -> Batch:
        try:
            return self._client.batches.get(batch_id)
        except OperationNotAvailable:
            raise
        except NotFound:
            raise OutcomeUnknown(_NO_BATCH.format(batch_id)) from None

    def _read_results(self, part: BatchPart, batch: Batch) -> Iterator[BatchProgress]:
        """Read and store the outcome of each row; answers that are stored late are waited for."""
        if was_refused(batch):
            record_cost(self._session, batch.id, Decimal(0))
            self._file.keep(part, ())
            raise LkError(f"The cloud refused the batch {batch.id}: {_format_faults(batch)}. No row was answered.")
        outcomes: dict[int, RowOutcome] = {}
        for pause in (*LATE_PAUSES, None):
            merge_outcomes(outcomes, self._download_outcomes(batch), part.rows)
            if pause is None or len(outcomes) == len(part.rows) or excludes_more_answers(batch, len(outcomes)):
                break
            yield self._compute_progress([batch], "waiting for the answers")
            self._pause(pause)
            batch = self._read_batch(batch.id)
        missing = [explain_missing_row(row, batch, len(outcomes)) for row in part.rows if row not in outcomes]
        self._file.keep(part, [*outcomes.values(), *missing])
        self._record_batch_cost(batch, [*outcomes.values(), *missing])
        with suppress(ApiError):  # the prompts are no longer needed in the cloud
            self._client.files.delete(part.file or batch.input_file_id)
        if batch.status == "cancelled":
            raise LkError(
                f"The batch {batch.id} was cancelled. Run the cell again to send the rows that weren't computed."
            )

    def _record_batch_cost(self, batch: Batch, outcomes: list[RowOutcome]) -> None:
        """Record the cost of a batch for budgets: unknown rows count with the most that they may cost."""
        unknown = [each.row for each in outcomes if isinstance(each, RowFailure) and each.is_unknown]
        costs = [self._compute_answer_cost(each) for each in outcomes if isinstance(each, RowAnswer)]
        costs += [self._job.highest_cost(unknown)] if unknown else []
        if None not in costs:
            record_cost(self._session, batch.id, sum(filter(None, costs), Decimal(0)))

    def _download_outcomes(self, batch: Batch) -> Iterator[RowOutcome]:
        for file_id in (*batch.output_files, *batch.error_files):
            with tempfile.TemporaryDirectory(prefix="lk_batch") as folder:
                try:
                    path = self._client.files.content(file_id).save(Path(folder, "answers.jsonl"))
                except OperationNotAvailable:
                    raise
                except NotFound:  # the file isn't stored yet
                    continue
                with path.open("rb") as lines:
                    # of a longer line, no piece is an answer
                    pieces = iter(partial(lines.readline, MOST_MESSAGE_BYTES), b"")
                    yield from chain.from_iterable(parse_outcomes(line) for line in pieces if line.strip())

    def _compute_progress(self, going: list[Batch], state: str) -> BatchProgress:
        counts = [batch.request_counts for batch in going if batch.request_counts]
        pending_rows = {row for part in self._file.open_parts() for row in part.rows}
        failed = self._file.failures().keys()
        answered = len(self._file.answers()) + sum(count.completed or 0 for count in counts)
        fallen = len(failed - pending_rows) + sum(count.failed or 0 for count in counts)
        return BatchProgress(answered, fallen, len(self._job.prompts), state, len(failed & pending_rows))

    def _compute_answer_cost(self, answer: RowAnswer) -> Decimal | None:
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return self._job.offer.prices.cost(usage)


def first_line(problem: Exception) -> str:
    """Return the first line of an error."""
    return str(problem).partition("\n")[0]


def _format_faults(batch: Batch) -> str:
    listed = batch.errors.get("data", []) if isinstance(batch.errors, dict) else batch.errors or []
    messages = [str(fault.get("message")) for fault in listed if isinstance(fault, dict)]
    return "; ".join(messages[:3]) or "no reason was given"
