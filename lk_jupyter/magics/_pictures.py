"""Values shown as pictures without asking: which function makes the picture of which class.

Classes are known by name, so that neither they nor their pictures are imported before one is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_HERE, _PICTURES = "lk_jupyter.magics", "lk_jupyter.widgets.pictures"


class View(NamedTuple):
    """A class, by module and name, and the function that shows it, by module and name."""

    module: str
    name: str
    shown_by: str
    function: str


VIEWS = (
    View("lk_jupyter.runs.account", "Identity", f"{_HERE}.account", "identity_table"),
    View("lk_jupyter.runs.account", "Balance", f"{_PICTURES}.credits", "balance"),
    View("lk_jupyter.api.billing", "CreditsBalance", f"{_PICTURES}.credits", "credits_balance"),
    View("lk_jupyter.api.billing", "UserCredits", f"{_PICTURES}.credits", "user_credits"),
    View("lk_jupyter.api.orgs", "OrgBalance", f"{_PICTURES}.credits", "org_balance"),
    View("lk_jupyter.runs.spending", "Spending", f"{_PICTURES}.credits", "spending"),
    View("lk_jupyter.api.machine_types", "MachineTypeList", f"{_PICTURES}.machines", "machines"),
    View("lk_jupyter.api.machine_types", "MachineType", f"{_PICTURES}.machines", "machine"),
    View("lk_jupyter.runs.machines", "Catalogue", f"{_PICTURES}.machines", "catalogue"),
    View("lk_jupyter.api.pricing", "PriceBook", f"{_PICTURES}.prices", "prices"),
    View("lk_jupyter.api.execution", "ExecutionMetrics", f"{_PICTURES}.metrics", "answer"),
    View("lk_jupyter.runs.metrics", "Metrics", f"{_PICTURES}.metrics", "metrics"),
    View("lk_jupyter.runs.run", "Run", f"{_PICTURES}.run", "run"),
    View("lk_jupyter.inference.catalogue", "ModelCatalogue", f"{_HERE}.chat", "models_table"),
    View("lk_jupyter.inference.talk", "Answer", f"{_HERE}._chat_view", "Said"),
    View("lk_jupyter.storage.objects", "Objects", f"{_PICTURES}.storage", "listing"),
    View("lk_jupyter.storage._tree", "Tree", f"{_PICTURES}.storage", "tree"),
)

_MODELS = {(view.module, view.name): (view.shown_by, view.function) for view in VIEWS if ".api." in view.module}

#: Class of the elements → the function that shows a list or a page of them.
LISTS = {
    ("lk_jupyter.api.machine_types", "MachineType"): (f"{_PICTURES}.machines", "machines"),
    ("lk_jupyter.storage.objects", "ObjectInfo"): (f"{_PICTURES}.storage", "objects"),
}


def register(shell: InteractiveShell) -> None:
    """Let a shell show our objects; neither they nor their pictures are imported yet."""
    formatter: Any = shell.display_formatter.mimebundle_formatter  # type: ignore[union-attr]
    for view in VIEWS:
        formatter.for_type_by_name(view.module, view.name, partial(_shown, (view.shown_by, view.function)))
    formatter.for_type_by_name("lk_jupyter.api._models", "Page", _list)
    formatter.for_type(list, _list)
    plain: Any = shell.display_formatter.formatters["text/plain"]  # type: ignore[union-attr]
    plain.for_type_by_name("lk_jupyter.api._models", "Model", _print_answer)
    plain.for_type(list, partial(_print_list, plain.for_type(list)))


def unregister(shell: InteractiveShell) -> None:
    """Show lists and pages of them as before."""
    formatter: Any = shell.display_formatter.mimebundle_formatter  # type: ignore[union-attr]
    plain: Any = shell.display_formatter.formatters["text/plain"]  # type: ignore[union-attr]
    formatter.pop(list, None)
    if isinstance(printer := plain.for_type(list), partial):
        plain.for_type(list, printer.args[0])


def _shown(where: tuple[str, str], value: Any) -> dict[str, Any]:
    module, function = where
    show: Callable[[Any], Any] = getattr(import_module(module), function)
    shown = show(value)
    bundle: dict[str, Any] = shown.bundle() if hasattr(shown, "bundle") else shown._repr_mimebundle_()
    return bundle


def _list(values: Any) -> dict[str, Any] | None:
    """Show a list whose elements are all of one of our classes; leave any other to IPython."""
    kinds = {type(value) for value in values[:1]} if len(values) else set()
    where = next((LISTS.get((kind.__module__, kind.__qualname__)) for kind in kinds), None)
    return _shown(where, values) if where and all(type(value) in kinds for value in values) else None


def _print_answer(answer: Any, printer: Any, _cycle: bool) -> None:  # noqa: FBT001 (as IPython calls it)
    """Show an answer of the API, such as the record of a run with its output, without secrets."""
    from lk_jupyter.runs.redact import redact  # noqa: PLC0415 (when an answer is shown)

    where = _MODELS.get((type(answer).__module__, type(answer).__qualname__)) if _is_alone(printer) else None
    printer.text(_shown(where, answer)["text/plain"] if where else redact(repr(answer)))


def _print_list(plainly: Callable[..., None], values: Any, printer: Any, cycle: bool) -> None:  # noqa: FBT001
    """Show a list: IPython asks its own printer of lists before it takes what goes with the HTML."""
    found = _list(values) if _is_alone(printer) else None
    if found:
        printer.text(found["text/plain"])
    else:
        plainly(values, printer, cycle)


def _is_alone(printer: Any) -> bool:
    """Whether a value is shown by itself, and is not part of another one."""
    return len(printer.stack) <= 1
