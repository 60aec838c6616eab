"""Options of the magics for models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lk_jupyter.api.serverless import MAX_TOKENS
from lk_jupyter.options.runs import Options, flag_of


def _model() -> Any:
    return Field(
        None,
        description="Model id, or the id of a deployment of yours (its first characters are enough). Default: "
        "the last model used in this notebook.",
        json_schema_extra=flag_of(positional=True, completer="models"),
    )


def _save(what: str) -> Any:
    return Field(None, description=f"Variable for {what}.", json_schema_extra=flag_of(metavar="VAR"))


def _max_tokens(what: str) -> Any:
    return Field(
        None,
        ge=1,
        le=MAX_TOKENS,
        description=f"Maximum tokens of {what}, including reasoning.",
        json_schema_extra=flag_of(metavar="N"),
    )


def _temperature() -> Any:
    return Field(None, ge=0, le=2, description="Randomness of an answer, from 0 to 2.")


def _allow_secrets() -> Any:
    return Field(False, description="Send the text even if it seems to contain a secret.")  # noqa: FBT003


class ModelsOptions(Options):
    """Options of ``%lk_models``."""

    text: str | None = Field(
        None, description="List only models whose id contains this text.", json_schema_extra=flag_of(positional=True)
    )
    save: str | None = _save("the list as a DataFrame")
    at: Literal["openai", "iris", "anthropic"] | None = Field(
        None,
        description="List the ids that stock clients see: openai and anthropic for shared models, iris for "
        "your deployments.",
        json_schema_extra=flag_of(metavar="CLIENT"),
    )


class ChatOptions(Options):
    """Options of ``%%lk_chat``."""

    model: str | None = _model()
    system: str | None = Field(
        None,
        description="Instructions for the conversation, valid until you give others.",
        json_schema_extra=flag_of("-s"),
    )
    image: list[str] = Field(
        [],
        description="Images for the model: files, URLs, or variables that hold a figure or an image.",
        json_schema_extra=flag_of("-i", metavar="WHAT", completer="paths"),
    )
    new: bool = Field(False, description="Start a new conversation.")  # noqa: FBT003
    save: str | None = _save("the answer; str() gives its text")
    max_tokens: int | None = _max_tokens("the answer")
    temperature: float | None = _temperature()
    effort: str | None = Field(
        None, description="How much the model should think, in the words that the model accepts."
    )
    allow_secrets: bool = _allow_secrets()


def _column() -> Any:
    return Field(
        description="Texts, one per row: df.column, df[column], a Series or a list.",
        json_schema_extra=flag_of(metavar="COLUMN", positional=True, completer="variables"),
    )


def _named_model() -> Any:
    return Field(description="Model id.", json_schema_extra=flag_of("-m", completer="models"))


class BatchOptions(Options):
    """Options of ``%lk_batch``."""

    column: str = _column()
    model: str = _named_model()
    prompt: str | None = Field(
        None,
        description="Prompt for each row, with {text} for its text and {other} for the value of another column.",
        json_schema_extra=flag_of("-p", metavar="TEXT"),
    )
    system: str | None = Field(None, description="Instructions for every row.", json_schema_extra=flag_of("-s"))
    max_tokens: int | None = _max_tokens("each answer, which limits the cost")
    temperature: float | None = _temperature()
    effort: str | None = Field(
        None, description="How much the model should think, in the words that the model accepts."
    )
    retries: int = Field(
        3, ge=0, le=10, description="How often a failed row is asked again.", json_schema_extra=flag_of(metavar="N")
    )
    save: str | None = _save("the DataFrame with the answers by row")
    dry_run: bool = Field(False, description="Show the highest possible cost; send nothing.")  # noqa: FBT003
    yes: bool = Field(False, description="Start without asking.", json_schema_extra=flag_of("-y"))  # noqa: FBT003
    again: bool = Field(False, description="Ask all rows again, even answered ones.")  # noqa: FBT003
    cancel: bool = Field(False, description="Cancel this batch; answers that arrived are kept.")  # noqa: FBT003
    allow_secrets: bool = _allow_secrets()


class EmbedOptions(Options):
    """Options of ``%lk_embed``."""

    column: str = _column()
    model: str = _named_model()
    save: str | None = _save("the vectors, as an array with one row per text")
    allow_secrets: bool = _allow_secrets()


class DeployOptions(Options):
    """Options of ``%lk_deploy``."""

    model: str = Field(description="Model id.", json_schema_extra=flag_of(positional=True, completer="deployable"))
    gpu: str | None = Field(
        None, description="GPU of each replica. Default: the model's.", json_schema_extra=flag_of(completer="gpus")
    )
    count: int | None = Field(
        None, ge=1, description="GPUs of each replica. Default: the model's.", json_schema_extra=flag_of(metavar="N")
    )
    replicas: str = Field("1", description="Number of replicas, or minimum and maximum: 1-3.")
    dry_run: bool = Field(False, description="Show the cost; start nothing.")  # noqa: FBT003
    yes: bool = Field(False, description="Start without asking.", json_schema_extra=flag_of("-y"))  # noqa: FBT003
    no_wait: bool = Field(False, description="Return at once; don't wait until a replica serves.")  # noqa: FBT003
    save: str | None = _save("the id of the deployment")


class DeploymentsOptions(Options):
    """Options of ``%lk_deployments``."""

    deployment: str | None = Field(
        None,
        description="Deployment to show with its replicas: an id, its first characters, or its model.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="deployments"),
    )
    all: bool = Field(False, description="List stopped deployments too.", json_schema_extra=flag_of("-a"))  # noqa: FBT003


class UndeployOptions(Options):
    """Options of ``%lk_undeploy``."""

    deployments: list[str] = Field(
        description="Ids of deployments, their first characters, or their models.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="deployments"),
    )
