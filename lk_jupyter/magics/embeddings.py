"""``%lk_embed``: a column of texts as vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import LkError
from lk_jupyter.inference.catalogue import ModelOffer, read_catalogue
from lk_jupyter.inference.embed import Vectors, embed, estimate_cost
from lk_jupyter.inference.rows import read_column
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.live import LiveOutput, StatusLine
from lk_jupyter.options.inference import EmbedOptions
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.session import current
from lk_jupyter.text.pandas import import_numpy
from lk_jupyter.text.units import count_label, credits_label, duration_label
from lk_jupyter.views.bars import Bar, Rows


@magic(EmbedOptions)
def lk_embed(options: EmbedOptions, shell: InteractiveShell) -> Any:
    """Turn a column of texts into vectors: a float32 array with a row for each text.

    Examples::

        %lk_embed df.review --model qwen/qwen3-embedding-8b --save vectors
        %lk_embed df.review --model qwen/qwen3-embedding-8b --dry-run
        %lk_models embed
    """
    session, rows = current(), read_column(options.column, shell.user_ns)
    offer = read_catalogue(session).find(options.model, "embedding")
    if options.dry_run:
        display(_build_plan_line(offer, rows.texts))
        return None
    library = import_numpy()
    permit_text("\n".join(rows.texts), options.column, ask, allowed=options.allow_secrets)
    output, began, vectors = LiveOutput(shell), time.monotonic(), Vectors(offer)
    try:
        with true_interrupts():
            for vectors in embed(session, offer, rows.texts):
                output.show(Rows([_build_bar(vectors, len(rows))]))
    except (KeyboardInterrupt, LkError) as problem:
        state = "cancelled" if isinstance(problem, KeyboardInterrupt) else "failed"
        output.show(
            StatusLine(state, [offer.id, f"{len(vectors.rows):,} of {len(rows):,} texts", _format_cost(vectors)]),
            now=True,
        )
        raise
    matrix = library.array(vectors.rows, dtype="float32")
    output.show(_build_receipt(vectors, matrix, time.monotonic() - began), now=True)
    if options.save is None:
        return matrix
    shell.user_ns[options.save] = matrix
    return None


def _build_plan_line(offer: ModelOffer, texts: Sequence[str]) -> StatusLine:
    estimate = estimate_cost(offer, texts)
    estimated, most = credits_label(estimate.cost), credits_label(estimate.most)
    cost = estimated if estimated == most else f"{estimated}, at most {most}"
    facts = [offer.id, count_label(len(texts), "text"), f"about {estimate.tokens:,} tokens", cost]
    return StatusLine("plan", facts, "Nothing was sent.")


def _build_bar(vectors: Vectors, total: int) -> Bar:
    label, done = vectors.offer.id, len(vectors.rows)
    return Bar(label, done, total, f"{label} {done / total:.0%} | {done:,} of {total:,} texts")


def _build_receipt(vectors: Vectors, matrix: Any, seconds: float) -> StatusLine:
    facts = [
        vectors.offer.id,
        count_label(len(vectors.rows), "text"),
        *([] if vectors.tokens is None else [f"{vectors.tokens:,} tokens"]),
        duration_label(seconds),
    ]
    shape = f"array of float32, {matrix.shape[0]:,} by {matrix.shape[1]:,}"
    line = StatusLine("completed", [*facts, _format_cost(vectors), shape])
    cost = None if vectors.cost is None else f"{vectors.cost:f}"
    line.metadata = {"lk_jupyter": {"model": vectors.offer.id, "tokens": vectors.tokens, "cost": cost}}
    return line


def _format_cost(vectors: Vectors) -> str:
    return "cost unknown" if vectors.cost is None else credits_label(vectors.cost)
