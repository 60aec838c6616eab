"""Widgets for notebooks: each widget is a call, refreshes while visible, and leaves its last state in the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter._lazy import lazily

if TYPE_CHECKING:
    from lk_jupyter.widgets.balance import Balance
    from lk_jupyter.widgets.chat import Chat
    from lk_jupyter.widgets.form import form_for
    from lk_jupyter.widgets.login import Login
    from lk_jupyter.widgets.machine_picker import MachinePicker
    from lk_jupyter.widgets.run_metrics import RunMetrics
    from lk_jupyter.widgets.run_view import RunView
    from lk_jupyter.widgets.runs import Runs
    from lk_jupyter.widgets.storage_browser import StorageBrowser

__all__ = ["Balance", "Chat", "Login", "MachinePicker", "RunMetrics", "RunView", "Runs", "StorageBrowser", "form_for"]

_HOMES = {
    "Balance": "lk_jupyter.widgets.balance",
    "Chat": "lk_jupyter.widgets.chat",
    "Login": "lk_jupyter.widgets.login",
    "MachinePicker": "lk_jupyter.widgets.machine_picker",
    "RunMetrics": "lk_jupyter.widgets.run_metrics",
    "RunView": "lk_jupyter.widgets.run_view",
    "Runs": "lk_jupyter.widgets.runs",
    "StorageBrowser": "lk_jupyter.widgets.storage_browser",
    "form_for": "lk_jupyter.widgets.form",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
