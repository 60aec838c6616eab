"""Options of the magics for models."""

from __future__ import annotations

from typing import Any, Literal

from lk_jupyter.api.serverless import MAX_TOKENS
from lk_jupyter.api.vms import SHORTEST_LEASE
from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options


def _declare_model() -> Any:
    return word(
        "Id of a model or of your deployment. For a deployment, the first characters are enough. Default: the last "
        "model used in this notebook.",
        None,
        completer="models",
    )


def _declare_save(what: str) -> Any:
    return option(None, f"Variable for {what}.", metavar="VAR")


def _declare_max_tokens(what: str) -> Any:
    return option(None, f"Maximum number of tokens, including reasoning, of {what}.", metavar="N", ge=1, le=MAX_TOKENS)


def _declare_temperature() -> Any:
    return option(None, "Randomness of an answer, from 0 to 2.", ge=0, le=2)


def _declare_allow_secrets() -> Any:
    return switch("Send the text even if it seems to contain a secret.")


class ModelsOptions(Options):
    """Options of ``%lk_models``."""

    text: str | None = word("List only models whose id contains this text.", None)
    save: str | None = _declare_save("the list as a DataFrame")
    at: Literal["openai", "iris", "anthropic"] | None = option(
        None,
        "List the model ids for another client. openai or anthropic lists shared models for this client; iris "
        "lists your deployments.",
        metavar="CLIENT",
    )


class ChatOptions(Options):
    """Options of ``%%lk_chat``."""

    model: str | None = _declare_model()
    system: str | None = option(None, "Instructions for the conversation, until you set new instructions.", "-s")
    image: list[str] = option(
        [],
        "Images for the model: files, URLs, or variables with a figure or an image.",
        "-i",
        metavar="WHAT",
        completer="paths",
    )
    new: bool = switch("Start a new conversation.")
    save: str | None = _declare_save("the answer; str() gives its text")
    max_tokens: int | None = _declare_max_tokens("the answer")
    temperature: float | None = _declare_temperature()
    effort: str | None = option(None, "Reasoning effort of the model, such as low or high.")
    allow_secrets: bool = _declare_allow_secrets()


def _declare_column() -> Any:
    return word(
        "Texts, one per row: df.column, df[column], a Series or a list.", metavar="COLUMN", completer="variables"
    )


def _declare_named_model() -> Any:
    return option(..., "Model id.", "-m", completer="models")


class BatchOptions(Options):
    """Options of ``%lk_batch``."""

    column: str = _declare_column()
    model: str = _declare_named_model()
    prompt: str | None = option(
        None,
        "Prompt for each row. {text} is replaced by the text of the row, {NAME} by the value of the column NAME.",
        "-p",
        metavar="TEXT",
    )
    system: str | None = option(None, "Instructions for every row.", "-s")
    max_tokens: int | None = _declare_max_tokens("each answer, which limits the cost")
    temperature: float | None = _declare_temperature()
    effort: str | None = option(None, "Reasoning effort of the model, such as low or high.")
    retries: int = option(3, "Number of times that a refused row is sent again.", metavar="N", ge=0, le=10)
    save: str | None = _declare_save("the DataFrame with the answers by row")
    dry_run: bool = switch("Show the highest possible cost; send nothing.")
    yes: bool = switch("Start without asking.", "-y")
    again: bool = switch("Send all rows again, even answered rows.")
    resend: bool = switch("Send unknown rows again, after a question with the price; they may be billed twice.")
    cancel: bool = switch("Cancel this batch; answers that arrived are kept.")
    allow_secrets: bool = _declare_allow_secrets()


class EmbedOptions(Options):
    """Options of ``%lk_embed``."""

    column: str = _declare_column()
    model: str = _declare_named_model()
    save: str | None = _declare_save("the vectors, as an array with one row per text")
    dry_run: bool = switch("Show the estimated and the highest possible cost; send nothing.")
    allow_secrets: bool = _declare_allow_secrets()


class DeployOptions(Options):
    """Options of ``%lk_deploy``."""

    model: str = word("Model id.", completer="deployable")
    gpu: str | None = option(None, "GPU of each replica. Default: the GPU suggested for the model.", completer="gpus")
    count: int | None = option(
        None, "Number of GPUs of each replica. Default: the number suggested for the model.", metavar="N", ge=1
    )
    replicas: str = option("1", "Number of replicas, or a range from minimum to maximum, such as 1-3.")
    timeout: int | None = option(
        None,
        "Time after which the deployment is stopped, such as 2h. Default: 8h.",
        metavar="DURATION",
        ge=SHORTEST_LEASE,
    )
    dry_run: bool = switch("Show the cost; start nothing.")
    yes: bool = switch("Start without asking.", "-y")
    no_wait: bool = switch("Return immediately; don't wait until a replica is running.")
    save: str | None = _declare_save("the id of the deployment")


class DeploymentsOptions(Options):
    """Options of ``%lk_deployments``."""

    deployment: str | None = word(
        "Deployment to show with its replicas: an id, its first characters, or its model.",
        None,
        metavar="ID",
        completer="deployments",
    )
    all: bool = switch("List stopped deployments too.", "-a")


class UndeployOptions(Options):
    """Options of ``%lk_undeploy``."""

    deployments: list[str] = word(
        "Ids of deployments, their first characters, or their models.", metavar="ID", completer="deployments"
    )
