"""``%lk_deploy``, ``%lk_deployments``, ``%lk_undeploy``: models on GPUs of your own."""

from __future__ import annotations

from html import escape
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.inference import Deployment, DeploymentDetail, StopDeploymentRequest
from lk_jupyter.errors import DeploymentFailed
from lk_jupyter.inference.deploy import Plan, find, logs, plan, serves, starting
from lk_jupyter.inference.options import DeploymentsOptions, DeployOptions, UndeployOptions
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._interrupt import interrupt
from lk_jupyter.magics._line import FONT, Line, Note, Updated
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._views import Table
from lk_jupyter.magics.run import check_name
from lk_jupyter.runs.cost import credits_label
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.redact import redact
from lk_jupyter.runs.session import Session, current

_MARKS = {"created": "✓", "running": "✓", "failed": "✗", "stopped": "■", "paused": "■"}
_WORDS = {"created": "serves", "paused": "paused, not billed"}


@magic(DeployOptions)
def lk_deploy(options: DeployOptions, shell: InteractiveShell) -> None:
    """Serve a model on GPUs of your own, and wait until it answers. Shows the price and asks first.

    It is billed until %lk_undeploy; after an hour without a question it is paused and not billed, and the next
    question wakes it up. An interrupt ends the waiting, not the deployment.

    Examples::

        %lk_deploy moonshotai/kimi-k3 --gpu H200 --count 8
        %lk_deploy local/echo --gpu A100 --replicas 1-3 --yes
    """
    check_name(options.save)
    session = current()
    wanted = plan(session, options.model, options.gpu, options.count, options.replicas)
    display(Line("plan", _price(wanted), _scarce(wanted)))
    if options.plan:
        return
    if not options.yes and not ask("Start it? [y/N] "):
        display(Note("Nothing was started. --yes starts without asking."))
        return
    made = session.client.inference.create(wanted.request)
    if options.save:
        shell.user_ns[options.save] = made.deployment_id
    if options.no_wait:
        display(Line(made.status, [f"deployment {made.deployment_id}"], _next(made.deployment_id)))
        return
    _watched(session, made.deployment_id, wanted, shell)


@magic(DeploymentsOptions)
def lk_deployments(options: DeploymentsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """List your deployments, or show one with its replicas and what those wrote that failed.

    Examples::

        %lk_deployments
        %lk_deployments 3f0c
    """
    session = current()
    if options.deployment:
        chosen = find(session, options.deployment)
        found = session.client.inference.get(chosen.deployment_id, include_terminated=True)
        display(deployment_table([found]), replicas_table(found))
        _show_logs(session, found)
        return
    display(deployment_table(list(session.client.inference.list(include_terminated=options.all))))


@magic(UndeployOptions)
def lk_undeploy(options: UndeployOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Stop deployments with all their replicas, and their bill.

    Example: ``%lk_undeploy 3f0c``
    """
    session = current()
    for chosen in [find(session, name) for name in options.deployments]:
        state = session.client.inference.stop(StopDeploymentRequest(deployment_id=chosen.deployment_id))
        line = Line(state.status, [chosen.hf_model_id, f"deployment {chosen.deployment_id[:SHORT_ID]}"])
        line.mark = "■"
        display(line)


def deployment_table(found: list[Deployment] | list[DeploymentDetail]) -> Table:
    """Show deployments, one a row."""
    columns = ("Deployment", "Model", "GPU", "State", "Replicas", "Least", "Most", "Since")
    note = "" if found else "No deployments. %lk_deploy MODEL starts one."
    return Table(columns, [_row(each) for each in found], note, frozenset({"Replicas", "Least", "Most"}))


def _row(deployment: Deployment) -> tuple[str, ...]:
    return (
        deployment.deployment_id[:SHORT_ID],
        deployment.hf_model_id,
        deployment.hardware_profile,
        f"{_mark(deployment.status)} {_WORDS.get(deployment.status, deployment.status)}",
        str(deployment.current_replicas),
        str(deployment.min_replicas),
        str(deployment.max_replicas),
        f"{deployment.created_at.astimezone():%d %b %H:%M}" if deployment.created_at else "",
    )


def replicas_table(deployment: DeploymentDetail) -> Table:
    """Show the replicas of a deployment and their states."""
    rows = [
        (
            replica.replica_id[:SHORT_ID],
            f"{_mark(replica.status)} {replica.status.replace('_', ' ')}",
            "" if replica.healthy is None else "yes" if replica.healthy else "no",
            replica.fail_reason or "",
        )
        for replica in deployment.replicas or []
    ]
    return Table(("Replica", "State", "Answers", "Reason"), rows, "" if rows else "No replicas.")


def _mark(state: str) -> str:
    return _MARKS.get(state, "◌")


def _price(wanted: Plan) -> list[str]:
    request = wanted.request
    several = f"{request.min_replicas} to {request.max_replicas} replicas"
    replicas = "1 replica" if request.max_replicas == 1 else several
    price = f"{credits_label(wanted.per_hour)} an hour for each" if wanted.per_hour is not None else "price not known"
    return [request.hf_model_id, wanted.hardware, replicas, price]


def _scarce(wanted: Plan) -> str:
    return "No such GPU is free now: it is requested, and may take long." if wanted.gpu_is_free is False else ""


def _watched(session: Session, deployment_id: str, wanted: Plan, shell: InteractiveShell) -> None:
    """Show the replicas until one serves."""
    output, found = Updated(shell), None
    try:
        with true_interrupts():
            for found in starting(session, deployment_id, wanted.ready_seconds):
                output.show(replicas_table(found))
    except KeyboardInterrupt:
        short = deployment_id[:SHORT_ID]
        raise interrupt(
            f"the waiting was ended; the deployment goes on and is billed. Stop it: %lk_undeploy {short}"
        ) from None
    except DeploymentFailed:
        if found:
            output.show(replicas_table(found), now=True)
            _show_logs(session, found)
        raise
    if found:
        output.show(replicas_table(found), now=True)
        display(_ready(found, wanted))


def _ready(found: DeploymentDetail, wanted: Plan) -> Line:
    price = [] if wanted.per_hour is None else [f"{credits_label(wanted.per_hour)} an hour for each replica"]
    line = Line(
        "serves" if serves(found) else "still starting",
        [found.hf_model_id, found.hardware_profile, *price],
        _next(found.deployment_id),
    )
    line.mark = "✓" if serves(found) else "◌"
    line.metadata = {"lk_jupyter": {"deployment_id": found.deployment_id}}
    return line


def _next(deployment_id: str) -> str:
    short = deployment_id[:SHORT_ID]
    return f"Talk to it: %%lk_chat {short}\nStop it and its bill: %lk_undeploy {short}"


class ReplicaLog:
    """What a replica wrote last, folded."""

    def __init__(self, replica_id: str, text: str) -> None:
        self.text = redact(text.strip()) or "It left no log."
        self.title = f"Log of replica {replica_id[:SHORT_ID]}"

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
    for replica_id, text in logs(session, deployment):
        display(ReplicaLog(replica_id, text))
