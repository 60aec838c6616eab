"""Prepare the bundle of a run from its source and options."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from types import FunctionType
from typing import TYPE_CHECKING, Any

from lk_jupyter.account.low_balance import balance_watch, read_balance_soon
from lk_jupyter.api.states import STOP_SECONDS
from lk_jupyter.code.source import Source
from lk_jupyter.code.undefined import undefined_names
from lk_jupyter.code.variables import named, read_in, reads_all, uploaded_variables
from lk_jupyter.config.settings import resolve, setting
from lk_jupyter.connection.budget import remaining_credits
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import cost_at_limit, machine_cost
from lk_jupyter.options.runs import MachineOptions, RunOptions, refuse_in_session, require_support
from lk_jupyter.protocol.parts import RemoteModule
from lk_jupyter.protocol.vm_run import LONGEST_SECONDS, SETUP_SECONDS
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle, BundleBuilder, Limits, time_limit
from lk_jupyter.runs.package.checkpoint import checkpoint_parts
from lk_jupyter.runs.package.image import require_image_cell, require_inline
from lk_jupyter.runs.package.machine import choose_machine
from lk_jupyter.runs.package.relayed import relay_options, relay_parts
from lk_jupyter.runs.package.rented import choose_run_volume, choose_vm, machine_type_for, needs_vm, vm_limits
from lk_jupyter.runs.package.rich import imports_part, scalars_part
from lk_jupyter.runs.package.script_block import Price, apply_block, describe_request, find_block, python_part
from lk_jupyter.runs.package.secret_scan import secrets_in
from lk_jupyter.runs.package.secrets import secrets_part
from lk_jupyter.runs.package.stage import stage_parts
from lk_jupyter.runs.package.starts import AUTO, choose_start
from lk_jupyter.runs.variables.payload import (
    VariablePayload,
    add_digests,
    changed_environment,
    pack_state,
    pack_values,
    value_digest,
)
from lk_jupyter.runs.variables.remote_value import handle_names, remove_handles

if TYPE_CHECKING:
    from lk_jupyter.api.machine_types import MachineType
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.vms.offers import VmOffer


def prepare(  # noqa: PLR0913 (independent choices)
    session: Connection,
    source: Source,
    options: RunOptions,
    parts: Sequence[RemoteModule] = (),
    warm_digests: Mapping[str, str | None] | None = None,
    *,
    count: int = 1,
) -> Bundle:
    """Return the bundle of a run, on the machine of the options or the settings.

    ``count`` runs start together, and share balance and budgets.
    ``parts`` are modules of ``remote`` that support the code in the run; ``warm_digests`` is name → digest of a
    session's value, see ``pack_state``.

    Raises UsageError or SyntaxError for code that can't run.
    """
    started = time.monotonic()
    require_support(options, "A single run", {"several"})
    if "," in f"{options.gpu}{options.machine}":
        raise UsageError(
            "Several machines or a sweep need several runs. Nothing was sent. Use %%lk_run, or session.fan_out(...)."
        )
    read_balance_soon(session)
    in_session = bool(options.session) or warm_digests is not None
    block = find_block(source, in_session=in_session)
    line_options, options = options, apply_block(options, block)
    start_reason = ""
    if options.image == AUTO and not in_session:
        options, start_reason = choose_start(session.base_url, source.code, options)
    mount = session.assumptions["bucket_folder_image"] if options.image and not in_session else ""
    if mount:
        require_image_cell(source, options, mount)
        options = options.model_copy(update={"fresh": True})
    if not in_session and not mount and not options.requirements and (default := setting("requirements")):
        options = options.model_copy(update={"requirements": [default]})
    options = relay_options(source, options, count) if options.relay else options
    offer = choose_vm(session, options, count) if needs_vm(session, source, options, count) else None
    volume = choose_run_volume(session, options, on_vm=offer is not None)
    machine, reason, limits, limit = _choose_machine(session, options, count, offer)
    parts = [
        *secrets_part(session, options, on_vm=offer is not None),
        *python_part(block),
        *parts,
        *stage_parts(session, options),
        *checkpoint_parts(session, source, options, limit, on_vm=offer is not None),
        *(relay_parts(session) if options.relay else []),
        *imports_part(source, options),
        *scalars_part(source),
    ]
    inputs, payload = _pack_variables(source, options, warm_digests)
    if mount:
        require_inline(payload, mount)
    assumptions = session.assumptions
    has_folder = assumptions.is_known("bucket_folder_python")
    bundle = BundleBuilder(
        source=source,
        options=options,
        machine=machine,
        limits=limits,
        parts=parts,
        payload=payload,
        bucket_folders=() if has_folder else assumptions.candidates("bucket_folder_python"),
        block=block,
        keeps_packages=setting("keep_packages") and not in_session and not offer and not mount,
        image_mount=mount,
    ).build()
    if block:
        limit_price = _price_without_block(session, line_options, count) if block.options else None
        bundle = replace(bundle, block_request=describe_request(block, bundle, limit_price))
    secrets = (*secret_scan.scan_run(bundle, active_secrets=(session.target.key.token,)), *secrets_in(inputs, payload))
    phases = {"analysis": time.monotonic() - started}
    reason = "; ".join(filter(None, [reason, start_reason]))
    return replace(bundle, secrets=secrets, phases=phases, machine_reason=reason, vm_offer=offer, vm_volume=volume)


def _choose_machine(
    session: Connection, options: MachineOptions, count: int, offer: VmOffer | None = None
) -> tuple[MachineType, str, Limits, int]:
    """Return machine, its reason, limits of each of ``count`` runs, and time limit in seconds. Raises UsageError."""
    machine, reason = (machine_type_for(offer), "") if offer else choose_machine(session, options)
    limits = resolve_limits(session, options, machine, count)
    limits = vm_limits(limits) if offer else limits
    limits = replace(limits, max_timeout=LONGEST_SECONDS) if getattr(options, "relay", False) else limits
    return machine, reason, limits, time_limit(options, machine, limits)[0]


@dataclass(frozen=True)
class CostEstimate:
    """What a run may cost at most: machine type, time limit in seconds, and cost in credits, None if unknown."""

    machine: str
    seconds: int
    cost: Decimal | None


def estimate_cost(session: Connection, source: Source, options: MachineOptions, count: int = 1) -> CostEstimate:
    """Return what each of ``count`` runs may cost, without their variables and files. Raises UsageError."""
    offer = None
    if isinstance(options, RunOptions):
        options = apply_block(options, find_block(source, in_session=False))
        offer = choose_vm(session, options, count) if needs_vm(session, source, options, count) else None
    machine, _, _, seconds = _choose_machine(session, options, count, offer)
    cost = machine_cost(machine, seconds + SETUP_SECONDS) if offer else cost_at_limit(machine.price_per_hour, seconds)
    return CostEstimate(machine.hardware_profile, seconds, cost)


def _price_without_block(session: Connection, options: RunOptions, count: int) -> Price:
    """Return the price that the line and the settings allow; nothing if they choose no valid machine."""
    try:
        machine, _, _, seconds = _choose_machine(session, options, count)
    except UsageError:
        return Price(Decimal(0), Decimal(0))
    return Price(machine.price_per_hour, cost_at_limit(machine.price_per_hour, seconds))


def prepare_cell(
    session: Connection, source: Source, options: RunOptions, warm_digests: Mapping[str, str | None] | None = None
) -> Bundle:
    """Return the bundle of a cell in a session; ``warm_digests`` is name → digest of the session's value.

    Raises UsageError or SyntaxError for code that can't run.
    """
    refuse_in_session(options)
    return prepare(session, source, options, warm_digests=warm_digests)


def _decide_sync(source: Source, options: RunOptions) -> bool:
    """Whether a run gets the variables that its code reads, and returns its changes: a cell does, unless --fresh.

    A session has the variables of its cells already.
    """
    if options.sync and options.fresh:
        raise UsageError("--sync and --fresh exclude each other. Nothing was sent. Give one of them.")
    if options.sync or options.fresh or not source.is_cell:
        return options.sync
    answer = setting("carry")
    return bool(answer == "always" if options.session and not options.keep else answer != "never")


def _pack_variables(
    source: Source, options: RunOptions, warm_digests: Mapping[str, str | None] | None
) -> tuple[Mapping[str, Any], VariablePayload]:
    """Return name → value of the uploaded variables, and their payload."""
    carries = _decide_sync(source, options)
    outputs = named("out", options.outputs)
    if source.is_cell and (options.keep or not options.session):
        _refuse_undefined(source)
    all_values, remote_names = source.namespace, handle_names(source.namespace) if options.session else set()
    source = replace(source, namespace=remove_handles(all_values)) if remote_names else source
    inputs = uploaded_variables(source, options)
    if not (carries or inputs or outputs):
        return inputs, VariablePayload()
    if not carries:
        return inputs, pack_values(inputs, outputs, pickle=options.pickle, namespace=source.namespace)
    from lk_jupyter.remote.carry.base import suppress_prints  # noqa: PLC0415 (only for variables)

    names = list(dict.fromkeys([*inputs, *read_in(source)]))
    if options.keep and remote_names:
        # a value that only the machine has may refer to any value that the notebook exchanged before
        names += [name for name, digest in (warm_digests or {}).items() if digest and name in source.namespace]
    optional_names = source.namespace if reads_all(source.code) else _list_picklable_names(source)
    code, limit = source.code, setting("carry_limit")
    with suppress_prints(), _replace_session_advice(options):
        payload = add_digests(pack_state(names, source.namespace, outputs, limit, optional_names, warm_digests, code))
    if payload.origin and remote_names:
        origin = replace(payload.origin, ids={name: id(value) for name, value in all_values.items()})
        payload = replace(payload, origin=origin)
    if options.keep:
        payload.settings["handles"] = HANDLE_BYTES
    values = payload.origin.values if payload.origin else {}
    payload.settings["same"] = value_digest(payload)
    return {**values, "os.environ": changed_environment()}, payload


@contextmanager
def _replace_session_advice(options: RunOptions) -> Iterator[None]:
    """Replace the advice to use a session in refusals of a session's cell."""
    from lk_jupyter.remote.carry.base import IN_SESSION  # noqa: PLC0415 (only for variables)

    try:
        yield
    except UsageError as error:
        if options.session:
            raise UsageError(str(error).replace(IN_SESSION, ", or create it in a cell of the session")) from None
        raise


def _refuse_undefined(source: Source) -> None:
    """Refuse a cell that would certainly fail with a NameError. Raises UsageError."""
    names = {**source.namespace, **source.values}
    missing = undefined_names(source.code, names)
    if missing:
        near = get_close_matches(missing[0], names, n=1)
        advice = f"Did you mean '{near[0]}'?" if near else "First run the cell that sets the variable."
        quoted = ", ".join(f"'{name}'" for name in missing)
        raise UsageError(f"The cell uses undefined names: {quoted}. Nothing was sent. {advice}")


#: New values of more bytes stay on the machine of a kept session until a cell of the notebook reads them.
HANDLE_BYTES = 10_000_000

#: Words of code that may read pickles, which refer to classes and functions of the notebook.
_UNPICKLES = re.compile(r"pickle|joblib|shelve|dill|\bload")


def _list_picklable_names(source: Source) -> list[str]:
    """Return the names of the notebook's classes and functions if the code may read pickles that refer to them."""
    if not _UNPICKLES.search(source.code):
        return []
    kinds = (type, FunctionType)
    definitions = [(name, value) for name, value in source.namespace.items() if isinstance(value, kinds)]
    return [name for name, value in definitions if value.__module__ == "__main__" and value.__name__ == name]


#: Seconds of the default time limit that a low balance or a budget doesn't reduce.
_SHORTEST_DEFAULT = 60


def resolve_limits(session: Connection, options: MachineOptions, machine: MachineType, count: int = 1) -> Limits:
    """Return the limits of each of ``count`` runs. Options override settings.

    The default time limit is reduced if the balance, or the rest of a budget, doesn't pay for all runs until then.
    """
    max_cost = setting("max_cost") if options.max_cost is None else options.max_cost
    resolved = resolve("timeout")
    timeout = resolved.value
    price = machine.price_per_hour
    if options.timeout is None and resolved.is_default and price:
        worst_case = count * (cost_at_limit(price, timeout) or Decimal(0))
        rest = remaining_credits(session)
        balance = balance_watch(session).read_unless_enough(worst_case)
        available = min((amount for amount in (rest, balance) if amount is not None), default=worst_case)
        if available < worst_case:
            affordable = int(available * 3600 / (count * price)) - STOP_SECONDS
            timeout = min(timeout, max(affordable, _SHORTEST_DEFAULT))
    return Limits(timeout, setting("max_timeout"), max_cost)
