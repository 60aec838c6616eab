"""``%lk_embed``: a column of texts as vectors."""

from __future__ import annotations

import time
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.errors import LkError
from lk_jupyter.inference.catalogue import catalogue
from lk_jupyter.inference.embed import Vectors, embed
from lk_jupyter.inference.rows import column
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.live import LiveOutput, StatusLine
from lk_jupyter.magics._output.rich import Bar, Rows
from lk_jupyter.options.inference import EmbedOptions
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.session import current
from lk_jupyter.text.pandas import numpy
from lk_jupyter.text.units import credits_label, duration_label


@magic(EmbedOptions)
def lk_embed(options: EmbedOptions, shell: InteractiveShell) -> Any:
    """Turn a column of texts into vectors: a float32 array with one row per text.

    Examples::

        %lk_embed df.review --model qwen/qwen3-embedding-8b --save vectors
        %lk_models embed
    """
    session, rows = current(), column(options.column, shell.user_ns)
    offer, library = catalogue(session).find(options.model, "embedding"), numpy()
    permit_text("\n".join(rows.texts), options.column, ask, allowed=options.allow_secrets)
    output, began, found = LiveOutput(shell), time.monotonic(), Vectors(offer)
    try:
        with true_interrupts():
            for found in embed(session, offer, rows.texts):
                output.show(Rows([_bar(found, len(rows))]))
    except (KeyboardInterrupt, LkError) as problem:
        state = "cancelled" if isinstance(problem, KeyboardInterrupt) else "failed"
        output.show(
            StatusLine(state, [offer.id, f"{len(found.rows):,} of {len(rows):,} texts", _cost(found)]), now=True
        )
        raise
    matrix = library.array(found.rows, dtype="float32")
    output.show(_receipt(found, matrix, time.monotonic() - began), now=True)
    if options.save is None:
        return matrix
    shell.user_ns[options.save] = matrix
    return None


def _bar(found: Vectors, total: int) -> Bar:
    label, done = found.offer.id, len(found.rows)
    return Bar(label, done, total, f"{label} {done / total:.0%} | {done:,} of {total:,} texts")


def _receipt(found: Vectors, matrix: Any, seconds: float) -> StatusLine:
    facts = [
        found.offer.id,
        f"{len(found.rows):,} texts",
        *([] if found.tokens is None else [f"{found.tokens:,} tokens"]),
        duration_label(seconds),
    ]
    shape = f"array of float32, {matrix.shape[0]:,} by {matrix.shape[1]:,}"
    line = StatusLine("completed", [*facts, _cost(found), shape])
    cost = None if found.cost is None else f"{found.cost:f}"
    line.metadata = {"lk_jupyter": {"model": found.offer.id, "tokens": found.tokens, "cost": cost}}
    return line


def _cost(found: Vectors) -> str:
    return "cost unknown" if found.cost is None else credits_label(found.cost)
