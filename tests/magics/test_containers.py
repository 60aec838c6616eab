"""``%%lk_docker``, ``%%lk_compose`` and ``%lk_open``, with Podman on the local cloud."""

from __future__ import annotations

import getpass
import os
import re
import threading
from queue import SimpleQueue

import pytest
from localcloud.conftest import image as image  # noqa: PLC0414 (a fixture)
from localcloud.conftest import until
from magics.people import interrupt_us
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.journal.journal import journal

pytestmark = pytest.mark.xdist_group("containers")

SERVER = "echo hello > /tmp/index.html; httpd -f -p 8000 -h /tmp"


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as connected:
        yield connected


def test_a_script_runs_in_an_image_with_its_environment_user_and_bucket(signed_in, run_cell, image, monkeypatch):
    monkeypatch.setenv("TAKEN", "taken-from-here")
    shown = run_cell(
        f"%%lk_docker {image} -e GIVEN='a b' -e TAKEN --user guest --mount-path /data --name boxed --save run\n"
        'echo "$GIVEN|$TAKEN"; id -u\nls -d /data'
    )
    assert {"a b|taken-from-here", "1000", "/data"} <= set(shown.splitlines())
    assert "✓ completed" in shown
    assert re.search(r"[\d.]+ credits? · run [\w-]{36}", shown)


def test_what_was_taken_from_the_environment_is_kept_nowhere(signed_in, run_cell, shell, image, monkeypatch):
    monkeypatch.setenv("TAKEN", "unsaid-word")
    run_cell(f"%%lk_docker {image} --no-mount -e TAKEN --save run\necho done")
    run = shell.user_ns["run"]
    entry = journal().get(run.execution_id)
    assert entry.request["docker_run_env"] == "TAKEN=…[redacted]"
    assert "unsaid-word" not in repr(run.bundle) + repr(run.record)
    assert "Rerun its cell" in run_cell(f"%lk_rerun {run.short_id}")


@pytest.mark.nightly
def test_a_run_of_an_image_is_sent_again_as_it_was(signed_in, run_cell, image):
    run_cell(f"%%lk_docker {image} --no-mount -e A=b --save run\necho $A again")
    shown = run_cell("run.short_id\nget_ipython().run_line_magic('lk_rerun', run.short_id)")
    assert "b again" in shown
    assert "✓ completed" in shown


def test_without_a_shell_the_cell_is_a_command_and_one_of_comments_is_the_images_own(signed_in, run_cell, image):
    assert "two words\n" in run_cell(f"%%lk_docker {image} --no-mount --no-shell\necho 'two words'")
    shown = run_cell(f"%%lk_docker {image} --no-mount\n# its own command")
    assert "RunFailed" in shown  # the image of the tests has no command


def test_a_script_that_fails_fails_the_cell(signed_in, run_cell, image):
    shown = run_cell(f"%%lk_docker {image} --no-mount\necho before\nexit 3")
    assert "before\n" in shown
    assert "RunFailed: run" in shown
    assert "exit code 3" in shown


def test_a_plan_shows_the_image_and_sends_nothing(signed_in, run_cell):
    before = {run.execution_id for run in signed_in.client.workloads.list()}  # of other tests
    shown = run_cell("%%lk_docker python:3.11 --gpu H100 --timeout 600 --port 8000 --dry-run\npython train.py")
    for words in ("python:3.11", "gpu.h100", "0.4658 credits", "8000"):
        assert words in shown
    assert {run.execution_id for run in signed_in.client.workloads.list()} <= before


def test_an_interrupt_stops_the_run_and_its_bill(signed_in, run_cell, image, session):
    def going_on():
        return {run.execution_id for run in session.client.workloads.list() if run.status == "running"}

    def interrupt():
        until(lambda: going_on() - before)
        interrupt_us()

    before = going_on()  # of other tests
    threading.Thread(target=interrupt).start()
    shown = run_cell(f"%%lk_docker {image} --no-mount --timeout 600\necho up; sleep 600")
    assert "KeyboardInterrupt: You stopped this run." in shown
    assert going_on() <= before


def test_a_port_is_shown_as_an_address_and_opened(run_cell, image, session, browser):
    opened = SimpleQueue()
    browser(opened.put)
    run = session.run_image(image, SERVER, port=[8000], mount=False, timeout=600)
    try:
        url = f"{session.client.cloud_url}/ports/{run.execution_id}/8000/"
        until(
            lambda: "listening" in (shown := run_cell(f"%lk_open {run.short_id} --no-browser")) and "not" not in shown
        )
        assert f"● listening · {url}" in run_cell(f"%lk_open {run.short_id} 8000")
        assert opened.get(timeout=PATIENCE) == url
        assert "◌ not listening yet" in run_cell(f"%lk_open {run.short_id} 8001")
        assert session.get(run.execution_id).ports == (8000,)
    finally:
        run.abort()
    run.wait()
    assert f"Run {run.short_id} has finished (aborted)" in run_cell(f"%lk_open {run.short_id} 8000")


def test_the_address_of_a_port_stands_under_the_status_line(signed_in, session):
    from lk_jupyter.options.runs import DockerOptions  # noqa: PLC0415
    from lk_jupyter.runs.observers.default import default_observers  # noqa: PLC0415
    from lk_jupyter.runs.run import Run  # noqa: PLC0415

    run = session.run_image("localhost:1/nosuch:1", port=[8000], mount=False)
    company = default_observers(session, DockerOptions(image="x"), attached=Run(session, run.execution_id))
    company.started(run)
    assert f"port 8000: {signed_in.cloud_url}/ports/{run.execution_id}/8000/" in map(str, company.notices)
    run.abort()
    run.wait()


@pytest.mark.nightly  # tests/localcloud/test_compose_runs.py
def test_a_stack_runs_to_its_end_with_the_lines_of_all_services(signed_in, run_cell, image):
    shown = run_cell(
        f"""%%lk_compose --timeout 120
services:
  one:
    image: {image}
    command: [sh, -c, "echo from one"]
  two:
    image: {image}
    command: [sh, -c, "echo from two"]
"""
    )
    assert "from one" in shown
    assert "from two" in shown
    assert "✓ completed" in shown


def test_a_stack_with_a_missing_service_is_refused_before_it_is_sent(signed_in, run_cell, session):
    shown = run_cell("%%lk_compose\nservices:\n  web:\n    image: nginx\n    depends_on: [store]\n")
    assert shown.strip() == (
        "UsageError: Line 5: service 'web' depends on 'store', which isn't a service of this file. Nothing was sent."
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("'a b'", "'a b' isn't an image"),
        ("x -e 1A=b", "--env takes NAME=value"),
        ("x -e NO_SUCH_VARIABLE_HERE", "this kernel has no such variable"),
        ("x --mount-path data", "--mount-path must be an absolute path"),
        ("x --gpu A100 --machine cpu", "both name a machine"),
        ("x --gpu A100,H100", "one machine at a time"),
        ("x --gpu Z9", "Z9"),
        ("x --stop-timeout 301", "--stop-timeout must be 300 or less"),
        ("x --port 70000", "--port must be 65535 or less"),
        ("x --timeout 100000", "--timeout must be 1 to 600 s here"),
        ("x --reset-password", "needs --login USER"),
        ("x --login aws", "--login aws needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("", "needs IMAGE"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_in_one_line(signed_in, run_cell, line, said, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    shown = run_cell(f"%%lk_docker {line}\necho x").strip()
    assert shown.startswith("UsageError: ")
    assert said in shown
    assert "\n" not in shown


@pytest.mark.nightly
def test_a_login_is_asked_for_once_and_comes_from_the_keyring_then(
    signed_in, run_cell, memory_keyring, image, monkeypatch
):
    asked = []
    monkeypatch.setattr(getpass, "getpass", lambda question: asked.append(question) or "pass-unsaid")
    shown = run_cell(f"%%lk_docker {image} --no-mount --login me --save run\necho in")
    shown += run_cell(f"%%lk_docker {image} --no-mount --login me\necho in again")
    assert "in again\n" in shown
    assert asked == ["Password or token of me at localhost (it is not shown): "]
    run_cell(f"%%lk_docker {image} --no-mount --login me --reset-password\necho x")
    assert len(asked) == 2
    kept = journal().entries(limit=3)
    assert "pass-unsaid" not in shown + repr(kept) + str([entry.request for entry in kept])


def test_a_login_that_nobody_can_give_is_refused(signed_in, run_cell, monkeypatch):
    def nobody(question):
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", nobody)
    shown = run_cell("%%lk_docker ghcr.io/team/app:1 --login me\necho x")
    assert 'keyring set lk_jupyter "registry ghcr.io me"' in shown


def test_a_login_of_amazon_reads_the_environment(session, monkeypatch):
    from lk_jupyter.code.source import Source  # noqa: PLC0415
    from lk_jupyter.options.runs import DockerOptions  # noqa: PLC0415
    from lk_jupyter.runs.containers.containers import prepare_image  # noqa: PLC0415

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id-unsaid")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-unsaid")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    options = DockerOptions(image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1", login="aws")
    package = prepare_image(session, Source(""), options)
    assert (package.request.aws_region, package.request.docker_run_cmd) == ("eu-west-1", None)
    assert package.request.aws_secret_access_key == "secret-unsaid"
    assert "unsaid" not in repr(package)


@pytest.mark.nightly
def test_a_script_written_by_export_starts_the_image_again(signed_in, run_cell, image, session, tmp_path):
    import subprocess  # noqa: PLC0415

    run = session.run_image(image, ["echo", "exported"], mount=False)
    run.wait()
    run_cell(f"%lk_export {run.short_id} {tmp_path / 'again.sh'}")
    env = {**os.environ, "LK_API_KEY": signed_in.api_key}
    done = subprocess.run(["sh", tmp_path / "again.sh"], capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.returncode) == ("exported\n", 0), done.stderr
