"""``%lk_lease``: keys of a broker for agents and colleagues."""

from __future__ import annotations

import os

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.leases import BrokerLease, create_lease, list_leases, revoke_lease
from lk_jupyter.account.one_time_secret import OneTimeSecret
from lk_jupyter.magics._engine.ask import is_sure
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics._output.secret import show_once
from lk_jupyter.options.leases import LeaseOptions
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import credits_label, moment_label


@magic(LeaseOptions)
def lk_lease(options: LeaseOptions, shell: InteractiveShell) -> None:
    """Request a temporary API key with a credit limit from a broker. Without CREDITS, lists the issued keys.

    A program that uses this key can't spend more than the limit. --revoke disables the key and aborts its runs.

    Examples::

        %lk_lease 2.50 --minutes 60 --machines A100,L40S
        %lk_lease
        %lk_lease --revoke 3f0c
    """
    session = current()
    if options.revoke is not None:
        _revoke_lease(session, options)
    elif options.credits is None:
        leases = list_leases(session)
        note = "" if leases else "No leases. Issue one: %lk_lease 2.50"
        columns = ("Lease", "Name", "Project", "State", "Used", "Of", "Minutes", "Machines", "Active runs", "Ends")
        right = frozenset({"Used", "Of", "Minutes", "Active runs"})
        display(Table(columns, list(map(_build_lease_row, leases)), note=note, right=right))
    else:
        _issue_lease(session, options, shell)


def _issue_lease(session: Session, options: LeaseOptions, shell: InteractiveShell) -> None:
    names = [name for text in options.machines for name in text.split(",") if name]
    machines = [session.machines().resolve(name).hardware_profile for name in names]
    limits = {
        "credits": str(options.credits),
        "minutes": options.minutes,
        "machines": machines or None,
        "parallel": options.parallel,
        "ends_in": options.ends_in,
        "name": options.name,
        "project": options.project,
    }
    lease, key = create_lease(session, {name: value for name, value in limits.items() if value is not None})
    granted = credits_label(lease.credits or options.credits)
    display(Note(f"Lease {lease.id} of {granted}. Revoke it: %lk_lease --revoke {lease.id}"))
    if options.to_env:
        os.environ[options.to_env] = key
        display(Note(f"The key is stored only in the variable {options.to_env} of this kernel."))
        return
    rows = [("LK_BASE_URL", session.base_url), ("LK_API_KEY", key)]
    show_once(shell, OneTimeSecret(f"Key of the lease {lease.id}", rows, "The key is never shown again."))


def _revoke_lease(session: Session, options: LeaseOptions) -> None:
    question = f"Revoke the lease {options.revoke} and abort its runs?"
    if is_sure(options, question, "Nothing was revoked."):
        lease = revoke_lease(session, str(options.revoke))
        display(Note(f"Revoked the lease {lease.id}. Its runs are aborted. Used: {credits_label(lease.used)}."))


def _build_lease_row(lease: BrokerLease) -> tuple[str, ...]:
    minutes = f"{lease.minutes_used:.1f}" + (f" of {lease.minutes:g}" if lease.minutes is not None else "")
    return (
        lease.id,
        lease.name,
        lease.project,
        lease.state,
        credits_label(lease.used),
        "no limit" if lease.credits is None else credits_label(lease.credits),
        minutes,
        "all" if lease.machines is None else ", ".join(lease.machines),
        str(lease.active),
        moment_label(lease.ends_at, "%d %b %H:%M") or "never",
    )
