"""A kernel on a machine of the cloud: used as any kernel is, and its bill ends with it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.journal.journal import journal
from lk_jupyter.kernels import specs

pytestmark = [
    pytest.mark.xdist_group("hosted"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*(socket|event_loop|EventLoop)"
    ),  # jupyter_client's own loop
]


def added(machine="A100", **config):
    with lk_jupyter.connect() as session:
        return specs.add(session.machines().resolve(machine), {"idle": 20, **config}).name


def billed(cloud, run):
    return cloud.client.execution.get(run).billed


def test_it_is_used_interrupted_restarted_and_shut_down_and_then_bills_no_more(user, use, going_on, until):
    kernel = use(added())
    (run,) = going_on()
    assert (run.hardware_profile, run.run_name) == ("gpu.a100", "Python on A100, 1.59/h")
    assert kernel.run("x = 6 * 7; print(x)") == "42\n"
    assert kernel.run("'value'") == "'value'"
    assert "ZeroDivisionError" in kernel.run("1/0") or "division by zero" in kernel.run("1/0")
    assert kernel.client.complete("impo", reply=True, timeout=PATIENCE)["content"]["matches"] == ["import"]

    def answer(message):
        kernel.client.input("typed")

    kernel.client.execute_interactive("got = input('what? ')", allow_stdin=True, stdin_hook=answer, timeout=PATIENCE)
    assert kernel.run("print(got)") == "typed\n"

    sleeper = "import time\ntry:\n    print('on')\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    caught = True"
    kernel.client.execute(sleeper)
    while kernel.client.get_iopub_msg(timeout=PATIENCE)["content"].get("text") != "on\n":
        pass
    kernel.manager.interrupt_kernel()  # here: in another thread it makes an event loop that nobody closes
    assert kernel.run("print(caught, x)") == "True 42\n"

    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=PATIENCE)
    assert "name 'x' is not defined" in kernel.run("x")
    assert [still.execution_id for still in going_on()] == [run.execution_id]

    kernel.manager.shutdown_kernel()
    record = until(lambda: (now := user.client.execution.get(run.execution_id)).status == "cancelled" and now)
    assert going_on() == []
    assert record.billed == billed(user, run.execution_id) > 0


def test_a_machine_is_given_back_when_nothing_ran_for_a_while_and_a_restart_takes_a_new_one(user, use, going_on, until):
    kernel = use(added("cpu", idle=0.05))
    longer = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: time.sleep(.05)\nprint('done')"
    assert kernel.run(longer) == "done\n"
    until(lambda: not going_on())
    assert kernel.manager.is_alive()
    shown = kernel.run("1")
    assert shown.startswith("The machine was released after 0.05 minutes without work. Restart the kernel")
    assert going_on() == []
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=PATIENCE)
    until(lambda: not going_on())  # and that one too


def test_a_machine_that_was_stopped_elsewhere_is_missed_and_its_credits_limit_its_time(user, use, going_on, until):
    kernel = use(added(max_cost="0.05"))
    (run,) = going_on()
    assert journal().get(run.execution_id).request["timeout"] == 112  # what 0.05 credits are good for at 1.59 an hour
    user.client.workloads.abort(run.execution_id)
    until(lambda: "The machine is gone: aborted. Restart the kernel" in kernel.run("1"))
    assert kernel.manager.is_alive()


def test_a_machine_stops_when_the_jupyter_that_started_it_is_killed(user, going_on, until):
    name = added("cpu")
    program = f"""
import os, time
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name={name!r})
manager.start_kernel()
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        assert len(going_on()) == 1
        process.kill()
    until(lambda: not going_on())


def test_a_start_that_fails_says_why_and_leaves_no_machine(user, going_on):
    from jupyter_client.manager import KernelManager  # noqa: PLC0415

    name = added("cpu", image="python:3.11")  # no Jupyter server, and here no engine either
    with pytest.raises(Exception, match="podman or docker is missing"):
        KernelManager(kernel_name=name).start_kernel()
    assert going_on() == []


def test_a_kernel_is_added_listed_and_removed(user, home):
    name = added("A100", max_cost="2")
    spec = json.loads((home / "jupyter" / "data" / "kernels" / name / "kernel.json").read_text())
    assert spec["display_name"] == "Python on A100, 1.59/h"
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "lk-cloud"
    assert [kernel.title for kernel in specs.installed()] == ["Python on A100, 1.59/h"]
    assert specs.remove("A100").name == name
    assert list(specs.installed()) == []
    with pytest.raises(lk_jupyter.errors.UsageError, match="Unknown kernel 'A100'"):
        specs.remove("A100")


def test_a_kernel_that_dies_ends_its_cell_and_its_machine_is_given_back_when_nobody_goes_on_with_it(
    user, use, going_on, until
):
    kernel = use(added("cpu", idle=0.05))
    message = kernel.client.execute("import os; os._exit(1)")
    while (reply := kernel.client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != message:
        pass  # those to the questions whether it is ready
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KernelDied")
    states = []
    while "restarting" not in states:
        heard = kernel.client.get_iopub_msg(timeout=PATIENCE)
        states += [heard["content"]["execution_state"]] if heard["msg_type"] == "status" else []
    until(lambda: not going_on())


def test_after_the_death_of_a_kernel_its_machine_has_a_new_one(user, use, going_on):
    kernel = use(added("cpu"))
    (run,) = going_on()
    assert "The kernel died." in kernel.run("x = 1\nimport os; os._exit(1)")
    assert "name 'x' is not defined" in kernel.run("x")
    assert [still.execution_id for still in going_on()] == [run.execution_id]


def test_who_listens_is_welcomed_as_by_ipykernel(user, use):
    kernel = use(added("cpu"))
    assert kernel.run("print('heard')") == "heard\n"  # by a client who goes on listening
    listener = kernel.manager.client()
    listener.session.session = "another"
    listener.iopub_channel.start()
    try:
        heard = [listener.get_iopub_msg(timeout=PATIENCE)]
        while heard[-1]["msg_type"] != "iopub_welcome":
            heard.append(listener.get_iopub_msg(timeout=PATIENCE))
    finally:
        listener.stop_channels()
    assert heard[-1]["content"] == {"subscription": ""}
