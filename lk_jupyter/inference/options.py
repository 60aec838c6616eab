"""What the magics of models may be asked for, in the form of lk_jupyter.options."""

from __future__ import annotations

from typing import Any, Literal

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
    at: Literal["openai", "iris", "anthropic"] | None = Field(
        None,
        description="List what stock clients find in place of that: openai and anthropic, shared models; iris, your "
        "deployments.",
        json_schema_extra=_flag(metavar="CLIENT"),
    )


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


def _column() -> Any:
    return Field(
        description="Texts by row: df.column, df[column], a Series or a list.",
        json_schema_extra=_flag(metavar="COLUMN", positional=True, completer="variables"),
    )


def _named_model() -> Any:
    return Field(description="Model by its id.", json_schema_extra=_flag("-m", completer="models"))


class BatchOptions(Options):
    """Options of ``%lk_batch``."""

    column: str = _column()
    model: str = _named_model()
    prompt: str | None = Field(
        None,
        description="What to ask for each row, with {text} for its text and {other} for what stands in another column.",
        json_schema_extra=_flag("-p", metavar="TEXT"),
    )
    system: str | None = Field(None, description="Instructions for every row.", json_schema_extra=_flag("-s"))
    max_tokens: int | None = _max_tokens("each answer; it bounds the cost")
    temperature: float | None = _temperature()
    effort: str | None = Field(None, description="How long the model is to think, in the words that it knows.")
    retries: int = Field(
        3, ge=0, le=10, description="How often a row is asked again that failed.", json_schema_extra=_flag(metavar="N")
    )
    save: str | None = _save("the DataFrame with the answers by row")
    plan: bool = Field(False, description="Show what it may cost; send nothing.")  # noqa: FBT003
    yes: bool = Field(False, description="Start without asking.", json_schema_extra=_flag("-y"))  # noqa: FBT003
    again: bool = Field(False, description="Ask all rows anew, though they were answered before.")  # noqa: FBT003
    cancel: bool = Field(False, description="Cancel what goes on of this batch; answers that came are kept.")  # noqa: FBT003
    allow_secrets: bool = _allow_secrets()


class EmbedOptions(Options):
    """Options of ``%lk_embed``."""

    column: str = _column()
    model: str = _named_model()
    save: str | None = _save("the vectors as an array, a row for each text")
    allow_secrets: bool = _allow_secrets()


class DeployOptions(Options):
    """Options of ``%lk_deploy``."""

    model: str = Field(
        description="Model to deploy, by its id.", json_schema_extra=_flag(positional=True, completer="deployable")
    )
    gpu: str | None = Field(
        None, description="Card of each replica. Default: the model's.", json_schema_extra=_flag(completer="gpus")
    )
    count: int | None = Field(
        None, ge=1, description="GPUs of each replica. Default: the model's.", json_schema_extra=_flag(metavar="N")
    )
    replicas: str = Field("1", description="How many replicas, or the least and the most: 1-3.")
    plan: bool = Field(False, description="Show what it costs; start nothing.")  # noqa: FBT003
    yes: bool = Field(False, description="Start without asking.", json_schema_extra=_flag("-y"))  # noqa: FBT003
    no_wait: bool = Field(False, description="Return at once; do not wait until a replica serves.")  # noqa: FBT003
    save: str | None = _save("the id of the deployment")


class DeploymentsOptions(Options):
    """Options of ``%lk_deployments``."""

    deployment: str | None = Field(
        None,
        description="One to look at with its replicas: its id, the beginning of it, or its model.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="deployments"),
    )
    all: bool = Field(False, description="List those that were stopped too.", json_schema_extra=_flag("-a"))  # noqa: FBT003


class UndeployOptions(Options):
    """Options of ``%lk_undeploy``."""

    deployments: list[str] = Field(
        description="Ids of deployments, the beginnings of them, or their models.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="deployments"),
    )
