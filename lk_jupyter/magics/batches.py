"""``%lk_batch``: a question about every row of a column."""

from __future__ import annotations

import time
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import LkError
from lk_jupyter.inference.batch import Estimate, Job, Progress, Result, Work
from lk_jupyter.inference.batch_file import opened
from lk_jupyter.inference.catalogue import catalogue
from lk_jupyter.inference.options import BatchOptions
from lk_jupyter.inference.rows import Column, column
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._bars import Bar, Rows
from lk_jupyter.magics._interrupt import interrupt
from lk_jupyter.magics._line import Line, Note, Updated
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics.run import check_name
from lk_jupyter.runs._tables import pandas
from lk_jupyter.runs.cost import credits_label, duration_label
from lk_jupyter.runs.guard import permit_text
from lk_jupyter.runs.session import current

_KNOWN = "Asked before: nothing was asked or billed now. --again asks anew."


@magic(BatchOptions)
def lk_batch(options: BatchOptions, shell: InteractiveShell) -> Any:
    """Ask a model about every row of a column, as one batch, and give the answers by row as a DataFrame.

    It tells what that may cost, and asks. An interrupt ends the waiting; the batch goes on. Run the same line again,
    in a new kernel too, and it goes on from there: no row is asked again that has an answer.

    Examples::

        %lk_batch df.review --model moonshotai/kimi-k3 --prompt "Is this kind? Yes or no: {text}" --save answers
        %lk_batch df.review --model moonshotai/kimi-k3 --max-tokens 50 --plan
        %lk_batch df.review --model moonshotai/kimi-k3 --cancel
    """
    check_name(options.save)
    if not (options.plan or options.cancel):
        pandas()  # where it is missing, that is told before anything is paid
    session, rows = current(), column(options.column, shell.user_ns)
    job = _job(options, catalogue(session).find(options.model, "chat"), rows)
    with opened(job.key) as file:
        if options.again and not (options.plan or options.cancel):
            file.forget()
        work = Work(session, job, file, retries=options.retries)
        if options.cancel:
            display(Note(f"{work.cancel():,} rows were on their way; the batch is cancelled."))
            return None
        if file.is_new() and not _agreed(job, options):
            return None
        result = _followed(work, job, shell)
    return _given(rows, result, options, shell)


def _job(options: BatchOptions, offer: Any, rows: Column) -> Job:
    wished = {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "reasoning_effort": options.effort,
    }
    parameters = {name: value for name, value in wished.items() if value is not None}
    return Job(offer, rows.prompts(options.prompt), options.system, parameters)


def _agreed(job: Job, options: BatchOptions) -> bool:
    """Tell the price, and ask whether to start."""
    estimate = job.estimate(range(len(job.prompts)))
    display(Line("plan", _price(estimate), _unbounded(job, estimate)))
    if options.plan:
        return False
    permit_text("\n".join([*job.prompts, job.system or ""]), "The batch", ask, allowed=options.allow_secrets)
    if options.yes or ask("Start the batch? [y/N] "):
        return True
    display(Note("Nothing was sent. --yes starts without asking."))
    return False


def _price(estimate: Estimate) -> list[str]:
    answers = [f"answers at most {credits_label(estimate.answers)}"] if estimate.answers is not None else []
    tokens = f"about {estimate.prompt_tokens:,} tokens of prompts"
    return [f"{estimate.rows:,} rows", f"{tokens}, {credits_label(estimate.prompts)}", *answers]


def _unbounded(job: Job, estimate: Estimate) -> str:
    if estimate.answers is not None or job.offer.prices.completion is None:
        return ""
    thousand = 1000 * len(job.prompts) * job.offer.prices.completion
    return (
        f"For each 1,000 tokens that an answer has on average, the answers add {credits_label(thousand)}. "
        "--max-tokens bounds it."
    )


def _followed(work: Work, job: Job, shell: InteractiveShell) -> Result:
    """Bring a batch to its end in the output of the cell."""
    output, began, is_known = Updated(shell), time.monotonic(), work.is_done()
    try:
        with true_interrupts():
            for progress in work.steps():
                output.show(Rows([_bar(progress, job.offer.id)]))
    except KeyboardInterrupt:
        output.settle(Line("left", [job.offer.id, "the batch goes on"]))
        raise interrupt(
            "the waiting was ended; the batch goes on. The same line follows it again, with --cancel it stops."
        ) from None
    except LkError:
        output.settle(Line("failed", [job.offer.id]))
        raise
    result = work.result()
    line = _receipt(result, job, time.monotonic() - began)
    if is_known:
        line.remark = "\n".join(filter(None, [_KNOWN, line.remark]))
    output.show(line, now=True)
    return result


def _bar(progress: Progress, label: str) -> Bar:
    done = progress.answered + progress.failed
    facts = [f"{progress.answered:,} of {progress.total:,} rows", progress.state.replace("_", " ")]
    facts += [f"{progress.failed:,} failed"] if progress.failed else []
    facts += [f"{progress.again:,} asked again"] if progress.again else []
    return Bar(label, done, progress.total, f"{label} {progress.share:.0%} | {' · '.join(facts)}")


def _receipt(result: Result, job: Job, seconds: float) -> Line:
    failed = len(result.failures)
    facts = [
        job.offer.id,
        f"{len(result.answers):,} of {len(job.prompts):,} rows answered",
        duration_label(seconds),
        credits_label(result.cost) if result.cost is not None else "cost not known",
    ]
    line = Line("failed" if failed else "completed", facts, "\n".join(result.reasons()))
    line.mark = "✓" if not failed else "✗"
    line.metadata = {
        "lk_jupyter": {
            "model": job.offer.id,
            "answered": len(result.answers),
            "failed": failed,
            "cost": None if result.cost is None else f"{result.cost:f}",
        }
    }
    return line


def _given(rows: Column, result: Result, options: BatchOptions, shell: InteractiveShell) -> Any:
    """Return the answers by row, or set the variable that is to have them."""
    numbers = range(len(rows))
    answers = [answer.text if (answer := result.answers.get(row)) else None for row in numbers]
    errors = [failure.message if (failure := result.failures.get(row)) else "" for row in numbers]
    frame = rows.joined({"answer": answers, "error": errors})
    if options.save is None:
        return frame
    shell.user_ns[options.save] = frame
    return None
