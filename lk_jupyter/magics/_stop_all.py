"""``%lk_runs --stop-all``: list everything that costs by time, and stop it after a confirmation."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import OutcomeUnknown, UsageError
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.sync_question import identify_answerer
from lk_jupyter.magics._output.interrupt import advise_on_interrupt
from lk_jupyter.magics._output.live import Note
from lk_jupyter.session import current
from lk_jupyter.stop import plan_stop, stop_resources
from lk_jupyter.text.terminal import one_line
from lk_jupyter.views.credits import stop_plan

_AGAIN = "%lk_runs --stop-all"


def stop_all(shell: InteractiveShell, *, is_confirmed: bool) -> None:
    """Show what is active with its cost per hour, and stop it after a person's yes.

    Raises UsageError without a yes, and OutcomeUnknown with the ids that may still be active.
    """
    session = current()
    plan = plan_stop(session, session.active())
    display(stop_plan(plan))
    if not plan.resources:
        return
    if not is_confirmed and not (identify_answerer(shell) == "user" and ask(f"{plan.question} [y/N] ")):
        raise UsageError(f"Not confirmed. Nothing was stopped. Stop everything in this list: {_AGAIN} --yes")
    with advise_on_interrupt(f"Stopped waiting. Resources may still be active and billed. Check: {_AGAIN}"):
        results = stop_resources(session, plan.resources, lambda result: display(Note(result.message)))
    ids = " ".join(one_line(each.resource.id) for each in results if not each.has_ended)
    if ids:
        raise OutcomeUnknown(f"May still be active and billed: {ids}. Stop again: {_AGAIN}")
