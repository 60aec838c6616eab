"""The chat and the object of a check that spends: an answer of a model, and the bucket."""

from __future__ import annotations

from decimal import Decimal

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api.serverless import Usage
from lk_jupyter.check.findings import Report
from lk_jupyter.config.assumptions import ROUTE, find_assumption
from lk_jupyter.errors import LkError
from lk_jupyter.inference.catalogue import ModelOffer, read_catalogue
from lk_jupyter.session import Session

#: Maximum tokens of the chat's answer and of its prompt.
ANSWER_TOKENS, _PROMPT_TOKENS = 8, 40

_ROUTER = "lyceum/router"
_QUESTION = [{"role": "user", "content": "Say hi."}]


def find_cheapest_model(session: Session) -> tuple[ModelOffer | None, Decimal]:
    """Return the cheapest chat model, and the maximum cost of the chat: a router may choose any model."""
    try:
        offers = [each for each in read_catalogue(session) if each.kind == "chat"]
    except LkError:
        return None, Decimal(0)
    usage = Usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=ANSWER_TOKENS)
    costs = {each.id: cost for each in offers if (cost := each.prices.cost(usage)) is not None}
    if not costs:
        return None, Decimal(0)
    cheapest = min(costs, key=lambda name: costs[name])
    return next(each for each in offers if each.id == cheapest), max(costs.values())


def probe_chat(report: Report, model: ModelOffer | None) -> None:
    """Request 8 tokens once: from the router, otherwise from the cheapest model."""
    if model is None:
        report.notes.append("No model has a published price, so no chat was started.")
        return
    assumption = find_assumption("router_prefix")
    for prefix in (assumption.default, *assumption.alternatives):
        if prefix.startswith("/") and _send_chat(report, prefix, _ROUTER).status == 200:
            report.set_assumption("router_prefix", prefix)
            return
    routed = report.probe("POST", f"{EXTERNAL}/serverless/route", {"input": "Say hi."})
    if routed.status == 200:
        report.set_assumption("router_prefix", ROUTE)
    else:
        report.add_difference(
            "POST /serverless/route",
            "a model",
            f"HTTP {routed.status}",
            "No router answers",
            "Name a model: %lk_models",
        )
    prefix = report.values.get("chat_prefix") or report.client.assumptions["chat_prefix"]
    answer = _send_chat(report, prefix, model.id)
    if answer.status != 200:
        words = f"HTTP {answer.status}: {str(answer.json)[:100]}"
        report.add_difference(
            "POST /serverless/chat/completions",
            "HTTP 200",
            words,
            "The chat was refused",
            "Shows the reason from the server.",
        )


def _send_chat(report: Report, prefix: str, model: str) -> RawAnswer:
    body = {"model": model, "messages": _QUESTION, "max_tokens": ANSWER_TOKENS}
    return report.probe("POST", f"{prefix}/chat/completions", body)


def probe_object(session: Session, report: Report, key: str, content: bytes) -> bool:
    """Store and read an object; return whether a run can see the object."""
    storage = session.storage
    try:
        with storage.open(key, "wb") as file:
            file.write(content)
        read = bytes(storage.get_bytes(key))
    except LkError as error:
        words = str(error).partition("\n")[0]
        report.add_difference(
            "POST /storage/credentials",
            "an object is stored and read",
            words,
            "The bucket can't be used",
            "Storage magics fail.",
        )
        return False
    if read != content:
        report.add_difference(
            "POST /storage/credentials",
            "the object that was stored",
            "another",
            "The bucket changes objects",
            "Nothing.",
        )
    return True
