"""Which companions go along with a run."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from decimal import Decimal
from typing import Any

from lk_jupyter.config import setting
from lk_jupyter.options import Options
from lk_jupyter.runs.addresses import Addresses
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.companion import Companion, Company
from lk_jupyter.runs.countdown import Countdown
from lk_jupyter.runs.doctor import Doctor
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.low_balance import LowBalance
from lk_jupyter.runs.max_cost import MaxCost
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.session import Session
from lk_jupyter.runs.summary import Summary
from lk_jupyter.runs.variables.returned import Returned


def company_of(
    session: Session,
    options: Options,
    package: Bundle | None = None,
    *,
    attached: Run | None = None,
    namespace: MutableMapping[str, Any] | None = None,
) -> Company:
    """Return the companions of a run that is started with these options, or was started before.

    The limits of one that was started before are in the journal, if that was here. ``namespace`` is
    where variables come back to.
    """
    limits = _of_started(package) if package else _of_attached(attached) if attached else ()
    from lk_jupyter.runs.notebook import executed  # noqa: PLC0415 (most runs are no notebook)

    ports = package.ports if package else attached.ports if attached else ()
    returned = Returned(None if getattr(options, "detach", False) else namespace)
    return Company(
        [*limits, *_of_all(session, options, package), Addresses(ports), *executed(attached, package), returned]
    )


def _of_started(package: Bundle) -> Iterator[Companion]:
    yield Countdown(package.timeout, package)
    if package.max_cost is not None:
        yield MaxCost(package.machine, package.max_cost)


def _of_attached(run: Run) -> Iterator[Companion]:
    entry = journal().get(run.execution_id)
    yield Countdown(entry.request.get("timeout") if entry else None)
    max_cost = entry.options.get("max_cost") if entry else None
    if max_cost and run.machine and run.machine.price_per_hour:
        yield MaxCost(run.machine, Decimal(str(max_cost)))


def _of_all(session: Session, options: Options, package: Bundle | None) -> Iterator[Companion]:
    yield LowBalance(session)
    yield Summary()
    if setting("doctor") and not getattr(options, "no_doctor", False):
        yield Doctor(session, package)
