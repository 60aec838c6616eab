"""The third layer of release: the Jupyter server deletes VMs of runs whose notebook and supervisor have ended."""

import asyncio
import subprocess
import sys

import pytest
from vms.on_vm import active_keys, facts_of, living, start, until

from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.runs.run import Run
from lk_jupyter.serverext import account
from lk_jupyter.serverext.upstream_provider import UpstreamProvider
from lk_jupyter.serverext.vm_release import overdue_lines, release_overdue
from lk_jupyter.vms import facts, hosted

pytest.importorskip("asyncssh")
pytest.importorskip("jupyter_server")

#: Rents a VM and sends no code; its detached driver is killed, and no file has the code.
PROGRAM = """
import lk_jupyter
from lk_jupyter.journal import drivers
from lk_jupyter.vms import facts, hosted
hosted.VmRun.start = lambda *_, **__: None
run_id = lk_jupyter.connect().run("1", on="vm", gpu="A100", max_cost=5, timeout=7200).execution_id
for driver in sum(drivers._drivers.values(), []):
    driver.kill()
    driver.wait()
facts.job_path(run_id.removeprefix("vm-")).unlink()
print(run_id)
"""


async def look():
    """Let the server look for overdue VMs once; return the lines that the panel had before."""
    desk = UpstreamProvider()
    content = await account._compute_burn_rate(await desk.upstream())
    await release_overdue(desk)
    await desk.look_again()
    return content["overdue"]


def test_the_server_deletes_a_vm_whose_notebook_ended_before_its_code_was_sent(session, vms, monkeypatch):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    run = Run.attach(session, done.stdout.split()[-1])
    assert (overdue_lines(), len(living(vms))) == ([], 1)  # its notebook may start again within some seconds
    monkeypatch.setattr(facts, "RELEASE_SECONDS", 0.0)
    [line] = overdue_lines()
    assert line.startswith(f"VM {facts_of(run).vm_id[:8]} should already be deleted, but may still be billed: about ")
    overdue = asyncio.run(look())
    assert [text.partition(": about")[0] for text in overdue] == [line.partition(": about")[0]]
    assert (living(vms), overdue_lines(), facts_of(run).is_deleted) == ([], [], True)
    assert (run.status, run.cost) == ("system_failure", facts_of(run).billed)


@pytest.mark.nightly
def test_the_server_deletes_a_vm_without_a_supervisor_after_its_time_and_a_lost_deletion_later(
    session, vms, monkeypatch
):
    run = start(session, "print('started', flush=True); import time; time.sleep(600)")
    next(iter(run.follow()))
    vm_run = hosted.open_run(session, run.execution_id)
    vm_run._open_shell().run(f"kill -9 $(cat .lk/{vm_run.facts.token[:12]}/pid)")
    vm_run._store_facts(ttl=-60.0)
    vm_run._shell.close()
    monkeypatch.setattr(facts, "RELEASE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(hosted.VmRun, "delete", refuse)
        asyncio.run(look())
        assert (len(living(vms)), len(overdue_lines())) == (1, 1)
    asyncio.run(look())
    until(lambda: not living(vms))
    assert (overdue_lines(), active_keys(vms)) == ([], [])


def refuse(_run):
    raise ConnectionFailed("The cloud doesn't answer.")


def test_a_run_that_another_process_starts_is_left_to_that_process(session, vms, tmp_path):
    program = (
        f"{PROGRAM}import os, sys, time\nsys.stdout.flush()\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "go")], stdout=subprocess.PIPE, text=True
    ) as child:
        run = Run.attach(session, child.stdout.readline().strip())
        assert run.status == "pending"
        assert len(living(vms)) == 1
        (tmp_path / "go").touch()
        child.wait()
    until(lambda: run.status == "system_failure")
    assert living(vms) == []
    assert not facts.lock_path(facts_of(run).token).exists()
