"""Choose the observers of a run; show the addresses of its ports."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from decimal import Decimal
from typing import Any

from lk_jupyter.code.variables import named
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.connection import Connection
from lk_jupyter.journal.journal import journal
from lk_jupyter.journal.messages import has_addresses
from lk_jupyter.options.runs import AttachOptions, Options
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.remote.sign import saving_seconds
from lk_jupyter.runs.connection import vm_run_in
from lk_jupyter.runs.observers.base import ObserverGroup, RunObserver
from lk_jupyter.runs.observers.hints import RunHints
from lk_jupyter.runs.observers.limits import BillCheck, Countdown, ForecastLabel, LowBalance, MaxCost, RemainingTime
from lk_jupyter.runs.observers.messages import Messages
from lk_jupyter.runs.observers.relay import RelayProgress
from lk_jupyter.runs.observers.results import (
    PackagesNotice,
    Phases,
    Returned,
    Summary,
    VolumeReminder,
    executed_notebook_observers,
)
from lk_jupyter.runs.observers.start_time import StartTime
from lk_jupyter.runs.observers.vm import VmProgress
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.ports import address
from lk_jupyter.runs.run import Run
from lk_jupyter.text.scalars import ScalarParser


def default_observers(  # noqa: PLR0913 (the facts that observers read)
    session: Connection,
    options: Options,
    bundle: Bundle | None = None,
    *,
    attached: Run | None = None,
    namespace: MutableMapping[str, Any] | None = None,
    in_place: bool = True,
) -> ObserverGroup:
    """Return the observers of a run that is started with these options, or was started before.

    The journal has the limits of an earlier run if it was started on this machine. Variables are restored into
    ``namespace``; ``in_place`` is whether a run with --sync changes the local objects, or copies.
    """
    wants_hints = setting("hints") and not getattr(options, "no_hints", False)
    hints = [RunHints(session, bundle, namespace)] if wants_hints else []
    bundle = bundle and bundle.remove_values()
    scalars = ScalarParser()
    limits = (
        _iterate_start_limits(bundle, scalars)
        if bundle
        else _iterate_journal_limits(attached, scalars)
        if attached
        else ()
    )
    ports = bundle.ports if bundle else attached.ports if attached else ()
    names = named("out", options.outputs if isinstance(options, AttachOptions) else [])
    returned = Returned(None if getattr(options, "detach", False) else namespace, names, is_origin=in_place)
    watches: list[RunObserver] = [
        LowBalance(session),
        *([VmProgress(), RelayProgress()] if _is_hosted(bundle, attached) else []),
        *([RemainingTime(session, scalars, *_find_time_limit(bundle, attached))] if in_place else []),
    ]
    return ObserverGroup(
        [
            *limits,
            *([StartTime(bundle.phases)] if bundle and getattr(options, "time", False) else []),
            *([ForecastLabel(bundle, session.base_url)] if bundle and in_place else []),  # members show no facts
            BillCheck(),
            *watches,
            *([Messages(watches)] if in_place and has_addresses() else []),  # not one for each member of a sweep
            Summary(None if getattr(options, "metric", None) else scalars, bundle),
            PackagesNotice(),
            *([VolumeReminder(bundle.vm_volume)] if bundle and bundle.vm_volume else []),
            Phases(),
            *hints,
            *([Addresses(ports, bundle)] if ports or (bundle and bundle.skipped_files) else []),
            *executed_notebook_observers(attached, bundle),
            returned,
        ],
        scalars,
    )


def _is_hosted(bundle: Bundle | None, run: Run | None) -> bool:
    """Return whether a run is on a VM, or a relay."""
    is_relay = bool(bundle and getattr(bundle.options, "relay", False))
    return bool(bundle and bundle.vm_offer) or is_relay or (run is not None and vm_run_in(run.session) is not None)


def _iterate_start_limits(bundle: Bundle, scalars: ScalarParser) -> Iterator[RunObserver]:
    yield Countdown(bundle.timeout, bundle, scalars)
    if bundle.max_cost is not None:
        returns = bundle.payload.carries or bool(bundle.payload.outputs)
        yield MaxCost(bundle.machine, bundle.max_cost, saving_seconds(bundle.timeout) if returns else 0.0)


def _find_time_limit(bundle: Bundle | None, run: Run | None) -> tuple[int | None, Decimal | None]:
    """Return the time limit in seconds, and the maximum cost in credits if it may end the run."""
    if bundle is None:
        return (run.time_limit if run else None), None
    return bundle.timeout, bundle.max_cost if bundle.cost_binds else None


def _iterate_journal_limits(run: Run, scalars: ScalarParser) -> Iterator[RunObserver]:
    entry = journal().get(run.execution_id)
    yield Countdown(entry.request.get("timeout") if entry else None, scalars=scalars)
    max_cost = entry.options.get("max_cost") if entry else None
    if max_cost and run.machine and run.machine.price_per_hour:
        yield MaxCost(run.machine, Decimal(str(max_cost)))


class Addresses(RunObserver):
    """Show the addresses of the ports while the run is active, and the omitted files of a listed folder."""

    def __init__(self, ports: tuple[int, ...], bundle: Bundle | None) -> None:
        self._ports = ports
        self._omitted_files = bundle.skipped_files if bundle else ()

    def started(self, run: Run) -> None:
        """Keep the addresses."""
        self.notices = [Notice(f"port {port}: {address(run, port)}") for port in self._ports]
        if self._omitted_files:
            first, *more_files = self._omitted_files
            more = f" and {len(more_files)} more" if more_files else ""
            text = (
                f"{first}{more} wasn't uploaded, because it is too large or may contain a secret. To upload it, add "
                f"--files {first}"
            )
            self.notices.append(Notice(text, WARNING))
