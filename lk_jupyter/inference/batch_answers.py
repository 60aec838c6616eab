"""Parse the lines of a batch's answers: each row is answered, refused or unknown. This module does no I/O.

An unknown row may have been computed and billed, so only a question with a price sends the row again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from lk_jupyter.api.batches import Batch
from lk_jupyter.inference.batch_file import RowAnswer, RowFailure
from lk_jupyter.protocol.json_limits import load_encodable_json

#: Prefix of a row's ``custom_id``.
ROW_PREFIX = "row-"

#: Statuses after which a model may have computed an answer that was lost.
_LOST_STATUSES = frozenset({408, 425, 499, 504, 522, 524})

#: Codes and types of errors without a status that exclude a computed answer.
_REFUSALS = frozenset(
    {
        "batch_cancelled",
        "batch_expired",
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_request",
        "invalid_request_error",
        "model_not_found",
        "rate_limit_error",
        "rate_limit_exceeded",
    }
)

#: States of a batch that ended before each row was computed: the counts show which rows were.
_CUT_SHORT = frozenset({"cancelled", "expired", "failed"})

_UNREADABLE = "the answer isn't in the format of this API, and may be billed"
_MISSING = "the batch was {} without an answer to this row, which may be billed"

RowOutcome = RowAnswer | RowFailure


def parse_outcomes(line: bytes) -> Iterator[RowOutcome]:
    """Parse a line of answers or errors: an object, or a list of objects. Objects without a row are left out."""
    try:
        content = load_encodable_json(line)
    except (RecursionError, ValueError):
        return
    for record in content if isinstance(content, list) else [content]:
        if isinstance(record, dict) and (row := _parse_row(record)) is not None:
            yield _parse_record(row, record)


def merge_outcomes(outcomes: dict[int, RowOutcome], more: Iterable[RowOutcome], rows: Iterable[int]) -> None:
    """Add outcomes of these rows: an answer beats a refusal, a refusal an unknown outcome, and the first one stays."""
    expected = frozenset(rows)
    for outcome in more:
        before = outcomes.get(outcome.row)
        if outcome.row in expected and (before is None or _rank(outcome) > _rank(before)):
            outcomes[outcome.row] = outcome


def explain_missing_row(row: int, batch: Batch, lines: int) -> RowFailure:
    """Return the outcome of a row without a line; ``lines`` is the number of rows with a line."""
    if excludes_more_answers(batch, lines):
        return RowFailure(row, None, f"the batch was {batch.status}")
    return RowFailure(row, None, _MISSING.format(batch.status), is_unknown=True)


def excludes_more_answers(batch: Batch, lines: int) -> bool:
    """Whether the counts of a batch that was cut short prove that the rows without a line weren't computed."""
    counts = batch.request_counts
    if batch.status not in _CUT_SHORT or counts is None or counts.completed is None:
        return False
    return counts.completed + (counts.failed or 0) <= lines


def was_refused(batch: Batch) -> bool:
    """Whether a failed batch was refused before any row was computed."""
    counts = batch.request_counts
    if batch.status != "failed" or batch.output_files or (counts and (counts.completed or counts.failed)):
        return False
    return bool(batch.errors) or (counts is not None and counts.completed == 0)


def _rank(outcome: RowOutcome) -> int:
    return 2 if isinstance(outcome, RowAnswer) else 0 if outcome.is_unknown else 1


def _parse_row(record: dict[str, Any]) -> int | None:
    name = next((record[key] for key in ("custom_id", "customId", "custom-id") if key in record), None)
    number = _parse_number(name.strip().removeprefix(ROW_PREFIX) if isinstance(name, str) else name)
    return None if number is None or number < 0 else number


def _parse_number(value: Any) -> int | None:
    """Return a whole number that was sent as a number or as text, such as 200, 200.0 or "200 OK"."""
    if isinstance(value, str):
        match = re.match(r"\s*(\d{1,9})(?:\.0+)?(?:\s|$)", value, re.ASCII)
        return int(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(ValueError, OverflowError):  # NaN and infinity
        return int(value) if value == int(value) else None
    return None


def _parse_record(row: int, record: dict[str, Any]) -> RowOutcome:
    response = _read_object(record.get("response"))
    body = _read_object(response.get("body")) or _find_body(response) or _find_body(record)
    text = _read_text(body)
    if text is not None:
        usage = _read_object(body.get("usage"))
        counts = (_parse_number(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        return RowAnswer(row, text, *counts)
    errors = [error for error in (record.get("error"), response.get("error"), body.get("error")) if error]
    return _parse_failure(row, _find_status(record, response, errors), errors)


def _parse_failure(row: int, status: int | None, errors: list[Any]) -> RowFailure:
    objects = [_read_object(error) for error in errors]
    texts = (error.get("message") or error.get("code") or error.get("type") for error in objects)
    plain_texts = (error for error in errors if isinstance(error, str))
    message = str(next((text for text in (*texts, *plain_texts) if text), ""))
    codes = {str(error.get(name)).lower() for error in objects for name in ("code", "type")}
    if (status is not None and status >= 400 and status not in _LOST_STATUSES) or (
        status is None and codes & _REFUSALS
    ):
        return RowFailure(row, status, message or "no reason was given")
    return RowFailure(row, status, message or _UNREADABLE, is_unknown=True)


def _find_status(record: dict[str, Any], response: dict[str, Any], errors: list[Any]) -> int | None:
    names = ("status_code", "statusCode", "status", "code")
    places = (response, record, *map(_read_object, errors))
    numbers = (_parse_number(place.get(name)) for place in places for name in names)
    return next((number for number in numbers if number is not None and 100 <= number < 600), None)


def _find_body(content: dict[str, Any]) -> dict[str, Any]:
    return content if "choices" in content else {}


def _read_object(value: Any) -> dict[str, Any]:
    """Return an object, also if it was sent as text with JSON in it."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = load_encodable_json(value)
    return value if isinstance(value, dict) else {}


def _read_text(body: dict[str, Any]) -> str | None:
    """Return the text of the first choice, None if the body has no such text. An empty answer has null."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    if isinstance(message, dict):
        content = message.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            return "".join(part for part in parts if isinstance(part, str))
        return "" if content is None else content if isinstance(content, str) else None
    text = choice.get("text")
    return text if isinstance(text, str) else None
