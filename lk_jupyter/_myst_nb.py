"""Render the outputs of runs on pages of MyST-NB: the HTML is shown, and the data of the Lab extension is left out."""

from __future__ import annotations

from typing import Any

from lk_jupyter.magics._output.live import RUN_MIME


class RunOutputs:
    """How MyST-NB renders each MIME type of an output."""

    mime_priority_overrides: tuple[tuple[str, str, int | None], ...] = ()

    @staticmethod
    def handle_mime(renderer: object, data: Any, inline: object) -> list[Any] | None:  # noqa: ARG004 (its protocol)
        """Return an empty list for the data of a run; None for other data."""
        return [] if data.mime_type == RUN_MIME else None
