"""A kernel on a machine of the cloud: used as any kernel is, and its bill ends with it."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal

import pexpect
import psutil
import pytest
from cloud_process import PROCESSES, forked, start_kernel
from kernels.conftest import Used
from magics.kernels import wait_until_restarted
from patience import PATIENCE
from received_folder import importable_names, write_modules
from tornado.web import HTTPError

import lk_jupyter
from lk_jupyter.journal.journal import journal
from lk_jupyter.kernels import specs
from lk_jupyter.runs.notebooks.servers import read_password

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


def welcome_of(kernel):
    """Return what another client hears first, as from ipykernel; one goes on listening."""
    listener = kernel.manager.client()
    listener.session.session = "another"
    listener.iopub_channel.start()
    try:
        heard = [listener.get_iopub_msg(timeout=PATIENCE)]
        while heard[-1]["msg_type"] != "iopub_welcome":
            heard.append(listener.get_iopub_msg(timeout=PATIENCE))
    finally:
        listener.stop_channels()
    return heard[-1]["content"]


def test_it_is_used_interrupted_dies_is_restarted_and_shut_down_and_then_bills_no_more(user, use, going_on, until):
    kernel = use(added())
    (run,) = going_on()
    assert (run.hardware_profile, run.run_name) == ("gpu.a100", "Python on A100, 1.59 credits/h")
    with lk_jupyter.connect() as session:
        password = read_password(session.get(run.execution_id))
    shown = [str(process.info) for process in psutil.process_iter(["cmdline", "environ"])]
    assert [line for line in shown if password in line] == []
    assert kernel.run("x = 6 * 7; print(x)") == "42\n"
    assert kernel.run("'value'") == "'value'"
    assert "ZeroDivisionError" in kernel.run("1/0") or "division by zero" in kernel.run("1/0")
    kernel.run("%config Completer.use_jedi = False")  # it would first read all of Python's own library, for 5 s
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
    assert welcome_of(kernel) == {"subscription": ""}

    assert "The kernel died." in kernel.run("import os; os._exit(1)")
    wait_until_restarted(kernel.client)
    assert "name 'x' is not defined" in kernel.run("x")
    assert [still.execution_id for still in going_on()] == [run.execution_id]
    kernel.run("x = 1")
    kernel.manager.restart_kernel()
    wait_until_restarted(kernel.client)
    assert "name 'x' is not defined" in kernel.run("x")
    assert [still.execution_id for still in going_on()] == [run.execution_id]

    kernel.manager.shutdown_kernel()
    record = until(lambda: (now := user.client.execution.get(run.execution_id)).status == "cancelled" and now)
    assert going_on() == []
    assert record.billed == billed(user, run.execution_id) > 0


def death_of(kernel):
    """Let a kernel die; return the reply to its cell. Who listens hears that it restarts."""
    message = kernel.client.execute("import os; os._exit(1)")
    while (reply := kernel.client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != message:
        pass  # those to the questions whether it is ready
    states = []
    while "restarting" not in states:
        heard = kernel.client.get_iopub_msg(timeout=PATIENCE)
        states += [heard["content"]["execution_state"]] if heard["msg_type"] == "status" else []
    return reply["content"]


def test_a_machine_is_given_back_when_nothing_ran_for_a_while_as_is_the_new_one_of_a_restart_whose_kernel_dies(
    user, use, going_on, until
):
    kernel = use(added("cpu", idle=0.05))
    longer = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: time.sleep(.05)\nprint('done')"
    assert kernel.run(longer) == "done\n"
    until(lambda: not going_on())
    assert kernel.manager.is_alive()
    shown = kernel.run("1")
    assert shown.startswith("The machine was released after 3 s without work. To get a new machine, restart")
    assert going_on() == []
    kernel.manager.restart_kernel()
    wait_until_restarted(kernel.client)
    ended = death_of(kernel)
    assert (ended["status"], ended["ename"]) == ("error", "KernelDied")
    until(lambda: not going_on())  # nobody goes on with that one


def test_a_machine_that_was_stopped_elsewhere_is_missed_and_its_credits_limit_its_time(user, use, going_on, until):
    kernel = use(added(max_cost="0.05"))
    (run,) = going_on()
    assert journal().get(run.execution_id).request["timeout"] == 112  # what 0.05 credits are good for at 1.59 an hour
    user.client.workloads.abort(run.execution_id)
    until(lambda: "The machine has ended: aborted. To get a new machine, restart" in kernel.run("1"))
    assert kernel.manager.is_alive()


def test_a_machine_stops_when_the_jupyter_that_started_it_is_killed(user, going_on, until):
    name = added("cpu")
    reader, writer = PROCESSES.Pipe(duplex=False)
    process = forked(start_kernel, name, dict(os.environ), writer)
    writer.close()
    with reader:
        assert reader.recv() == "up"
    assert len(going_on()) == 1
    process.kill()
    until(lambda: not going_on())


def refusal_of(name):
    """Start a kernel as nbconvert and papermill do; return why it did not start."""
    with pytest.raises(HTTPError) as refused:
        Used(name)
    return str(refused.value)


def test_a_start_that_nobody_can_be_asked_about_is_refused_and_says_which_setting_allows_it(
    user, going_on, monkeypatch
):
    name = added(max_cost="2")
    monkeypatch.delenv("LK_APPROVED_KERNELS")
    refusal = refusal_of(name)
    assert "A100 wasn't started: no page of JupyterLab or Notebook can show the question." in refusal
    assert "export LK_APPROVED_KERNELS=gpu.a100=2@1.59" in refusal
    for less in ("cpu=unknown", "gpu.a100=0.01@1.59", "gpu.a100=2@1.58", "gpu.a100=unknown"):
        monkeypatch.setenv("LK_APPROVED_KERNELS", less)
        assert f"The setting approved_kernels allows '{less}' only." in refusal_of(name)
    assert going_on() == []


def test_a_kernel_that_was_added_without_a_maximum_cost_has_the_default_one(user, use, going_on, monkeypatch):
    monkeypatch.setattr(specs, "MAX_COST", Decimal("0.05"))
    use(added())
    (run,) = going_on()
    assert journal().get(run.execution_id).request["timeout"] == 112


def test_a_maximum_cost_that_buys_more_time_than_the_cloud_allows_takes_all_that_it_allows(
    user, use, going_on, monkeypatch
):
    monkeypatch.setenv("LK_MAX_TIMEOUT", "86400")
    use(added())
    assert len(going_on()) == 1  # 5 credits buy 3 hours, and the cloud allows 10 minutes


def test_a_restart_that_needs_a_new_machine_needs_permission_again(user, use, going_on, until, monkeypatch):
    kernel = use(added("cpu"))
    (run,) = going_on()
    monkeypatch.delenv("LK_APPROVED_KERNELS")
    kernel.manager.restart_kernel()
    wait_until_restarted(kernel.client)
    user.client.workloads.abort(run.execution_id)
    until(lambda: not going_on())
    with pytest.raises(HTTPError, match="cpu wasn't started"):
        kernel.manager.restart_kernel()
    assert going_on() == []


def test_a_notebook_does_not_start_the_local_cloud(user, home, monkeypatch):
    name = added("cpu")
    monkeypatch.setenv("LK_BASE_URL", "local")
    monkeypatch.setenv("LK_LOCAL_DATA", str(home / "local"))
    assert "The local cloud isn't running. Start it: %lk_login --local" in refusal_of(name)
    assert not (home / "local").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal of this kind")
@pytest.mark.parametrize(
    ("typed", "state"),
    [
        ("y", "started"),
        pytest.param("n", "refused", marks=pytest.mark.nightly),
        pytest.param("", "refused", marks=pytest.mark.nightly),
    ],
)
def test_a_terminal_shows_the_question(user, going_on, tmp_path, typed, state):
    name = added()
    script = "import sys; from jupyter_client.manager import KernelManager as M; m = M(kernel_name=sys.argv[1])"
    script += "\ntry:\n    m.start_kernel(); print('started')\nexcept Exception as e:\n    print('refused', e)"
    script += "\nfinally:\n    m.shutdown_kernel(now=True)"
    environment = {name: value for name, value in os.environ.items() if name != "LK_APPROVED_KERNELS"}
    child = pexpect.spawn(sys.executable, ["-c", script, name], env=environment, timeout=PATIENCE)
    child.expect_exact("Start A100? 1.59 credits/h, at most 0.2654 credits (time limit 600 s). [y/N] ")
    assert going_on() == []
    child.sendline(typed)
    child.expect_exact(state)
    child.wait()
    assert going_on() == []


def test_a_start_that_fails_says_why_and_leaves_no_machine(user, going_on):
    from jupyter_client.manager import KernelManager  # noqa: PLC0415

    name = added("cpu", image="python:3.11")  # no Jupyter server, and here no engine either
    with pytest.raises(Exception, match="podman or docker is missing"):
        KernelManager(kernel_name=name).start_kernel()
    assert going_on() == []


@pytest.mark.parametrize(
    "words",
    [None, pytest.param(["-m", specs.BRIDGE], marks=pytest.mark.nightly)],
    ids=["now", "of an earlier version"],
)
def test_a_kernel_executes_no_module_of_its_notebooks_folder(user, home, monkeypatch, tmp_path, words):
    executed = write_modules(tmp_path / "received", importable_names())
    name = added("cpu")
    if words:
        rewrite_spec(home, name, argv=[sys.executable, *words, "-f", "{connection_file}"])
    monkeypatch.setenv("PYTHONPATH", ".")
    kernel = Used(name, cwd=str(tmp_path / "received"))  # in a process that is not forked
    assert kernel.run("print(6 * 7)") == "42\n"
    kernel.close()
    assert executed.read_text() == ""


def rewrite_spec(home, name, **changes):
    """Change the spec of an installed kernel, as an earlier version or its user wrote it."""
    file = home / "jupyter" / "data" / "kernels" / name / "kernel.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_kernel_is_added_listed_and_removed(user, home):
    name = added("A100", max_cost="2")
    spec = json.loads((home / "jupyter" / "data" / "kernels" / name / "kernel.json").read_text())
    assert spec["display_name"] == "Python on A100, 1.59 credits/h"
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "lk-cloud"
    assert [kernel.title for kernel in specs.installed()] == ["Python on A100, 1.59 credits/h"]
    assert specs.remove("A100").name == name
    assert list(specs.installed()) == []
    with pytest.raises(lk_jupyter.errors.UsageError, match="Unknown kernel 'A100'"):
        specs.remove("A100")
