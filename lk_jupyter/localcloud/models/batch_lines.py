"""Lines of a batch: read, check and answer each line, and write the answers as lines."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException
from pydantic import ValidationError
from pydantic_core import from_json

from lk_jupyter.api._endpoint import explain
from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.models.models import Models
from lk_jupyter.localcloud.models.upstream import restrict_for_upstream

Json = dict[str, Any]

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
ENDPOINTS = (CHAT, EMBEDDINGS)

MOST_LINES = 50_000

#: The built-in models refuse requests that only an upstream can answer.
_CHAT_REQUEST = restrict_for_upstream(ChatCompletionRequest)


@dataclass(frozen=True)
class BatchLine:
    """A request of a file; ``number`` counts from 1."""

    number: int
    custom_id: str
    url: str
    body: Json


@dataclass(frozen=True)
class LineFault:
    """Why a line, or with number 0 a file, is refused."""

    number: int
    custom_id: str
    code: str
    message: str
    param: str | None = None

    def row(self) -> Json:
        """Return the fault as a row of the batch's list of errors."""
        return {"code": self.code, "line": self.number or None, "message": self.message, "param": self.param}

    def line(self) -> str:
        """Return the fault as a line of the file of errors."""
        error = {"code": self.code, "message": self.message, "line": self.number}
        return json.dumps({"id": None, "custom_id": self.custom_id, "response": None, "error": error})


@dataclass(frozen=True)
class LineAnswer:
    """The answer to a line; ``model`` and ``usage`` are billed, if set."""

    status: int
    body: Json
    model: str | None = None
    usage: Json | None = None


def iterate_lines(lines: Iterable[bytes], endpoint: str | None) -> Iterator[BatchLine | LineFault]:
    """Yield each line as a request or as a fault; blank lines are skipped."""
    ids: set[str] = set()
    for number, text in enumerate(lines, 1):
        if text.strip():
            result = _parse_line(number, text, endpoint)
            if isinstance(result, BatchLine) and result.custom_id in ids:
                result = LineFault(number, result.custom_id, "duplicate_custom_id", "Another line has this custom_id")
            ids.add(result.custom_id)
            yield result
    if not ids:
        yield LineFault(0, "", "empty_file", "The file has no lines: write one JSON object on each line")
    elif len(ids) > MOST_LINES:
        yield LineFault(0, "", "too_many_lines", f"The file has more than {MOST_LINES} lines: split the file")


def _parse_line(number: int, text: bytes, endpoint: str | None) -> BatchLine | LineFault:
    try:
        row = from_json(text.removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError:
        return LineFault(number, f"line-{number}", "invalid_json_line", "This line is not JSON")
    if not isinstance(row, dict):
        return LineFault(number, f"line-{number}", "invalid_json_line", "This line isn't a JSON object")
    custom_id, url, body = row.get("custom_id"), endpoint or row.get("url"), row.get("body")
    is_named = isinstance(custom_id, str) and custom_id != ""
    name = str(custom_id) if is_named else f"line-{number}"
    checks = (
        (is_named, "custom_id", "must be a text that is unique in the file"),
        (row.get("method") == "POST", "method", "it must be POST"),
        (url in ENDPOINTS, "url", f"it must be {' or '.join(ENDPOINTS)}"),
        (isinstance(body, dict), "body", "must be the JSON object to send"),
    )
    for is_good, field, wish in checks:
        if not is_good:
            return LineFault(number, name, f"invalid_{field}", f"{field}: {wish}", field)
    return BatchLine(number, name, str(url), row["body"])


async def answer_line(line: BatchLine, models: Models, model: str | None) -> LineAnswer:
    """Answer a line like its endpoint; ``model`` overrides the model in the body."""
    body = {**line.body, **({"model": model} if model else {})}
    try:
        return await (_answer_chat(body, models) if line.url == CHAT else _answer_embeddings(body, models))
    except ValidationError as error:
        return build_refusal_answer(Refusal(400, explain(error)))
    except Refusal as refusal:
        return build_refusal_answer(refusal)


def build_refusal_answer(refusal: Refusal) -> LineAnswer:
    """Return a refusal as the answer to a line."""
    return LineAnswer(refusal.status, refusal.body)


def build_unpaid_answer(problem: HTTPException) -> LineAnswer:
    """Return that nothing is left to pay a line."""
    return build_refusal_answer(Refusal(problem.status_code, problem.detail))


async def _answer_chat(body: Json, models: Models) -> LineAnswer:
    request: ChatCompletionRequest = _CHAT_REQUEST.model_validate(body)
    if request.stream:
        raise Refusal(400, "stream: a batch can't stream. Leave it out.", "stream")
    chosen = await models.choose_chat_model(request.model)
    completion = await chosen.complete(request)
    return LineAnswer(200, completion, chosen.id, completion["usage"])


async def _answer_embeddings(body: Json, models: Models) -> LineAnswer:
    chosen, vectors = await models.embed(EmbeddingRequest.model_validate(body))
    return LineAnswer(200, vectors, chosen.id, vectors["usage"])


def format_line(row: Json) -> str:
    """Return an answered line as a line of the file of answers, or of errors."""
    body = json.loads(row["answer"])
    problem = body.get("error") if row["status"] != 200 else None
    request_id = f"batch_req_{row['batch'].removeprefix('batch_')}_{row['line']}"
    return json.dumps(
        {
            "id": request_id,
            "custom_id": row["custom_id"],
            "response": {"status_code": row["status"], "request_id": request_id, "body": body},
            "error": problem and {"code": problem["type"], "message": problem["message"]},
        }
    )
