"""MIME bundles of objects, as IPython makes bundles in a notebook, and the frames that send the bundles."""

from __future__ import annotations

import sys
from binascii import b2a_base64

from ..script import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: MIME type → method that returns this form of an object.
METHODS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "text/latex": "_repr_latex_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
}

TEXT_LIMIT = 100_000
ITEMS_LIMIT = 1000

#: Bytes of the largest bundle in a log.
MOST_INLINE = 16_000_000

_WIDGET = "application/vnd.jupyter.widget-view+json"
_PLOTLY = "application/vnd.plotly.v1+json"
_ids = 0

#: IPython's shell, once made; None without IPython.
_shell: Any = False

#: Kinds that IPython shows by ``repr``: no import of IPython is needed.
_PLAIN = {int, float, complex, bool, str, bytes, type(None)}

#: Bytes of a larger bundle are stored in the bucket, if the run has the bucket as a folder.
inline_bytes = float("inf")

#: Functions that ``rich`` sets: to make IPython's shell, to draw a figure, to show an error that does not end the code.
make_shell: Any = None
draw_png: Any = None
show_survived: Any = None


class DisplayHandle:
    """An output that can be updated in place."""

    def __init__(self, display_id: Any = None) -> None:
        self.display_id = display_id or _new_id()

    def __repr__(self) -> str:
        return "<DisplayHandle display_id={}>".format(self.display_id)

    def display(self, value: Any, **options: Any) -> None:
        """Show a value as a new output that carries this id."""
        display(value, display_id=self.display_id, **options)

    def update(self, value: Any, **options: Any) -> None:
        """Show a value in place of the output with this id."""
        update_display(value, display_id=self.display_id, **options)


def shell() -> Any:
    """Return IPython's shell; None where the run has no IPython."""
    global _shell  # noqa: PLW0603
    if _shell is False:
        try:
            _shell = make_shell()
        except Exception:
            _shell = None
    return _shell


def display(
    *objects: Any,
    include: Any = None,
    exclude: Any = None,
    metadata: dict[str, Any] | None = None,
    transient: dict[str, Any] | None = None,
    display_id: Any = None,
    raw: bool = False,
    clear: bool = False,
    **more: Any,
) -> DisplayHandle | None:
    """Show objects; with ``display_id`` (True makes an id) return the handle for updates."""
    update = more.pop("update", False)
    if display_id is True or (display_id is None and update):
        display_id = _new_id()
    if clear:
        clear_output(wait=True)
    for value in objects:
        data, form_metadata = (value, {}) if raw else mime_bundle(value)
        selected = {kind: form for kind, form in data.items() if _is_included(kind, include, exclude)}
        if selected:
            publish_display_data(
                selected, {**form_metadata, **(metadata or {})}, transient={"display_id": display_id}, update=update
            )
    return DisplayHandle(display_id) if display_id and not update else None


def update_display(value: Any, *, display_id: Any, **options: Any) -> None:
    """Show a value in place of the output with this id."""
    display(value, display_id=display_id, update=True, **options)


def clear_output(wait: bool = False) -> None:
    """Clear the outputs so far."""
    driver.frame("clear", {"wait": bool(wait)})


def publish_display_data(
    data: dict[str, Any],
    metadata: dict[str, Any] | None = None,
    source: str | None = None,
    transient: dict[str, Any] | None = None,
    update: bool = False,
    **_: Any,
) -> None:
    """Send a bundle to the notebook; of a widget send a picture."""
    display_id = (transient or {}).get("display_id")
    if _WIDGET in data:
        data, display_id = _replace_widget(data, display_id)
    payload: dict[str, Any] = {
        "data": {kind: _convert_to_json(form) for kind, form in data.items()},
        "metadata": metadata or {},
    }
    if display_id:
        payload["id"] = str(display_id)
    kind = "update" if update else "display"
    size = _compute_bundle_size(payload["data"])
    if size > inline_bytes:
        from ..script import offload

        if offload.store_payload(kind, payload):
            return
        import json

        if len(json.dumps(payload)) > MOST_INLINE:
            payload["data"] = {"text/plain": _format_size_notice(payload["data"], size)}
    driver.frame(kind, payload)


def _compute_bundle_size(data: dict[str, Any]) -> int:
    """Return about how many bytes a bundle takes."""
    return sum(len(form) if isinstance(form, str) else len(repr(form)) for form in data.values())


def _format_size_notice(data: dict[str, Any], size: int) -> str:
    text = str(data.get("text/plain", ""))
    return "{}\n(an output of {:,} bytes is too large for the log, and the run has no bucket)".format(
        text, size
    ).strip()


def mime_bundle(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the forms of an object by MIME type, and the metadata; a form that fails is omitted.

    The forms are IPython's, if the run has IPython; nothing for an object that displays itself.
    """
    if not (_shell is False and type(value) in _PLAIN) and shell():
        bundle: tuple[dict[str, Any], dict[str, Any]] = _shell.display_formatter.format(value)
        return bundle
    data, metadata = _read_mime_bundle(value)
    for kind, name in METHODS.items():
        if kind not in data:
            _add_form(data, metadata, kind, _call_method(value, name))
    for make_forms in (_render_figure, _render_plotly):
        for kind, form in make_forms(value, data).items():
            if form is not None:
                data.setdefault(kind, form)
    data.setdefault("text/plain", plain_text(value))
    return data, metadata


def _replace_widget(data: dict[str, Any], display_id: Any) -> tuple[dict[str, Any], str]:
    """Return a bundle with the picture of a widget, whose model is only in the run, and the id of the output."""
    model = data[_WIDGET].get("model_id")
    widget = getattr(sys.modules.get("ipywidgets.widgets.widget"), "_instances", {}).get(model)
    display_id = str(display_id or model)
    driver.widgets[display_id] = widget
    return {
        **{kind: form for kind, form in data.items() if kind != _WIDGET},
        "text/html": _render_still_picture(widget),
    }, display_id


def show_result(value: Any) -> None:
    """Show the value of a last expression."""
    data, metadata = mime_bundle(value)
    if data:
        publish_display_data(data, metadata)


def _render_still_picture(value: Any) -> str:
    """Return the HTML of a widget as a still picture."""
    from html import escape

    parts = [
        _render_widget(part) or "<code>{}</code>".format(escape(plain_text(part))) for part in _list_leaf_widgets(value)
    ]
    return "".join(map("<div>{}</div>".format, parts)) + _NOTE


#: HTML below a still picture of an interactive output.
_NOTE = "<div><small>Not interactive: widgets need a kernel on the machine. Add one: %lk_kernel add A100</small></div>"


def still_image(png: bytes) -> str:
    """Return the HTML of a still picture of an interactive output."""
    return '<img src="data:image/png;base64,{}">{}'.format(b2a_base64(png, newline=False).decode(), _NOTE)


def _list_leaf_widgets(value: Any, ancestors: tuple[int, ...] = ()) -> list[Any]:
    """Return a widget, or the widgets inside a container."""
    children = getattr(value, "children", None)
    if not children or id(value) in ancestors:
        return [value]
    return [leaf for child in children for leaf in _list_leaf_widgets(child, (*ancestors, id(value)))]


def _render_widget(widget: Any) -> str:
    """Return the HTML of a widget in the current state; empty for a widget without such a form."""
    content: Any
    model, content = getattr(widget, "_model_name", ""), getattr(widget, "value", None)
    if model in ("HTMLModel", "HTMLMathModel"):
        return str(content)
    if model == "ImageModel" and content:
        kind = "image/" + str(getattr(widget, "format", "png"))
        return '<img src="data:{};base64,{}">'.format(kind, b2a_base64(bytes(content), newline=False).decode())
    if model == "OutputModel":
        return "&nbsp;"
    form = _render_control(widget, model.replace("Model", ""), content)
    return form and "<label>{} {}</label>".format(_escape_html(getattr(widget, "description", "")), form)


def _render_control(widget: Any, kind: str, content: Any) -> str:  # noqa: PLR0911 (one for each kind)
    """Return the HTML of a control that shows a value."""

    def attribute(name: str) -> str:
        return _escape_html(getattr(widget, name, ""))

    if kind.endswith("RangeSlider"):
        return "{} to {}".format(*map(_escape_html, content))
    if kind.endswith(("Slider", "Progress")):
        form = '<progress max="{1}" value="{2}"></progress>'
        if kind.endswith("Slider"):
            form = '<input type="range" disabled min="{0}" max="{1}" value="{2}"> {2}'
        return form.format(attribute("min"), attribute("max"), attribute("value"))
    if kind in ("Checkbox", "Valid"):
        return '<input type="checkbox" disabled{}>'.format(" checked" if content else "")
    if kind in ("Button", "ToggleButton"):
        return '<button type="button" disabled>{}</button>'.format(attribute("description"))
    if hasattr(widget, "options"):
        chosen = getattr(widget, "label", None)
        options = "".join(
            "<option{}>{}</option>".format(" selected" if label == chosen else "", _escape_html(label))
            for label in _list_option_labels(widget.options)
        )
        return "<select disabled>{}</select>".format(options)
    if kind == "Label":
        return attribute("value")
    if "Text" in kind:
        return '<input disabled value="{}">'.format(attribute("value"))
    return ""


def _list_option_labels(options: Any) -> list[str]:
    """Return the labels of the options of a widget: a dict, pairs of label and value, or values."""
    is_pair = all(isinstance(option, (tuple, list)) and len(option) == 2 for option in options)
    return [str(option[0] if is_pair and not isinstance(options, dict) else option) for option in options]


def _escape_html(value: Any) -> str:
    from html import escape

    return escape(str(value))


def _read_mime_bundle(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    bundle = _call_method(value, "_repr_mimebundle_", include=None, exclude=None)
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    return (dict(data), dict(metadata or {})) if isinstance(data, dict) else ({}, {})


def _call_method(value: Any, name: str, **arguments: Any) -> Any:
    """Call a method of an instance; return None for a class or without the method."""
    if isinstance(value, type) or not callable(getattr(type(value), name, None)):
        return None
    try:
        return getattr(value, name)(**arguments)
    except NotImplementedError:
        return None
    except Exception as error:
        show_survived(error)
        return None


def _add_form(data: dict[str, Any], metadata: dict[str, Any], kind: str, form_result: Any) -> None:
    form, about = form_result if isinstance(form_result, tuple) else (form_result, None)
    if form is not None:
        data[kind] = form
    if about:
        metadata[kind] = about


def _render_figure(value: Any, data: dict[str, Any]) -> dict[str, Any]:
    figure = sys.modules.get("matplotlib.figure")
    if figure is None or not isinstance(value, figure.Figure) or "image/png" in data:
        return {}
    return {"image/png": draw_png(value)}


def _render_plotly(value: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Return a picture or a page for notebooks that do not know plotly's own form."""
    plotly = sys.modules.get("plotly.basedatatypes")
    if plotly is None or not isinstance(value, plotly.BaseFigure):
        return {}
    import json

    forms = {_PLOTLY: json.loads(value.to_json()), "text/plain": "Figure({} traces)".format(len(value.data))}
    data.pop("text/html", None)
    try:
        forms["image/png"] = value.to_image("png")  # where kaleido is installed
    except Exception:
        forms["text/html"] = value.to_html(full_html=False, include_plotlyjs="cdn")
    return forms


def plain_text(value: Any) -> str:
    """Return an object as text: the repr, on several lines if too long for one line."""
    try:
        if type(value) in (list, tuple, set, frozenset, dict) and len(value) > ITEMS_LIMIT:
            return "{} of {:,} items".format(type(value).__name__, len(value))
        text = repr(value)
        if len(text) > 79 and type(value) in (list, tuple, set, frozenset, dict):
            import pprint

            text = pprint.pformat(value, width=79, compact=True, sort_dicts=False)
    except Exception as problem:
        text = "<{} without a repr: {!r}>".format(type(value).__name__, problem)
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"


def _is_included(kind: str, include: Any, exclude: Any) -> bool:
    return (not include or kind in include) and not (exclude and kind in exclude)


def _convert_to_json(form: Any) -> Any:
    if isinstance(form, (bytes, bytearray)):
        return b2a_base64(bytes(form), newline=False).decode()
    if isinstance(form, (str, type(None))):
        return form
    import json

    return json.loads(
        json.dumps(form, default=_convert_for_json), parse_constant=lambda _: None
    )  # notebooks know no NaN


def _convert_for_json(value: Any) -> Any:
    """Return an object as JSON that JSON lacks: arrays as lists, any other object as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _new_id() -> str:
    global _ids  # noqa: PLW0603
    _ids += 1
    return "lk-{}".format(_ids)
