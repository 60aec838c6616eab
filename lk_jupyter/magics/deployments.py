"""``%lk_deploy``, ``%lk_deployments``, ``%lk_undeploy``: models on GPUs of your own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from html import escape
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.inference import Deployment, DeploymentDetail
from lk_jupyter.connection.preconditions import require_preconditions
from lk_jupyter.connection.rental import (
    COMPUTER,
    ENFORCEMENT,
    Rental,
    end_label,
    find_stated_ends,
    plan_rental,
    state_end,
)
from lk_jupyter.errors import DeploymentFailed, LkError
from lk_jupyter.inference.deploy import (
    OVER,
    DeploymentPlan,
    create_once,
    describe_odd_state,
    find_deployment,
    follow_start,
    has_serving_replica,
    plan_deployment,
    read_replica_logs,
    stop_deployment,
)
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.several import apply_to_each, find_each
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.interrupt import advise_on_interrupt, build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, Note, StatusLine
from lk_jupyter.options.inference import DeploymentsOptions, DeployOptions, UndeployOptions
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.session import Session, current
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import one_line, plain
from lk_jupyter.text.units import credits_label
from lk_jupyter.views.bars import FONT

_MARKS = {"created": "✓", "running": "✓", "failed": "✗", "stopped": "■", "paused": "■"}
_REMAINING = "Deployments that may still be active and billed: {0}. Check: %lk_deployments. Stop them: %lk_undeploy {0}"
_WORDS = {"created": "running", "paused": "paused, not billed"}


@magic(DeployOptions)
def lk_deploy(options: DeployOptions, shell: InteractiveShell) -> None:
    """Deploy a model on dedicated GPUs after your confirmation, and wait until the model answers.

    Shows the price and the end before you confirm. The deployment is billed until you run %lk_undeploy, or until its
    end. The end is after --timeout, otherwise after 8 hours, or earlier if a budget or the balance pays for less. This
    computer enforces the end. After an hour without a request, the deployment pauses and isn't billed. The next request
    wakes it up. If you interrupt the waiting, the deployment keeps running.

    Examples::

        %lk_deploy moonshotai/kimi-k3 --gpu H200 --count 8
        %lk_deploy local/echo --gpu A100 --replicas 1-3 --yes
    """
    session = current()
    deployment_plan = plan_deployment(session, options.model, options.gpu, options.count, options.replicas)
    most = None if deployment_plan.per_hour is None else deployment_plan.per_hour * deployment_plan.request.max_replicas
    unpriced = f"{options.model} on this GPU has no published price."
    rental = Rental(
        "this deployment", most, unpriced, saves="--replicas 1" if deployment_plan.request.max_replicas > 1 else ""
    )
    plan = plan_rental(session, rental, options.timeout)
    scarce = (
        "This GPU isn't free now. The deployment waits until a GPU is free, which may take a long time."
        if deployment_plan.gpu_is_free is False
        else ""
    )
    end = f"{plan.time_label}, for {credits_label(plan.cost)}"
    display(StatusLine("plan", [*_format_price(deployment_plan), end], scarce))
    if options.dry_run:
        return
    require_preconditions(session, "deployment")
    question = (
        f"Start the deployment {plan.time_label}, for {credits_label(plan.cost)}? At {plan.end_label}, {ENFORCEMENT}"
    )
    if not options.yes and not ask(f"{question} [y/N] "):
        display(Note("Nothing was started. To skip the question: --yes"))
        return
    model = deployment_plan.request.hf_model_id
    with (
        advise_on_interrupt(
            f"A deployment of {model!r} may exist and be billed. Check: %lk_deployments. Stop it: %lk_undeploy ID"
        ),
        state_end(plan),
    ):
        deployment = create_once(session.client, deployment_plan.request)
    if options.save:
        shell.user_ns[options.save] = deployment.deployment_id
    if options.no_wait:
        display(
            StatusLine(
                deployment.status,
                [f"deployment {deployment.deployment_id}"],
                _format_next_steps(deployment.deployment_id),
            )
        )
        return
    _watch_start(session, deployment.deployment_id, deployment_plan, shell)


@magic(DeploymentsOptions)
def lk_deployments(options: DeploymentsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """List your deployments, or show a deployment with its replicas and the logs of failed replicas.

    Examples::

        %lk_deployments
        %lk_deployments 3f0c
    """
    session = current()
    ends = find_stated_ends(session.base_url)
    if options.deployment:
        chosen = find_deployment(session, options.deployment)
        detail = session.client.inference.get(chosen.deployment_id, include_terminated=True)
        display(deployment_table([detail], ends), replicas_table(detail))
        _show_logs(session, detail)
        return
    display(deployment_table(list(session.client.inference.list(include_terminated=options.all)), ends))


@magic(UndeployOptions)
def lk_undeploy(options: UndeployOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Stop deployments with all their replicas. Billing ends.

    Example: ``%lk_undeploy 3f0c``
    """
    session = current()

    def stop(chosen: Deployment) -> None:
        state = stop_deployment(session.client, chosen.deployment_id)
        line = StatusLine(state, [chosen.hf_model_id, f"deployment {chosen.deployment_id[:SHORT_ID]}"])
        line.mark = "■"
        display(line)

    chosen = find_each(options.deployments, lambda name: find_deployment(session, name), _REMAINING)
    apply_to_each(chosen, stop, lambda each: each.deployment_id[:SHORT_ID], _REMAINING)


def deployment_table(
    deployments: list[Deployment] | list[DeploymentDetail], ends: Mapping[str, float] | None = None
) -> Table:
    """Return a table with a row for each deployment. ``ends`` are the stated ends of this computer, by id."""
    columns = ("Deployment", "Model", "GPU", "State", "Replicas", "Min", "Max", "Since", "Ends")
    note = "" if deployments else "No deployments. Start one: %lk_deploy MODEL"
    rows = [_build_deployment_row(each, ends or {}) for each in deployments]
    return Table(columns, rows, note, frozenset({"Replicas", "Min", "Max"}))


def _build_deployment_row(deployment: Deployment, ends: Mapping[str, float]) -> tuple[str, ...]:
    end = ends.get(normalize_id(deployment.deployment_id))
    return (
        deployment.deployment_id[:SHORT_ID],
        deployment.hf_model_id,
        deployment.hardware_profile,
        f"{_choose_state_mark(deployment.status)} {_WORDS.get(deployment.status, deployment.status)}",
        *("" if n is None else str(n) for n in (deployment.current_replicas, deployment.min_replicas)),
        "" if deployment.max_replicas is None else str(deployment.max_replicas),
        f"{deployment.created_at.astimezone():%d %b %H:%M}" if deployment.created_at else "",
        "" if deployment.status in OVER else "none here" if end is None else f"{end_label(end)} by {COMPUTER}",
    )


def replicas_table(deployment: DeploymentDetail) -> Table:
    """Show the replicas of a deployment and their states."""
    rows = [
        (
            replica.replica_id[:SHORT_ID],
            f"{_choose_state_mark(replica.status)} {replica.status.replace('_', ' ')}",
            "" if replica.healthy is None else "yes" if replica.healthy else "no",
            replica.fail_reason or "",
        )
        for replica in deployment.replicas or []
    ]
    return Table(("Replica", "State", "Answers", "Reason"), rows, "" if rows else "No replicas.")


def _choose_state_mark(state: str) -> str:
    return _MARKS.get(state, "◌")


def _format_price(deployment_plan: DeploymentPlan) -> list[str]:
    request = deployment_plan.request
    several = f"{request.min_replicas} to {request.max_replicas} replicas"
    replicas = "1 replica" if request.max_replicas == 1 else several
    price = (
        f"{credits_label(deployment_plan.per_hour)} per hour each"
        if deployment_plan.per_hour is not None
        else "price unknown"
    )
    return [request.hf_model_id, deployment_plan.hardware, replicas, price]


def _watch_start(
    session: Session, deployment_id: str, deployment_plan: DeploymentPlan, shell: InteractiveShell
) -> None:
    """Show the replicas until a replica is running."""
    output, detail, odd_state = LiveOutput(shell), None, ""
    try:
        with true_interrupts():
            for detail in follow_start(session, deployment_id, deployment_plan.ready_seconds):
                output.show(replicas_table(detail))
                previous, odd_state = odd_state, describe_odd_state(detail)
                if odd_state and odd_state != previous:
                    display(Note(odd_state))
    except KeyboardInterrupt:
        short = deployment_id[:SHORT_ID]
        raise build_interrupt(
            f"stopped waiting; the deployment is still active and billed. Stop it: %lk_undeploy {short}"
        ) from None
    except DeploymentFailed:
        if detail:
            output.show(replicas_table(detail), now=True)
            with suppress(LkError):  # the deployment's failure is the more useful error
                _show_logs(session, detail)
        raise
    if detail:
        output.show(replicas_table(detail), now=True)
        display(_build_ready_line(detail, deployment_plan))


def _build_ready_line(detail: DeploymentDetail, deployment_plan: DeploymentPlan) -> StatusLine:
    price = (
        []
        if deployment_plan.per_hour is None
        else [f"{credits_label(deployment_plan.per_hour)} per hour for each replica"]
    )
    line = StatusLine(
        "running" if has_serving_replica(detail) else "still starting",
        [detail.hf_model_id, detail.hardware_profile, *price],
        _format_next_steps(detail.deployment_id),
    )
    line.mark = "✓" if has_serving_replica(detail) else "◌"
    line.metadata = {"lk_jupyter": {"deployment_id": detail.deployment_id}}
    return line


def _format_next_steps(deployment_id: str) -> str:
    short = deployment_id[:SHORT_ID]
    return f"Chat with it: %%lk_chat {short}\nStop the deployment and its bill: %lk_undeploy {short}"


class ReplicaLog:
    """The last output of a replica, folded."""

    def __init__(self, replica_id: str, text: str) -> None:
        self.text = plain(redact(text.strip())) or "It left no log."
        self.title = one_line(f"Log of replica {replica_id[:SHORT_ID]}")

    def __str__(self) -> str:
        return f"{self.title}:\n{self.text}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        html = (
            f'<details open style="{FONT}; color: var(--jp-ui-font-color1)"><summary>{escape(self.title)}</summary>'
            f'<pre style="background: transparent">{escape(self.text)}</pre></details>'
        )
        return {"text/plain": str(self), "text/html": html}

    __repr__ = __str__


def _show_logs(session: Session, deployment: DeploymentDetail) -> None:
    for replica_id, text in read_replica_logs(session, deployment):
        display(ReplicaLog(replica_id, text))
