"""Continue runs on VMs and relays whose process has ended: start a driver for each run without a driver."""

from __future__ import annotations

import asyncio


async def continue_runs() -> None:
    """Start a driver for each run on a VM and each relay that no process drives and that has not ended."""
    from lk_jupyter.journal.drivers import start_missing_drivers  # noqa: PLC0415 (not before the first look)

    await asyncio.to_thread(start_missing_drivers)
