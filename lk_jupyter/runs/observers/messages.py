"""Send a message when a long run ends or is in trouble, if the user has set ``notify``."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.errors import UsageError
from lk_jupyter.journal import messages
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.catalogue import hourly_price
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.clock import calculate_bill, measure_duration
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.outcome import list_differences
from lk_jupyter.runs.run import Run
from lk_jupyter.text.terminal import one_line
from lk_jupyter.text.units import duration_label

#: Seconds for which the receipt waits for a service.
_PATIENCE = 5.0


class Messages(RunObserver):
    """Send the first warning of each watched observer, and the end of a run that took a minute or failed."""

    def __init__(self, watched: Iterable[RunObserver]) -> None:
        self._watched = tuple(watched)
        self._kinds: set[str] = set()

    def started(self, run: Run) -> None:  # noqa: ARG002 (as all observers)
        """Report a missing package while the run starts, not hours later."""
        try:
            messages.check_library()
        except UsageError as error:
            self.notices = [Notice(str(error), WARNING)]

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (as all observers)
        """Send new warnings in a thread."""
        for observer in self._watched:
            kind = type(observer).__name__
            warning = next((notice.text for notice in observer.notices if notice.kind == WARNING), "")
            if warning and kind not in self._kinds:
                self._kinds.add(kind)
                body = f"{one_line(warning)}\nStop: %lk_abort {run.short_id}\nLog: %lk_attach {run.short_id}"
                send = partial(_send_message, f"{run.execution_id}-{kind}", f"{run_title(run)}: warning", body)
                threading.Thread(target=send, daemon=True).start()
        return []

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Send the state, the time and the cost; return a warning if that failed."""
        seconds = measure_duration(record)
        if self.notices or not messages.needs_message(record.status, seconds):
            return []
        bill = calculate_bill(record, hourly_price(run.machine), quote=run.quote)
        facts = [
            record.status,
            "" if seconds is None else duration_label(seconds),
            bill.label,
            *list_differences(record, bill, run.requested_machine),
        ]
        lines = [" · ".join(filter(None, facts)), f"Log: %lk_attach {run.short_id}"]
        is_success = record.status.lower() in SUCCEEDED_STATES
        lines += [] if is_success else [f"Continue from a checkpoint: --resume {run.short_id}"]
        problems: list[str] = []
        title, body = f"{run_title(run)}: {record.status}", "\n".join(lines)
        sender = threading.Thread(
            target=lambda: problems.append(_send_message(messages.end_event(run.execution_id), title, body)),
            name="lk-messages",
        )
        sender.start()
        sender.join(_PATIENCE)
        return [Notice(problem, WARNING) for problem in problems if problem]


def _send_message(event: str, title: str, text: str) -> str:
    try:
        return messages.send_once(event, title, text)
    except UsageError as error:
        return str(error)


def run_title(run: Run) -> str:
    """Return the name of a run or the first line of its code, and the start of its id."""
    entry = journal().get(run.execution_id)
    return f"{entry.title} ({run.short_id})" if entry and entry.title else f"Run {run.short_id}"
