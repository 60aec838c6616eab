"""``%lk_batch``: send every row of a column to a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.connection.budget import CostRequest, refuse_over_budget
from lk_jupyter.connection.preconditions import require_preconditions, require_records
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.inference.batch import BatchProgress, BatchResult, Estimate, Job, Work
from lk_jupyter.inference.batch_file import LocalBatchFile, open_batch_file
from lk_jupyter.inference.catalogue import read_catalogue
from lk_jupyter.inference.rows import Column, read_column
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, Note, StatusLine
from lk_jupyter.options.inference import BatchOptions
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.session import current
from lk_jupyter.text.pandas import import_pandas
from lk_jupyter.text.units import count_label, credits_label, duration_label
from lk_jupyter.views.bars import Bar, Rows
from lk_jupyter.views.table import show_as_grid

_ALREADY_ANSWERED = "All rows have answers: nothing was sent or billed. Send the rows again: --again"


@magic(BatchOptions)
def lk_batch(options: BatchOptions, shell: InteractiveShell) -> Any:
    """Send every row of a column to a model as a batch, and return the answers as a DataFrame.

    The DataFrame has your rows and index, with the columns ``answer`` (str, null without an answer), ``error`` (str,
    empty without an error) and ``state`` (str: answered, refused or unknown).

    Shows the highest possible cost and prompts before the start. An interrupt stops waiting; the batch stays active. To
    continue, run the same line again, even in a new kernel. Rows with an answer aren't sent again. A row is unknown if
    its answer never arrived: the row may be billed, and only ``--resend`` sends the row again.

    Examples::

        %lk_batch df.review --model moonshotai/kimi-k3 --prompt "Is this kind? Yes or no: {text}" --save answers
        %lk_batch df.review --model moonshotai/kimi-k3 --max-tokens 50 --dry-run
        %lk_batch df.review --model moonshotai/kimi-k3 --cancel
    """
    if not (options.dry_run or options.cancel):
        import_pandas()  # fail before any payment if pandas is missing
    session, rows = current(), read_column(options.column, shell.user_ns)
    job = _build_job(options, read_catalogue(session).find(options.model, "chat"), rows)
    require_records(session)  # the answers are stored next to the records
    with open_batch_file(job.key) as file:
        work = Work(session, job, file, retries=options.retries)
        if options.cancel:
            display(Note(f"Cancelled the batch; in progress: {count_label(work.cancel(), 'row')}."))
            return None
        if not _confirm(work, job, file, options):
            return None
        result = _follow_batch(work, job, shell)
    return _deliver_answers(rows, result, options, shell)


def _build_job(options: BatchOptions, offer: Any, rows: Column) -> Job:
    wished = {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "reasoning_effort": options.effort,
    }
    parameters = {name: value for name, value in wished.items() if value is not None}
    return Job(offer, rows.prompts(options.prompt), options.system, parameters)


def _confirm(work: Work, job: Job, file: LocalBatchFile, options: BatchOptions) -> bool:
    """Show the price of rows that may be paid, and return whether the user agrees to send them."""
    every_row = range(len(job.prompts))
    if options.again or file.is_new():
        if work.goes_on:
            raise UsageError(
                "--again would pay the rows of an active batch twice. Nothing was sent. Cancel the batch: --cancel. "
                "If the batch can't be found: --resend"
            )
        if not _confirm_rows(job, every_row, options, "Start the batch?"):
            return False
        if options.again:
            file.forget()
        return True
    if options.dry_run:
        unknown = work.result().unknown_rows() if options.resend else []
        return _confirm_rows(job, sorted({*work.missing(), *unknown}), options, "")
    if options.resend and (unknown := work.find_unknown_rows()):
        question = f"Send {count_label(len(unknown), 'row')} again? They may be billed already."
        if not _confirm_rows(job, unknown, options, question):
            return False
        work.resend(unknown)
    return True


def _confirm_rows(job: Job, rows: Sequence[int], options: BatchOptions, question: str) -> bool:
    """Show the price of rows, and return whether the user agrees to send them."""
    estimate = job.estimate(rows)
    estimated = sum((cost for cost in (estimate.prompts, estimate.answers) if cost is not None), Decimal(0))
    short = map(str, low_balance_notices(current(), estimated, "this batch", limits=False))
    display(
        StatusLine(
            "plan", _format_price(estimate), "\n".join(filter(None, [_warn_without_limit(job, estimate), *short]))
        )
    )
    if options.dry_run:
        return False
    require_preconditions(current(), "batch")
    unpriced = f"{job.offer.id} has no published price."
    refuse_over_budget(current(), CostRequest("this batch", job.highest_cost(rows), unpriced, saves="--max-tokens N"))
    permit_text("\n".join([*job.prompts, job.system or ""]), "The batch", ask, allowed=options.allow_secrets)
    if options.yes or ask(f"{question} [y/N] "):
        return True
    display(Note("Nothing was sent. To skip the question: --yes"))
    return False


def _format_price(estimate: Estimate) -> list[str]:
    answers = [f"answers at most {credits_label(estimate.answers)}"] if estimate.answers is not None else []
    tokens = f"about {estimate.prompt_tokens:,} tokens of prompts"
    return [count_label(estimate.rows, "row"), f"{tokens}, {credits_label(estimate.prompts)}", *answers]


def _warn_without_limit(job: Job, estimate: Estimate) -> str:
    if estimate.answers is not None or job.offer.prices.completion is None:
        return ""
    thousand = 1000 * len(job.prompts) * job.offer.prices.completion
    return (
        f"For each 1,000 tokens in the average answer, the batch costs {credits_label(thousand)} more. Set a limit: "
        "--max-tokens"
    )


def _follow_batch(work: Work, job: Job, shell: InteractiveShell) -> BatchResult:
    """Follow a batch to its end in the output of the cell, and return its result."""
    output, began, was_done = LiveOutput(shell), time.monotonic(), work.is_done()
    try:
        with true_interrupts():
            for progress in work.steps():
                output.show(Rows([_build_bar(progress, job.offer.id)]))
    except KeyboardInterrupt:
        if not work.goes_on:
            output.settle(StatusLine("stopped", [job.offer.id]))
            raise build_interrupt(
                "stopped; answers that arrived are kept. Run the line again to send the other rows."
            ) from None
        output.settle(StatusLine("left", [job.offer.id, "the batch is still active"]))
        raise build_interrupt(
            "stopped waiting; the batch is still active. To follow the batch, run the line again. To stop the "
            "batch, add --cancel."
        ) from None
    except LkError:
        output.settle(StatusLine("failed", [job.offer.id]))
        raise
    result = work.result()
    line = _build_receipt(result, job, time.monotonic() - began)
    if was_done:
        line.notice = "\n".join(filter(None, [_ALREADY_ANSWERED, line.notice]))
    output.show(line, now=True)
    return result


def _build_bar(progress: BatchProgress, label: str) -> Bar:
    done = progress.answered + progress.failed
    facts = [f"{progress.answered:,} of {progress.total:,} rows", progress.state.replace("_", " ")]
    facts += [f"{progress.failed:,} failed"] if progress.failed else []
    facts += [f"{progress.again:,} asked again"] if progress.again else []
    return Bar(label, done, progress.total, f"{label} {progress.share:.0%} | {' · '.join(facts)}")


def _build_receipt(result: BatchResult, job: Job, seconds: float) -> StatusLine:
    failed, estimate = len(result.failures), job.estimate(range(len(job.prompts)))
    quote = None if estimate.prompts is None or estimate.answers is None else estimate.prompts + estimate.answers
    bill = Bill(None, result.cost, "billed", quote)
    facts = [
        job.offer.id,
        f"{len(result.answers):,} of {len(job.prompts):,} rows answered",
        duration_label(seconds),
        bill.label or "cost unknown",
        bill.excess_label,
    ]
    line = StatusLine(
        "failed" if failed else "completed", facts, "\n".join([*result.reasons(), *_explain_unknown(result, job)])
    )
    line.mark = "✓" if not failed else "✗"
    line.metadata = {
        "lk_jupyter": {
            "model": job.offer.id,
            "answered": len(result.answers),
            "failed": failed,
            "cost": None if result.cost is None else f"{result.cost:f}",
            **({"quote": f"{quote:f}"} if bill.excess_label else {}),
        }
    }
    return line


def _explain_unknown(result: BatchResult, job: Job) -> list[str]:
    """Return what the unknown rows may cost, and how to send them again."""
    unknown = result.unknown_rows()
    if not unknown:
        return []
    rows = "1 row is" if len(unknown) == 1 else f"{len(unknown):,} rows are"
    most = job.highest_cost(unknown) if job.parameters.get("max_tokens") else None
    price = "may be billed" if most is None else f"may be billed with at most {credits_label(most)}"
    return [f"{rows} unknown and {price}. Nothing was sent again. Send again, for the same price: --resend"]


def _deliver_answers(rows: Column, result: BatchResult, options: BatchOptions, shell: InteractiveShell) -> Any:
    """Return a DataFrame with the answers, or set the variable of ``--save``."""
    numbers = range(len(rows))
    answers = [answer.text if (answer := result.answers.get(row)) else None for row in numbers]
    errors = [failure.message if (failure := result.failures.get(row)) else "" for row in numbers]
    frame = rows.joined({"answer": answers, "error": errors, "state": [result.state(row) for row in numbers]})
    if options.save is None:
        return show_as_grid(frame)
    shell.user_ns[options.save] = frame
    return None
