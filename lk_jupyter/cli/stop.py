"""``lk stop``: stop runs, relays, VMs and deployments, each until the cloud confirms its end."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.account.active import ActiveList, ActiveResource
from lk_jupyter.api.states import is_final
from lk_jupyter.cli.output import ACTIVE, DONE, UNKNOWN, CommandOutput, replace_magics
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.runs.run import Run
from lk_jupyter.session import Session, current
from lk_jupyter.stop import StopPlan, StopResult, cost_label, find_resource, plan_stop, stop_resources
from lk_jupyter.text.terminal import one_line, plain

if TYPE_CHECKING:
    from lk_jupyter.cli.parser import Arguments


def stop(arguments: Arguments, output: CommandOutput) -> int:
    """Stop what the arguments list, or everything that the account pays for by time."""
    options = arguments.options
    if options.all == bool(options.ids):
        raise UsageError("Give ids or --all. Nothing was stopped. List everything active: lk stop --all")
    session = current()
    return _stop_all(session, output, is_confirmed=options.yes) if options.all else _stop_some(session, options, output)


def _stop_all(session: Session, output: CommandOutput, *, is_confirmed: bool) -> int:
    """List everything that costs by time, prompt on a terminal, and stop it."""
    plan = plan_stop(session, session.active())
    _print_plan(plan, output)
    incomplete = UNKNOWN if plan.problems else ACTIVE if any(each.may_be_yours for each in plan.excluded) else DONE
    if not plan.resources:
        output.note("nothing", "Nothing to stop.", message="Nothing to stop.")
        return incomplete
    if not is_confirmed and not _ask(plan, output):
        raise UsageError("Nothing was stopped. Stop everything in this list without a question: lk stop --all --yes")
    return _stop_and_report(session, plan.resources, output) or incomplete


def _print_plan(plan: StopPlan, output: CommandOutput) -> None:
    for resource in plan.resources:
        print_resource(resource, output, is_stopped=True)
    for excluded in plan.excluded:
        print_resource(excluded.resource, output, is_stopped=False, reason=replace_magics(excluded.reason))
    rate = plan.rate
    output.emit("total", f"Cost per hour: {rate.label}", per_hour=rate.per_hour, complete=rate.complete)
    for problem in plan.problems:
        output.note("warning", problem, message=problem)


def print_resource(
    resource: ActiveResource, output: CommandOutput, *, is_stopped: bool | None = None, reason: str = ""
) -> None:
    """Print an active resource with its cost and its end; ``is_stopped`` is whether this command stops it."""
    cost = (
        cost_label(resource.per_hour) if resource.is_billed else f"{cost_label(resource.per_hour)} once it has started"
    )
    end = f"ends at {resource.end}" if resource.end else ""
    words = [resource.kind, resource.id, resource.name, resource.hardware, resource.state, cost, end]
    text = "  ".join(one_line(word) for word in words if word)
    output.emit(
        "active",
        f"{text}\n    Stays: {reason}" if reason else text,
        kind=resource.kind,
        id=resource.id,
        name=resource.name,
        hardware=resource.hardware,
        state=resource.state,
        per_hour=resource.per_hour,
        billed=resource.is_billed,
        run=resource.run_id or None,
        ends=resource.end or None,
        **({} if is_stopped is None else {"stops": is_stopped, "reason": reason or None}),
    )


def _ask(plan: StopPlan, output: CommandOutput) -> bool:
    """Prompt on a terminal; return False without a terminal."""
    if output.is_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    with output.pause_limit():
        print(plain(f"{plan.question} [y/N] "), end="", file=sys.stderr, flush=True)  # noqa: T201 (the question)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _stop_some(session: Session, options: Any, output: CommandOutput) -> int:
    """Stop resources by their ids. Nothing is stopped if an id is wrong."""
    try:
        active = session.active()
    except LkError as error:  # a run of this machine can be stopped without any list
        active = ActiveList(problems=(str(error).partition("\n")[0],))
    resources = [resource for text in options.ids if (resource := _find_resource(session, active, text, output))]
    return _stop_and_report(session, resources, output) if resources else DONE


def _find_resource(session: Session, active: ActiveList, text: str, output: CommandOutput) -> ActiveResource | None:
    """Return the resource with this id; None for a run that has ended, which is reported. Raises UsageError."""
    resource = find_resource(active, text)
    if resource and resource.kind == "volume":
        raise UsageError(
            f"'{text}' is a volume, which contains data. Nothing was stopped. Delete it: "
            f"%lk_volumes delete {one_line(resource.id)}"
        )
    if resource:
        return resource
    try:
        run = Run.attach(session, text)
    except UsageError as error:
        problems = " ".join(active.problems)
        raise UsageError(
            f"No active resource and no run has the id '{text}'. Nothing was stopped. {problems}"
        ) from error
    with suppress(LkError):
        if is_final(state := run.record.status):
            words = f"Run {run.execution_id} has already ended: {state}."
            output.emit("stopped", words, **_describe_run(session, run.execution_id), message=words)
            return None
    return ActiveResource("run", run.execution_id, "", "", None)


def _stop_and_report(
    session: Session, resources: tuple[ActiveResource, ...] | list[ActiveResource], output: Any
) -> int:
    """Stop resources, print each outcome, and return the exit code."""
    output.active_ids = [each.id for each in resources]

    def report(result: StopResult) -> None:
        resource, message = result.resource, replace_magics(result.message)
        fields: dict[str, Any] = {"id": resource.id, "kind": resource.kind}
        if result.has_ended:
            output.active_ids.remove(resource.id)
        if result.has_ended and (resource.kind == "run" or resource.run_id):
            fields = {**_describe_run(session, resource.run_id or resource.id), **fields}
        with suppress(BrokenPipeError):  # the stops continue without a reader
            if result.has_ended:
                output.emit("stopped", message, **fields, message=message)
            else:
                output.note("unconfirmed", message, **fields, message=message)

    stop_resources(session, resources, report)
    if not output.active_ids:
        return DONE
    ids = " ".join(map(one_line, output.active_ids))
    message = f"May still be active and billed: {ids}. Stop again: lk stop {ids}"
    output.note("remaining", message, ids=output.active_ids, next=f"lk stop {ids}", message=message)
    return ACTIVE


def _describe_run(session: Session, execution_id: str) -> dict[str, Any]:
    """Return id, state and cost of a run that has ended."""
    fields: dict[str, Any] = {"id": execution_id, "kind": "run"}
    with suppress(LkError):
        run = Run(session, execution_id)
        record = run.record
        fields |= {"state": record.status, "cost": run.bill(record).cost}
    return fields
