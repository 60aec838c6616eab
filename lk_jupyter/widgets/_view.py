"""The base class of all widgets.

A widget is a subclass of :class:`View`. The traits (``.tag(sync=True)``) are the state, which the component of the same
name in ``labextension/src/widgets`` draws. The browser calls ``refresh`` every ``every`` milliseconds while the widget
is visible, and other actions when a user clicks: each action is a method marked with :func:`user_action` or
:func:`background_action` and runs in a separate thread; ``notice`` reports errors. After each action the picture of the
widget in the notebook is updated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, TypeVar

from ipywidgets import DOMWidget
from traitlets import Bool, Dict, Int, Unicode, default

from lk_jupyter._extras import build_extra_command
from lk_jupyter.errors import LkError
from lk_jupyter.text.secrets import redact
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets._publish import DisplayPlace, has_extension, is_lab_cell, is_unattended

STATIC = Path(__file__).parent / "static"
LIVING = "application/vnd.jupyter.widget-view+json"

#: Key of our extension of JupyterLab and Notebook in the metadata of an output.
METADATA_KEY = "lk_jupyter"

#: Advice for a live widget: in a page that can draw the widget, and in other pages.
RERUN = "Run the cell again for live widgets."
INSTALL = "Live widget: <code>{}</code>, then restart the kernel."

#: Seconds that the display of a widget waits for its first data.
PATIENCE = 2.0

_workers = ThreadPoolExecutor(16, thread_name_prefix="lk-widget")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def user_action(method: _Method) -> _Method:
    """Let a user call this method from the page; the call clears the notice."""
    method.__lk_action__ = "somebody"  # type: ignore[attr-defined]
    return method


def background_action(method: _Method) -> _Method:
    """Let the browser call this method automatically; the notice stays."""
    method.__lk_action__ = "itself"  # type: ignore[attr-defined]
    return method


#: The module of our browser extension, and the versions that draw these widgets. No CDN can have a package with this
#: name, since npm doesn't allow the name: a page without the extension loads no foreign code.
MODULE = "_lk-jupyter"
MODULE_VERSION = "^1.0.0"


def _picture_caption(advice: str) -> str:
    """Return the caption of a picture: its time, and how to get the live widget."""
    now = f"{datetime.now():%d %b, %H:%M}"  # noqa: DTZ005 (local)
    return f'<p style="color: var(--jp-ui-font-color2)">Snapshot from {now}. {advice}</p>'


@cache
def _make_portable(view: type[View]) -> type[View]:
    """Return a class whose widgets contain their code, for pages without our extension.

    Without anywidget, return the class unchanged: such pages show the picture.
    """
    try:
        from anywidget import AnyWidget  # noqa: PLC0415 (an extra)
    except ModuleNotFoundError:
        return view
    representations = {"__repr__": view.__repr__, "_repr_mimebundle_": view._repr_mimebundle_}
    code = {"_esm": STATIC / f"{view.component}.js", "_css": STATIC / "widgets.css", "carries_code": True}
    return type(view.__name__, (AnyWidget, view), {"__module__": view.__module__, **representations, **code})


class View(DOMWidget):  # type: ignore[misc]  # ipywidgets has no types
    """A widget of this package. Subclasses define the component, the loading of data, and the picture.

    The code is in our browser extension, not in the state of the widget: a page with the extension executes no code
    from a notebook or a kernel. Pages without the extension get the code through anywidget, or else a picture.
    """

    component: ClassVar[str]
    carries_code: ClassVar[bool] = False

    _model_name = Unicode("Model").tag(sync=True)
    _model_module = Unicode(MODULE).tag(sync=True)
    _model_module_version = Unicode(MODULE_VERSION).tag(sync=True)
    _view_name = Unicode().tag(sync=True)
    _view_module = Unicode(MODULE).tag(sync=True)
    _view_module_version = Unicode(MODULE_VERSION).tag(sync=True)

    every = Int(0, help="milliseconds between two refreshes of a visible widget; 0 for no refresh").tag(sync=True)
    lost = Bool(help="whether the last loading failed; the browser tries again soon").tag(sync=True)
    notice = Dict({"kind": "info", "text": ""}, help="a notice in words").tag(sync=True)

    def __new__(cls, *args: Any, **traits: Any) -> View:  # noqa: PYI034 (a subclass of it)
        """Create a widget for the page that sent the cell."""
        suits = has_extension() or is_unattended()
        view: View = super().__new__(cls if suits else _make_portable(cls), *args, **traits)  # type: ignore[arg-type]
        view._sending = RLock()
        return view

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._places: list[DisplayPlace] = []
        self._last: tuple[StaticView | None, dict[str, Any]] = (None, {})
        self.on_msg(lambda _, content, buffers: _workers.submit(self._answer_request, content, buffers))

    @default("_view_name")
    def _component_name(self) -> str:
        return self.component

    def open(self) -> None:
        """Connect the widget to a page that can draw the widget: others would look for our extension on a CDN."""
        if self._can_show_live():
            self._connect()

    @property
    def model_id(self) -> str:
        """The id of the widget in the page, for a widget that contains this widget."""
        if self.comm is None:
            self._connect()
        return str(self.comm.comm_id)

    def _connect(self) -> None:
        super().open()
        # ipykernel 7.4 sends the page's messages to the shell of this widget's last message, not to the shell that the
        # page selects; if that was a cell's shell, clicks waited for the end of the next cell.
        self.comm._reply_subshell_for = lambda _, named: named

    def _can_show_live(self) -> bool:
        return not is_unattended() and (self.carries_code or has_extension())

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send all changes inside the block together at the end; other threads wait with their changes.

        ipywidgets has a single list of pending changes, and forgets changes of other threads during a send.
        """
        with self._sending, super().hold_sync():
            yield

    def _should_send_property(self, key: str, value: Any) -> bool:
        with self._sending:
            return bool(super()._should_send_property(key, value))

    def send_state(self, key: Any = None) -> None:
        """Send the present values of all or some traits; of two threads, the later sends the newer values."""
        with self._sending:
            super().send_state(key)

    def load(self) -> None:
        """Load the data of the widget and set the traits; errors of this package become the notice."""

    def picture(self) -> StaticView:
        """Return the picture for the notebook, made from the traits alone."""
        raise NotImplementedError

    @background_action
    def refresh(self) -> None:
        """Load again; a success clears the notice of an earlier failed refresh, other notices stay."""
        was_lost, is_lost = self.lost, True
        try:
            self.load()
            is_lost = False
        finally:
            self.lost = is_lost
        if was_lost:
            self.say("")

    def say(self, text: str, kind: str = "info") -> None:
        """Show a text below the widget, as ``info``, ``warning`` or ``error``."""
        self.notice = {"kind": kind, "text": redact(text)}

    def _ipython_display_(self) -> None:
        """Show the widget with its picture, after the first load or PATIENCE."""
        wait([_workers.submit(self._call_and_report, self.refresh)], PATIENCE)
        living, metadata = self._live_bundle()
        place = DisplayPlace(lambda: {**living, **self._picture_bundle()}, metadata)
        place.show()
        self._places.append(place)

    def __repr__(self) -> str:
        return self.picture().text

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        living, metadata = self._live_bundle()
        return {**living, **self._picture_bundle()}, metadata

    def _live_bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the data or the metadata that make a front end show the live widget.

        Without the type of ipywidgets in the data, other front ends show the picture, as nbconvert's HTML must.
        """
        if is_lab_cell():
            return {}, {METADATA_KEY: {"view": self.model_id}}
        if not self._can_show_live():
            return {}, {}
        return {LIVING: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}, {}

    def _picture_bundle(self) -> dict[str, Any]:
        """Return the picture by media type; plots are drawn once for each state."""
        picture = self.picture()
        last, bundle = self._last
        if last != picture or (picture.png and not last.png):
            bundle = picture.bundle()
            is_live = is_unattended() or self._can_show_live()
            command = escape(build_extra_command("anywidget"), quote=False)
            bundle["text/html"] += _picture_caption(RERUN if is_live else INSTALL.format(command))
            self._last = picture, bundle
        return bundle

    def _answer_request(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Execute the action that the browser requests, and send the result."""
        method = getattr(type(self), str(content.get("do")), None)
        origin = getattr(method, "__lk_action__", "")
        if method is None or not origin:
            return
        if origin == "somebody":
            self.say("")
        arguments = dict(content.get("args") or {})
        if buffers:
            arguments["content"] = buffers
        result = self._call_and_report(lambda: method(self, **arguments))
        self.send({"answer": content.get("question"), **result})

    def _call_and_report(self, work: Callable[[], Any]) -> dict[str, Any]:
        try:
            result = {"result": work()}
        except LkError as problem:
            result = self._error_reply(str(problem))
        except Exception as problem:  # noqa: BLE001 (a widget has nobody else to tell it)
            result = self._error_reply(f"{type(problem).__name__}: {problem}")
        for place in self._places:
            place.publish_soon()
        return result

    def _error_reply(self, problem: str) -> dict[str, Any]:
        self.say(problem, "error")
        return {"error": redact(problem)}
