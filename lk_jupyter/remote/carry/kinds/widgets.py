"""Widgets: each side has a model, and the state of the widget is sent."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from ... import IN_RUN
from .ipython import shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MODEL_TRAITS = {"comm", "keys", "log", "parent", "_msg_callbacks", "_display_callbacks", "_states_to_send"}

_TRAIT_ATTRIBUTES = (
    "_trait",
    "_cross_validation_lock",
    "_property_lock",
    "_holding_sync",
    "_model_id",
    "_comm",
    "_Output__counter",
)


def is_widget(value: Any) -> bool:
    """Return whether a value is a widget of ipywidgets."""
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    return widgets is not None and isinstance(value, widgets.Widget)


def widget_state(widget: Any) -> list[Any]:
    """Return the traits of a widget, the attributes, the observers, the callbacks, and whether the widget is closed."""
    from traitlets.traitlets import EventHandler

    observed = [
        (handler, name, kind)
        for name, kinds in widget._trait_notifiers.items()
        for kind, handlers in kinds.items()
        for handler in handlers
        if not isinstance(handler, EventHandler)
    ]
    return [
        {name: value for name, value in widget._trait_values.items() if name not in _MODEL_TRAITS},
        {name: value for name, value in widget.__dict__.items() if not name.startswith(_TRAIT_ATTRIBUTES)},
        observed,
        list(widget._msg_callbacks.callbacks),
        widget.comm is None,
    ]


#: Model id of an Output in the run → Output of the notebook that shows its content while the run is active.
captures: dict[str, Any] = {}


def output_for(model: str) -> Any:
    """Return the notebook's Output for an Output in the run. Raises ImportError without ipywidgets."""
    output = import_module("ipywidgets").Output
    instance = getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", {}).get(model)
    return instance if isinstance(instance, output) else captures.setdefault(model, output())


def make_widget(kind: Any, model: str | None) -> Any:
    """Make a widget without state; in a run the widget keeps the id of its model."""
    captured = captures.pop(model, None) if model else None
    if type(captured) is kind:
        return captured
    module = sys.modules["ipywidgets.widgets.widget"]
    is_new = IN_RUN and model and model not in getattr(module, "_instances", {})
    widget = kind.__new__(kind)
    with suppress(import_module("traitlets").TraitError):  # a class such as Link, which needs values first, opens later
        module.Widget.__init__(widget, **({"model_id": model} if is_new else {}))
    return widget


def fill_widget(widget: Any, state: list[Any]) -> None:
    """Set the state of a widget as on the peer, and show the widget."""
    traits, attributes, observed, callbacks, is_closed = state
    widget._trait_values.update(traits)
    widget.__dict__.update(attributes)
    for handler, name, kind in observed:
        widget.observe(handler, name, kind)
    for callback in callbacks:
        widget.on_msg(callback)
    if is_closed:
        widget.close()
    elif widget.comm is None:
        widget.open()
    else:
        widget.send_state()


#: Prefix of the names of widgets that an output shows; the id of the output follows.
OUTPUT_PREFIX = "output "


def show_widget(name: str, widget: Any) -> None:
    """Show a widget in place of its picture."""
    ipython = shell()
    if hasattr(ipython, "kernel") and isinstance(widget, sys.modules["ipywidgets.widgets.widget"].Widget):
        data, metadata = ipython.display_formatter.format(widget)
        transient = {"display_id": name[len(OUTPUT_PREFIX) :]}
        ipython.display_pub.publish(data, metadata, transient=transient, update=True)
