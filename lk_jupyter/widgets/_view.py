"""What all widgets have in common.

A widget is a subclass of :class:`View`. Its traits (``.tag(sync=True)``) are the state, which the
component of the same name in ``labextension/src/widgets`` draws. The browser asks for ``refresh``
every ``every`` milliseconds while somebody sees the widget, and for other actions when somebody
uses it: each is a method marked with :func:`action` or :func:`errand`, runs in a thread of its own, and what it
raises is told in ``notice``. After each the picture of the widget in the notebook is made anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anywidget
from traitlets import Bool, Dict, Int

from lk_jupyter.errors import LkError
from lk_jupyter.runs.redact import redact
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._publish import Place

STATIC = Path(__file__).parent / "static"
OURS = "application/vnd.lk-jupyter.view+json"
LIVING = "application/vnd.jupyter.widget-view+json"

#: What Visual Studio Code and Databricks set in the environment of their kernels.
NOT_JUPYTER = ("VSCODE_PID", "VSCODE_CWD", "DATABRICKS_RUNTIME_VERSION")

#: Seconds for which showing a widget waits for what it shows.
PATIENCE = 2.0

_workers = ThreadPoolExecutor(16, thread_name_prefix="lk-widget")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def action(method: _Method) -> _Method:
    """Let somebody ask for this method by its name; what was said before is no longer said."""
    method.__lk_action__ = "somebody"  # type: ignore[attr-defined]
    return method


def errand(method: _Method) -> _Method:
    """Let the browser ask for this method by itself; what was said before stays."""
    method.__lk_action__ = "itself"  # type: ignore[attr-defined]
    return method


def _elsewhere() -> bool:
    """Whether the notebook is open in what is not Jupyter, which knows the type of ipywidgets but not ours."""
    return "google.colab" in sys.modules or any(name in os.environ for name in NOT_JUPYTER)


class View(anywidget.AnyWidget):
    """A widget of this package. Subclasses name their component, and say how they load and what they leave."""

    component: ClassVar[str]
    _css = STATIC / "widgets.css"

    every = Int(0, help="milliseconds between two refreshes while it is seen; 0 for none").tag(sync=True)
    lost = Bool(help="whether the last loading failed; the browser tries again soon").tag(sync=True)
    notice = Dict({"kind": "info", "text": ""}, help="what is to be said in words").tag(sync=True)

    def __init_subclass__(cls, **options: Any) -> None:
        """Take the browser half that is built from the component's source."""
        if "component" in cls.__dict__:
            cls._esm = STATIC / f"{cls.component}.js"
        super().__init_subclass__(**options)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._places: list[Place] = []
        self._last: tuple[Picture | None, dict[str, Any]] = (None, {})
        self.on_msg(lambda _, content, buffers: _workers.submit(self._answer, content, buffers))

    def load(self) -> None:
        """Fetch what the widget shows and set the traits; errors of this package become the notice."""

    def picture(self) -> Picture:
        """Return what the widget leaves in the notebook, made of the traits alone."""
        raise NotImplementedError

    @errand
    def refresh(self) -> None:
        """Load anew; that it failed before is no longer said, other words stay."""
        was_lost, is_lost = self.lost, True
        try:
            self.load()
            is_lost = False
        finally:
            self.lost = is_lost
        if was_lost:
            self.say("")

    def say(self, text: str, kind: str = "info") -> None:
        """Say something in words below the widget: as ``info``, ``warning`` or ``error``."""
        self.notice = {"kind": kind, "text": redact(text)}

    def _ipython_display_(self) -> None:
        """Show the widget with its picture beside it, as soon as there is something to see."""
        wait([_workers.submit(self._attempt, self.refresh)], PATIENCE)
        place = Place(self._bundle)
        place.show()
        self._places.append(place)

    def __repr__(self) -> str:
        return self.picture().text

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle(), {}

    def _bundle(self) -> dict[str, Any]:
        living = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        types = {LIVING: living} if _elsewhere() else {OURS: {"model_id": self.model_id}}
        return {**types, **self._left()}

    def _left(self) -> dict[str, Any]:
        """Return the picture by media type; what is plotted is so once for each state."""
        picture = self.picture()
        last, bundle = self._last
        if last != picture or (picture.png and not last.png):
            bundle = picture.bundle()
            self._last = picture, bundle
        return bundle

    def _answer(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Do what the browser asks for, and tell it what came of it."""
        method = getattr(type(self), str(content.get("do")), None)
        asked_by = getattr(method, "__lk_action__", "")
        if method is None or not asked_by:
            return
        if asked_by == "somebody":
            self.say("")
        arguments = dict(content.get("args") or {})
        if buffers:
            arguments["content"] = buffers
        result = self._attempt(lambda: method(self, **arguments))
        self.send({"answer": content.get("question"), **result})

    def _attempt(self, work: Callable[[], Any]) -> dict[str, Any]:
        try:
            result = {"result": work()}
        except LkError as problem:
            result = self._told(str(problem))
        except Exception as problem:  # noqa: BLE001 (a widget has nobody else to tell it)
            result = self._told(f"{type(problem).__name__}: {problem}")
        for place in self._places:
            place.changed()
        return result

    def _told(self, problem: str) -> dict[str, Any]:
        self.say(problem, "error")
        return {"error": redact(problem)}
