"""The calls of Python that accept options as keyword arguments; ``_keywords.py`` has their types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.options.runs import (
    NEEDS,
    ComposeOptions,
    DockerOptions,
    MachineOptions,
    NotebookRunOptions,
    Options,
    RunOptions,
    ServerOptions,
    check,
    extras,
    require_support,
)


@dataclass(frozen=True)
class KeywordCall:
    """A call of Python: the model of its options, and the rows of NEEDS that the call lacks.

    ``parameters`` are options that have an explicit parameter in the call, or that another call accepts. ``only`` are
    the options that the call accepts, if there are few. ``is_cell`` is whether the code is a cell of a session.
    """

    keywords: str
    model: type[Options]
    lacks: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    is_cell: bool = False

    @property
    def hidden(self) -> frozenset[str]:
        """The needs of the options that no user of the call is offered."""
        return self.lacks | ({"run", "several"} if self.is_cell else set())

    def fields(self) -> Iterator[tuple[str, FieldInfo]]:
        """Iterate over the options that a user can pass as keyword arguments, with their declarations."""
        for name, field in self.model.model_fields.items():
            is_accepted = name in self.only if self.only else not self.hidden.intersection(extras(field)["needs"])
            if is_accepted and name not in self.parameters:
                yield name, field


_VARIABLES = frozenset({"inputs", "outputs"})
_NO_CELL = frozenset({"cell", "hints", "kept"})

CALLS: dict[str, KeywordCall] = {
    "session.run": KeywordCall("RunKeywords", RunOptions, _NO_CELL | {"several", "session"}, _VARIABLES),
    "session.fan_out": KeywordCall("FanOutKeywords", RunOptions, frozenset({"cell", "session", "kept"}), _VARIABLES),
    "session.run_image": KeywordCall("ImageKeywords", DockerOptions, _NO_CELL, frozenset({"image"})),
    "session.run_compose": KeywordCall("ComposeKeywords", ComposeOptions, _NO_CELL),
    "session.run_notebook": KeywordCall("NotebookKeywords", NotebookRunOptions, _NO_CELL, frozenset({"notebook"})),
    "session.start_notebook": KeywordCall("ServerKeywords", ServerOptions),
    "session.warm_python": KeywordCall(
        "WarmPythonKeywords",
        RunOptions,
        only=frozenset({"gpu", "machine", "timeout", "max_cost", "idle", "image"}),
    ),
    "run_code": KeywordCall(
        "CellKeywords",
        RunOptions,
        _NO_CELL | {"session", "image"},
        _VARIABLES | MachineOptions.model_fields.keys(),
        is_cell=True,
    ),
    "session.history": KeywordCall("HistoryKeywords", HistoryOptions, parameters=frozenset({"text"})),
    "LyceumCluster": KeywordCall(
        "ClusterKeywords",
        RunOptions,
        _NO_CELL | {"several", "session"},
        only=frozenset(
            {"gpu", "machine", "timeout", "max_cost", "spot", "volume", "no_vm_key"}
            | {"requirements", "files", "name", "label", "metadata", "allow_secrets"}
        ),
    ),
    "Executor": KeywordCall(
        "ExecutorKeywords", RunOptions, frozenset(NEEDS) - {"kept", "image"}, frozenset({"session"})
    ),
}


def check_call(name: str, values: dict[str, Any]) -> Any:  # the model of the call
    """Make the options of a call of Python. Raises as ``check``, and UsageError for an option without effect."""
    call = CALLS[name]
    return require_support(check(call.model, values), name, call.lacks)
