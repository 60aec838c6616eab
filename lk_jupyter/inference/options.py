"""What the magics of models may be asked for, in the form of lk_jupyter.options."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lk_jupyter.api.serverless import MAX_TOKENS
from lk_jupyter.options import Options, _flag


def _model() -> Any:
    return Field(
        None,
        description="Model by its id, or a deployment of yours by its id or the beginning of it. Default: the last one "
        "that this notebook talked to.",
        json_schema_extra=_flag(positional=True, completer="models"),
    )


def _save(what: str) -> Any:
    return Field(None, description=f"Variable that receives {what}.", json_schema_extra=_flag(metavar="VAR"))


def _max_tokens(what: str) -> Any:
    return Field(
        None,
        ge=1,
        le=MAX_TOKENS,
        description=f"Most tokens of {what}, reasoning included.",
        json_schema_extra=_flag(metavar="N"),
    )


def _temperature() -> Any:
    return Field(None, ge=0, le=2, description="How much chance there is in an answer, from 0 to 2.")


def _allow_secrets() -> Any:
    return Field(False, description="Send it though it holds what looks like a secret.")  # noqa: FBT003


class ModelsOptions(Options):
    """Options of ``%lk_models``."""

    text: str | None = Field(
        None, description="List the models whose id holds this.", json_schema_extra=_flag(positional=True)
    )
    save: str | None = _save("the list as a DataFrame")


class ChatOptions(Options):
    """Options of ``%%lk_chat``."""

    model: str | None = _model()
    system: str | None = Field(
        None, description="Instructions that go before the talk, until others are given.", json_schema_extra=_flag("-s")
    )
    image: list[str] = Field(
        [],
        description="Images to show the model: files, web addresses, or variables that hold a figure or an image.",
        json_schema_extra=_flag("-i", metavar="WHAT", completer="paths"),
    )
    new: bool = Field(False, description="Begin anew: forget what was said in this notebook before.")  # noqa: FBT003
    save: str | None = _save("the answer; str() of it is its text")
    max_tokens: int | None = _max_tokens("the answer")
    temperature: float | None = _temperature()
    effort: str | None = Field(None, description="How long the model is to think, in the words that it knows.")
    allow_secrets: bool = _allow_secrets()
