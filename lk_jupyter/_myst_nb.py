"""The outputs of runs on pages that MyST-NB builds: their HTML is shown, and the data next to it is left out."""

from __future__ import annotations

from typing import Any

from lk_jupyter.magics._output.live import RUN_MIME


class RunOutputs:
    """How MyST-NB renders each MIME type of an output."""

    mime_priority_overrides: tuple[tuple[str, str, int | None], ...] = ()

    @staticmethod
    def handle_mime(renderer: object, data: Any, inline: object) -> list[Any] | None:  # noqa: ARG004 (its protocol)
        """Return nothing to show for the data of a run; None for what is not of a run."""
        return [] if data.mime_type == RUN_MIME else None
