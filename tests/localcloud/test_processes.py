"""Children of the local cloud, and orphans of runs that become its children."""

import asyncio
import subprocess
import sys

from lk_jupyter.localcloud.runs import processes

ENDS_WITH_SEVEN = [sys.executable, "-c", "import sys; sys.exit(7)"]


def test_a_child_keeps_its_exit_code_while_orphans_are_reaped():
    async def codes():
        children = [await processes.spawn(ENDS_WITH_SEVEN, stdout=subprocess.DEVNULL) for _ in range(4)]
        ends = asyncio.gather(*(child.wait() for child in children))
        while not ends.done():
            await asyncio.to_thread(processes.kill_run, "no run has this id")
        return await ends

    assert asyncio.run(codes()) == [7, 7, 7, 7]
