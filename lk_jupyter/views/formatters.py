"""Show values as pictures automatically: map each class to a drawing function.

Classes are registered by name, so that neither classes nor pictures are imported before a value is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class FormatterRow(NamedTuple):
    """A class and the function that shows values of the class, each by module and name."""

    module: str
    name: str
    view_module: str
    function: str


VIEWS = (
    FormatterRow("lk_jupyter.account.balance", "Identity", "lk_jupyter.magics.account", "identity_table"),
    FormatterRow("lk_jupyter.account.balance", "AccountBalance", "lk_jupyter.views.credits", "balance"),
    FormatterRow("lk_jupyter.api.billing", "CreditsBalance", "lk_jupyter.views.credits", "credits_balance"),
    FormatterRow("lk_jupyter.api.billing", "UserCredits", "lk_jupyter.views.credits", "user_credits"),
    FormatterRow("lk_jupyter.api.orgs", "OrgBalance", "lk_jupyter.views.credits", "org_balance"),
    FormatterRow("lk_jupyter.account.spending", "Spending", "lk_jupyter.views.credits", "spending"),
    FormatterRow("lk_jupyter.api.machine_types", "MachineTypeList", "lk_jupyter.views.machines", "machines"),
    FormatterRow("lk_jupyter.api.machine_types", "MachineType", "lk_jupyter.views.machines", "machine"),
    FormatterRow("lk_jupyter.machines.catalogue", "Catalogue", "lk_jupyter.views.machines", "catalogue"),
    FormatterRow("lk_jupyter.api.pricing", "PriceBook", "lk_jupyter.views.prices", "prices"),
    FormatterRow("lk_jupyter.api.execution", "ExecutionMetrics", "lk_jupyter.views.metrics", "answer"),
    FormatterRow("lk_jupyter.runs.metrics.metrics", "Metrics", "lk_jupyter.views.metrics", "metrics"),
    FormatterRow("lk_jupyter.runs.run", "Run", "lk_jupyter.views.run", "run"),
    FormatterRow("lk_jupyter.inference.catalogue", "ModelCatalogue", "lk_jupyter.magics.chat", "models_table"),
    FormatterRow("lk_jupyter.inference.conversation", "ChatReply", "lk_jupyter.magics._output.chat", "ChatMarkdown"),
    FormatterRow("lk_jupyter.storage.objects", "Objects", "lk_jupyter.views.storage", "listing"),
    FormatterRow("lk_jupyter.storage._tree", "Tree", "lk_jupyter.views.storage", "tree"),
)

_MODELS = {(view.module, view.name): (view.view_module, view.function) for view in VIEWS if ".api." in view.module}

#: Class of the elements → function that shows a list or a page of such elements.
LISTS = {
    ("lk_jupyter.api.machine_types", "MachineType"): ("lk_jupyter.views.machines", "machines"),
    ("lk_jupyter.storage.objects", "ObjectInfo"): ("lk_jupyter.views.storage", "objects"),
}


def register_formatters(shell: InteractiveShell) -> None:
    """Let a shell show our objects; neither they nor their pictures are imported yet."""
    formatter: Any = shell.display_formatter.mimebundle_formatter  # type: ignore[union-attr]
    for view in VIEWS:
        formatter.for_type_by_name(view.module, view.name, partial(_make_bundle, (view.view_module, view.function)))
    formatter.for_type_by_name("lk_jupyter.api._models", "Page", _build_list_bundle)
    formatter.for_type(list, _build_list_bundle)
    plain: Any = shell.display_formatter.formatters["text/plain"]  # type: ignore[union-attr]
    plain.for_type_by_name("lk_jupyter.api._models", "Model", _print_answer)
    plain.for_type(list, partial(_print_list, plain.for_type(list)))


class _Html:
    """HTML in the form that marimo accepts."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _mime_(self) -> tuple[str, str]:
        return "text/html", self._html


@cache
def register_in_marimo() -> None:
    """Make marimo, which has no shell, show our objects: marimo calls ``_display_`` of each object."""
    for view in VIEWS:
        bundle_for = partial(_make_bundle, (view.view_module, view.function))
        kind = getattr(import_module(view.module), view.name)
        kind._display_ = lambda value, bundle_for=bundle_for: _Html(bundle_for(value)["text/html"])


def unregister_formatters(shell: InteractiveShell) -> None:
    """Restore the earlier display of lists and pages."""
    formatter: Any = shell.display_formatter.mimebundle_formatter  # type: ignore[union-attr]
    plain: Any = shell.display_formatter.formatters["text/plain"]  # type: ignore[union-attr]
    formatter.pop(list, None)
    if isinstance(printer := plain.for_type(list), partial):
        plain.for_type(list, printer.args[0])


def _make_bundle(where: tuple[str, str], value: Any) -> dict[str, Any]:
    module, function = where
    show: Callable[[Any], Any] = getattr(import_module(module), function)
    drawn = show(value)
    bundle: dict[str, Any] = drawn.bundle() if hasattr(drawn, "bundle") else drawn._repr_mimebundle_()
    return bundle


def _build_list_bundle(values: Any) -> dict[str, Any] | None:
    """Show a list of objects of a class in LISTS; return None for the remaining lists, which IPython shows."""
    kinds = {type(value) for value in values[:1]} if len(values) else set()
    where = next((LISTS.get((kind.__module__, kind.__qualname__)) for kind in kinds), None)
    return _make_bundle(where, values) if where and all(type(value) in kinds for value in values) else None


def _print_answer(answer: Any, printer: Any, _cycle: bool) -> None:  # noqa: FBT001 (as IPython calls it)
    """Show an answer of the API without secrets, such as the record of a run with the output."""
    from lk_jupyter.text.secrets import redact  # noqa: PLC0415 (when an answer is shown)

    where = _MODELS.get((type(answer).__module__, type(answer).__qualname__)) if _is_displayed_alone(printer) else None
    printer.text(_make_bundle(where, answer)["text/plain"] if where else redact(repr(answer)))


def _print_list(plainly: Callable[..., None], values: Any, printer: Any, cycle: bool) -> None:  # noqa: FBT001
    """Show a list: IPython calls its list printer before it uses the text of the bundle."""
    bundle = _build_list_bundle(values) if _is_displayed_alone(printer) else None
    if bundle:
        printer.text(bundle["text/plain"])
    else:
        plainly(values, printer, cycle)


def _is_displayed_alone(printer: Any) -> bool:
    """Return whether a value is shown alone, not as a part of another value."""
    return len(printer.stack) <= 1
