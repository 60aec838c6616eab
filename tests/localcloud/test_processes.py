"""Children of the local cloud, and orphans of runs that become its children."""

import asyncio
import subprocess
import sys

import psutil

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


def test_a_run_is_killed_from_its_first_process_down_so_that_no_shell_goes_on(monkeypatch):
    killed, kill = [], psutil.Process.kill

    def noted(process):
        killed.append(process.pid)
        kill(process)

    monkeypatch.setattr(psutil.Process, "kill", noted)
    nested = "echo $$; sh -c 'echo $$; sh -c \"echo \\$\\$; sleep 100; echo on\"; echo on'; echo on"
    command = ["/bin/sh", "-c", nested]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as leader:
        shells = [int(leader.stdout.readline()) for _ in range(3)]
        processes.kill_run("no run has this id", leader.pid)
        assert leader.stdout.read() == ""
    assert [pid for pid in dict.fromkeys(killed) if pid in shells] == shells
