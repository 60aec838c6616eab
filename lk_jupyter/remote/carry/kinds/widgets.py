"""Widgets: each side has its model, and the state of the widget is sent."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from ... import IN_RUN
from .ipython import shell

_OF_MODELS = {"comm", "keys", "log", "parent", "_msg_callbacks", "_display_callbacks", "_states_to_send"}

_OF_TRAITS = (
    "_trait",
    "_cross_validation_lock",
    "_property_lock",
    "_holding_sync",
    "_model_id",
    "_comm",
    "_Output__counter",
)


def is_widget(value):
    """Return whether a value is a widget of ipywidgets."""
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    return widgets is not None and isinstance(value, widgets.Widget)


def widget_state(widget):
    """Return the traits of a widget, its other attributes, what observes it, and whether it is closed."""
    from traitlets.traitlets import EventHandler

    observed = [
        (handler, name, kind)
        for name, kinds in widget._trait_notifiers.items()
        for kind, handlers in kinds.items()
        for handler in handlers
        if not isinstance(handler, EventHandler)
    ]
    return [
        {name: value for name, value in widget._trait_values.items() if name not in _OF_MODELS},
        {name: value for name, value in widget.__dict__.items() if not name.startswith(_OF_TRAITS)},
        observed,
        list(widget._msg_callbacks.callbacks),
        widget.comm is None,
    ]


#: Model of an Output in the run → the Output here that shows what the code shows inside it, while the run is active.
captures = {}


def capture_of(model):
    """Return the Output here for one in the run, made now or long known. Raises ImportError without ipywidgets."""
    output = import_module("ipywidgets").Output
    known = getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", {}).get(model)
    return known if isinstance(known, output) else captures.setdefault(model, output())


def make_widget(kind, model):
    """Make a widget that holds nothing yet; in a run it keeps the id of its model."""
    made = captures.pop(model, None)
    if type(made) is kind:
        return made
    module = sys.modules["ipywidgets.widgets.widget"]
    is_new = IN_RUN and model not in getattr(module, "_instances", {})
    widget = kind.__new__(kind)
    with suppress(import_module("traitlets").TraitError):  # one that must hold something, such as Link, opens later
        module.Widget.__init__(widget, **({"model_id": model} if is_new else {}))
    return widget


def fill_widget(widget, state):
    """Let a widget hold what one of the other side holds, and show it."""
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


#: What the names begin with under which widgets travel that an output shows; the id of the output follows.
SHOWN = "output "


def show_widget(name, widget):
    """Show a widget, which can be moved here, in the place of its picture."""
    made = shell()
    if hasattr(made, "kernel") and isinstance(widget, sys.modules["ipywidgets.widgets.widget"].Widget):
        data, metadata = made.display_formatter.format(widget)
        transient = {"display_id": name[len(SHOWN) :]}
        made.display_pub.publish(data, metadata, transient=transient, update=True)
