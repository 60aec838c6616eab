"""``%lk_models`` and ``%%lk_chat``: list models and chat with a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.errors import UsageError
from lk_jupyter.inference.catalogue import ModelCatalogue, ModelOffer, per_million, read_catalogue, suggest_models
from lk_jupyter.inference.chat_target import Answerer, find_answerer
from lk_jupyter.inference.conversation import Coming, Talk
from lk_jupyter.inference.prompt import Content, build_prompt
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.chat import ChatView
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.options.inference import ChatOptions, ModelsOptions
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.session import Session, current

_FIGURES = frozenset({"Prompt", "Cached", "Answer", "Context"})

#: Seconds after which the view is looked at again while nothing comes.
_STEP = 0.1

_talks: WeakKeyDictionary[InteractiveShell, Talk] = WeakKeyDictionary()


@magic(ModelsOptions)
def lk_models(options: ModelsOptions, shell: InteractiveShell) -> None:
    """List models with their price per million tokens, in credits, and their concurrency limit.

    Examples::

        %lk_models
        %lk_models qwen
        %lk_models --save models
        %lk_models --at iris
    """
    if options.at:
        display(_list_client_ids(current().client, options))
        return
    offers = read_catalogue(current())
    text = (options.text or "").lower()
    chosen = ModelCatalogue(tuple(offer for offer in offers if text in offer.id.lower()))
    if options.save:
        shell.user_ns[options.save] = chosen.df
    note = (
        ""
        if chosen
        else f"No model id contains '{options.text}'. {suggest_models(text, [offer.id for offer in offers])}"
    )
    display(models_table(chosen, note))


def _list_client_ids(client: Client, options: ModelsOptions) -> Table:
    """List the ids that the clients of ``lk_jupyter.openai()`` and ``.anthropic()`` see."""
    read: dict[str, Callable[[], Any]] = {
        "openai": client.openai.models,
        "iris": client.iris.models,
        "anthropic": client.iris.anthropic_models,
    }
    ids = [model.id for model in read[options.at or "openai"]() if (options.text or "").lower() in model.id.lower()]
    note = "" if ids else "No deployments. Create one: %lk_deploy MODEL" if options.at == "iris" else "No models."
    return Table((f"Model id at {options.at}",), [(name,) for name in ids], note=note)


@magic(ChatOptions)
def lk_chat(options: ChatOptions, shell: InteractiveShell, cell: str) -> None:
    """Chat with a model; the answer streams below the cell, with its speed and cost.

    In the cell, {name} is replaced with the value of this variable. The next cell continues the conversation; --new
    starts a new conversation. An interrupt stops the answer and keeps the text so far.

    Examples::

        %%lk_chat moonshotai/kimi-k3
        %%lk_chat --new --system "Answer in one sentence." --save answer
        %%lk_chat qwen/qwen3-vl --image plot.png
    """
    session, talk = current(), _talks.setdefault(shell, Talk())
    if options.new:
        talk.forget()
    who = _choose_answerer(session, options.model or talk.model)
    content = build_prompt(cell, options.image, shell.user_ns)
    permit_text(_join_text(content, options.system), "The prompt", ask, allowed=options.allow_secrets)
    talk.model, talk.system = who.name, options.system or talk.system
    _stream_answer(who, talk, content, options, shell)


def models_table(models: ModelCatalogue, note: str = "") -> Table:
    """Show models with their prices."""
    columns = ("Model", "For", "Prompt", "Cached", "Answer", "Context")
    prices = "Prices in credits per million tokens." if models else ""
    return Table(
        columns, [_build_model_row(offer) for offer in models], "\n".join(filter(None, [prices, note])), _FIGURES
    )


def _build_model_row(offer: ModelOffer) -> tuple[str, ...]:
    prices = (per_million(price) for price in (offer.prices.prompt, offer.prices.cached, offer.prices.completion))
    context = "unknown" if offer.context is None else f"{offer.context:,}"
    return (offer.id, offer.kind, *("" if price is None else f"{price:,.2f}" for price in prices), context)


def _choose_answerer(session: Session, name: str | None) -> Answerer:
    if name is None:
        models = [offer.id for offer in read_catalogue(session) if offer.kind == "chat"]
        raise UsageError(f"Name a model: %%lk_chat MODEL. {suggest_models('', models)} All models: %lk_models")
    return find_answerer(session, name)


def _join_text(content: Content, system: str | None) -> str:
    text = content if isinstance(content, str) else "".join(part.text or "" for part in content)
    return f"{text}\n{system}" if system else text


def _stream_answer(who: Answerer, talk: Talk, content: Content, options: ChatOptions, shell: InteractiveShell) -> None:
    """Send the question, show the answer while it grows, and keep the text, complete or not."""
    request = talk.parameters_for(
        content,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        reasoning_effort=options.effort,
    )
    view, state = ChatView(shell, who), "failed"
    view.begin()
    coming = Coming(who, request)
    try:
        with true_interrupts():
            for answer in coming.steps(_STEP):
                view.show(answer)
        state = "answered"
    except KeyboardInterrupt:
        state = "stopped"
        raise build_interrupt("interrupted; the partial answer is kept.") from None
    finally:
        coming.close()
        view.end(coming.answer, state)
        if coming.answer.text:
            talk.keep(content, coming.answer)
        if options.save and (coming.answer.text or state == "answered"):
            shell.user_ns[options.save] = coming.answer
