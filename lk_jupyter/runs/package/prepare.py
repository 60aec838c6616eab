"""Put together what a run sends."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from lk_jupyter.account.low_balance import look_at_balance
from lk_jupyter.code.source import Source
from lk_jupyter.code.variables import inputs_of, named, read_in, reads_all
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import MachineOptions, RunOptions, honored, refuse_in_session
from lk_jupyter.protocol.parts import RemoteModule
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle, Limits, bundle, time_limit
from lk_jupyter.runs.package.checkpoint import checkpoint_parts
from lk_jupyter.runs.package.rich import imports_part
from lk_jupyter.runs.package.secret_scan import secrets_in
from lk_jupyter.runs.variables.payload import VariablePayload, changed_environment, pack, pack_state, with_digests

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def prepare(
    session: Connection,
    source: Source,
    options: RunOptions,
    parts: Sequence[RemoteModule] = (),
    kept: Mapping[str, str | None] | None = None,
) -> Bundle:
    """Put together what a run would send, on the machine that the options or the settings name.

    ``parts`` travel with the code and work for it in the run; ``kept`` is what a session has already, see
    ``pack_state``.

    Raises UsageError or SyntaxError for what would not run.
    """
    begun = time.monotonic()
    honored(options, "A single run", {"several"})
    if "," in f"{options.gpu}{options.machine}":
        raise UsageError(
            "Several machines or a sweep need several runs. Nothing was sent. Use %%lk_run, or session.fan_out(...)."
        )
    look_at_balance(session)
    if options.gpu and options.machine:
        raise UsageError("--gpu and --machine both name a machine. Nothing was sent. Give one of them.")
    machine = session.machines().resolve(options.gpu or options.machine or setting("machine"))
    limits = limits_of(options)
    limit, _ = time_limit(options, machine, limits)
    parts = [*parts, *checkpoint_parts(session, source, options, limit), *imports_part(source, options)]
    inputs, payload = _parcel(source, options, kept)
    assumed = session.assumptions
    look = () if assumed.is_known("bucket_folder_python") else assumed.candidates("bucket_folder_python")
    package = bundle(source, options, machine, limits, parts, payload=payload, look=look)
    secrets = secret_scan.in_run(package, known=(session.target.key.token,))
    found = (*secrets, *secrets_in(inputs, payload))
    return replace(package, secrets=found, phases={"analysis": time.monotonic() - begun})


def prepare_cell(
    session: Connection, source: Source, options: RunOptions, kept: Mapping[str, str | None] | None = None
) -> Bundle:
    """Put together what a cell in a session sends; ``kept`` is what the session has already.

    Raises UsageError or SyntaxError for what would not run.
    """
    refuse_in_session(options)
    return prepare(session, source, options, kept=kept)


def _parcel(
    source: Source, options: RunOptions, kept: Mapping[str, str | None] | None
) -> tuple[Mapping[str, Any], VariablePayload]:
    """Return the variables that a run brings along, and the parcel of them."""
    carries = options.carry if options.carry is not None else source.is_cell and setting("carry")
    outputs = named("out", options.outputs)
    inputs = inputs_of(source, options)
    if not (carries or inputs or outputs):
        return inputs, VariablePayload()
    if not carries:
        return inputs, pack(inputs, outputs, pickle=options.pickle, namespace=source.namespace)
    from lk_jupyter.remote.carry.base import silent  # noqa: PLC0415 (imports cloudpickle)

    names = list(dict.fromkeys([*inputs, *read_in(source)]))
    others = source.namespace if reads_all(source.code) else _unpickled(source)
    code, limit = source.code, setting("carry_limit")
    with silent():
        payload = with_digests(pack_state(names, source.namespace, outputs, limit, others, kept, code))
    values = payload.origin.values if payload.origin else {}
    return {**values, "os.environ": changed_environment()}, payload


#: Words of code that may read pickles: they name classes and functions of the notebook that the code doesn't.
_UNPICKLES = re.compile(r"pickle|joblib|shelve|dill|\bload")


def _unpickled(source: Source) -> list[str]:
    """Return the names of classes and functions of the notebook that pickles may name, where the code may read some."""
    if not _UNPICKLES.search(source.code):
        return []
    kinds = (type, FunctionType)
    found = [(name, value) for name, value in source.namespace.items() if isinstance(value, kinds)]
    return [name for name, value in found if value.__module__ == "__main__" and value.__name__ == name]


def limits_of(options: MachineOptions) -> Limits:
    """Return the limits of a run. Its options override the settings."""
    max_cost = setting("max_cost") if options.max_cost is None else options.max_cost
    return Limits(setting("timeout"), setting("max_timeout"), max_cost)
