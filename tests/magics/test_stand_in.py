"""Magics against a stand-in of the cloud that gives odd answers while something costs."""

from datetime import datetime, timezone

import pytest
from api.scripted import RESET
from magics.people import interrupt_us
from patience import PATIENCE
from stand_in import DONE, IDS, KEY, STREAM, StandIn, finished, said

from lk_jupyter.api import _creation, _lifecycle, _polling
from lk_jupyter.inference import deploy
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._output.background import BACKGROUND
from lk_jupyter.runs import follow
from lk_jupyter.runs.relay import Leg, RelayFacts, relay_folder
from lk_jupyter.views import run as views
from lk_jupyter.vms import vms

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO5Lc8oWn0c9iX0rZ0l1sT7vW3k1Hb2m4k8mY1pJmZ3q mira@laptop"
VM = IDS[0].replace("-", "")
READY = {"vm_id": VM, "status": "ready", "ip_address": "127.0.0.1:1"}
READY_ENDED = {**READY, "status": "terminated"}
SERVES = {"deployment_id": IDS[0], "status": "created", "replicas": [{"replica_id": "r", "healthy": True}]}
CREATE = "%lk_vm create --gpu A100 --name train --yes"
DEPLOY = "%lk_deploy local/echo --gpu A100 --yes"
VM_LEFT = "VM 'train' is still active and costs credits. Check: %lk_vm status train. Delete: %lk_vm delete train"
DEPLOYMENT_LEFT = f"Stop it: %lk_undeploy {IDS[0][:8]}"

#: Answers that may be over at the next look.
ODD = [
    (404, {"detail": "VM not found"}),
    (404, {"detail": "Not Found"}),
    (500, {"detail": "boom"}),
    (503, "<html>"),
    (401, {"detail": "expired"}),
    (429, {}),
    (200, "null"),
    (200, "{}"),
    (200, "<html>sign in</html>"),
    (200, ""),
    (),
]


@pytest.fixture
def cloud(home, monkeypatch):
    """A stand-in that is looked at without pauses."""
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text(PUBLIC + "\n")
    monkeypatch.setattr(vms, "PAUSES", (0.0,))
    monkeypatch.setattr(deploy, "PACE", 0.0)
    monkeypatch.setattr(_creation, "LOOK_PAUSE", 0.0)
    monkeypatch.setattr(_lifecycle, "CONFIRM_SECONDS", 0.3)
    found = StandIn()
    monkeypatch.setenv("LK_BASE_URL", found.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    monkeypatch.setattr("lk_jupyter.api._retry.pause", lambda _: 0.0)
    yield found
    found.close()


def in_turn(*replies):
    """Return a script that gives these answers in turn, and the last of them from then on."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_answer_does_not_end_the_waiting_for_a_vm(cloud, run_cell, odd):
    cloud.on(
        "GET /vms/{}/status", in_turn(odd, odd, odd, odd, {**READY, "status": "warming", "ip_address": None}, READY)
    )
    assert "ssh -p 1 lyceum@127.0.0.1" in run_cell(CREATE)
    assert cloud.calls["POST /vms/create"] == 1


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_answer_does_not_end_the_waiting_for_a_deployment(cloud, run_cell, odd):
    cloud.on("GET /inference/get", in_turn(odd, odd, odd, odd, {"deployment_id": IDS[0], "status": "warming"}, SERVES))
    assert "✓ running" in run_cell(DEPLOY)
    assert cloud.calls["POST /inference/create"] == 1


@pytest.mark.parametrize(
    ("odd", "limit"),
    [
        ((404, {"detail": "VM not found"}), "PATIENCE_UNKNOWN"),
        ((401, {"detail": "expired"}), "PATIENCE_UNKNOWN"),
        ((500, {"detail": "boom"}), "PATIENCE"),
        ((200, "null"), "PATIENCE"),
        ((410, {"detail": "gone"}), "PATIENCE_UNKNOWN"),
    ],
)
@pytest.mark.parametrize(
    ("cell", "operation", "left"),
    [(CREATE, "GET /vms/{}/status", VM_LEFT), (DEPLOY, "GET /inference/get", DEPLOYMENT_LEFT)],
)
def test_an_answer_that_stays_odd_says_what_still_costs_and_how_to_end_it(  # noqa: PLR0913, PLR0917 (both tables)
    cloud, run_cell, monkeypatch, odd, limit, cell, operation, left
):
    monkeypatch.setattr(_polling, limit, 0.0)
    cloud.on(operation, odd)
    assert left in run_cell(cell)


@pytest.mark.parametrize("answer", [{**READY, "ip_address": None}, (500, {"detail": "boom"})])
def test_a_vm_that_stays_without_an_address_is_named_with_what_ends_it(cloud, run_cell, monkeypatch, answer):
    monkeypatch.setattr(vms, "PATIENCE", 0.0)
    cloud.on("GET /vms/{}/status", answer)
    shown = run_cell(CREATE)
    assert VM_LEFT in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("answer", [{"deployment_id": IDS[0], "status": "pending"}, (500, {"detail": "boom"})])
def test_a_deployment_that_does_not_serve_in_time_is_named_with_what_ends_it(cloud, run_cell, answer):
    model = {"serving_name": "local/echo", "gpu_type": "A100", "ready_timeout_s": 0}
    cloud.on("GET /inference/models", {"models": [model]})
    cloud.on("GET /inference/get", answer)
    shown = run_cell(DEPLOY)
    assert f"%lk_undeploy {IDS[0][:8]}" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("word", ["failed", "terminated", "error"])
def test_a_vm_that_ends_before_it_is_ready_is_named_with_its_state(cloud, run_cell, word):
    cloud.on("GET /vms/{}/status", {"vm_id": VM, "status": word})
    shown = run_cell(CREATE)
    assert f"VM 'train' is {word}: it ended before it was ready." in shown
    assert "%lk_vm list --all" in shown


def test_a_deployment_that_failed_says_so_though_its_logs_cannot_be_read(cloud, run_cell):
    replica = {"replica_id": "r", "status": "failed", "fail_reason": "no memory"}
    cloud.on("GET /inference/get", {"deployment_id": IDS[0], "status": "failed", "replicas": [replica]})
    shown = run_cell(DEPLOY)
    assert "failed: no memory." in shown
    assert DEPLOYMENT_LEFT.removeprefix("Stop it") in shown


def test_a_failed_deployment_is_no_starting_one_at_the_end_of_the_time(cloud, run_cell):
    model = {"serving_name": "local/echo", "gpu_type": "A100", "ready_timeout_s": 0}
    cloud.on("GET /inference/models", {"models": [model]})
    cloud.on("GET /inference/get", {"deployment_id": IDS[0], "status": "failed", "replicas": []})
    assert "DeploymentFailed" in run_cell(DEPLOY)


@pytest.mark.parametrize(
    ("cell", "operation", "left"),
    [
        (CREATE, "GET /vms/{}/status", f"stopped waiting. {VM_LEFT}"),
        (DEPLOY, "GET /inference/get", f"still active and billed. {DEPLOYMENT_LEFT}"),
    ],
)
def test_an_interrupt_of_the_waiting_says_what_still_costs(cloud, run_cell, cell, operation, left):
    def interrupted(_):
        interrupt_us()
        return 200, "null"

    cloud.on(operation, interrupted)
    shown = run_cell(cell)
    assert left in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("failure", [(500, {"detail": "boom"}), (403, {"detail": "no"}), ()], ids=str)
def test_a_vm_that_cannot_be_deleted_leaves_no_other_active_and_is_named(cloud, run_cell, failure):
    cloud.on("GET /vms/{}/status", READY)
    for name in ("a", "b", "c"):
        run_cell(f"%lk_vm create --gpu A100 --name {name} --yes")
    first, *others = cloud.vms
    cloud.on(
        "DELETE /vms/{}", lambda request: failure if request.path.endswith(first) else cloud._ended(request.path[-32:])
    )
    shown = run_cell("%lk_vm delete a b c --yes")
    assert [cloud.vms[each]["status"] for each in others] == ["terminated"] * 2
    assert f"VMs that may still be active and billed: {first[:8]}. " in shown
    assert f"Delete them: %lk_vm delete {first[:8]}" in shown


def test_a_deployment_that_cannot_be_stopped_leaves_no_other_active_and_is_named(cloud, run_cell):
    cloud.on("GET /inference/get", SERVES)
    for _ in range(2):
        run_cell(f"{DEPLOY} --no-wait")
    first, second = cloud.deployments
    stopped = []

    def stop(request):
        stopped.append(request.json["deployment_id"])
        return (500, {"detail": "boom"}) if stopped[-1] == first else {"deployment_id": second, "status": "stopped"}

    cloud.on("DELETE /inference/stop", stop)
    shown = run_cell(f"%lk_undeploy {first} {second}")
    assert stopped[-1] == second
    assert f"Stop them: %lk_undeploy {first[:8]}" in shown


def test_what_an_interrupt_of_several_deletions_leaves_is_named(cloud, run_cell):
    cloud.on("GET /vms/{}/status", READY)
    for name in ("a", "b"):
        run_cell(f"%lk_vm create --gpu A100 --name {name} --yes")

    def interrupted(request):
        interrupt_us()
        return cloud._ended(request.path[-32:])

    cloud.on("DELETE /vms/{}", interrupted)
    shown = run_cell("%lk_vm delete a b --yes")
    assert f"%lk_vm delete {' '.join(each[:8] for each in cloud.vms)}" in shown


@pytest.mark.parametrize(
    "cell",
    [
        "%%lk_run --gpu A100\n1",
        "%%lk_run --gpu A100 --dry-run\n1",
        "%%lk_docker python:3.11 --gpu A100\ntrue",
        "%lk_put a.txt",
        "%lk_bucket put a.txt",
        "from lk_jupyter.executor import Executor; Executor(gpu='A100').submit(print, 1)",
    ],
)
def test_a_working_folder_that_was_deleted_is_named_and_nothing_is_sent(cloud, run_cell, tmp_path, monkeypatch, cell):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    shown = run_cell(cell)
    monkeypatch.chdir(tmp_path)
    assert "UsageError: The working folder was deleted. Nothing was sent. Change to another folder: %cd ~" in shown
    assert not any("start" in call for call in cloud.calls)


def test_vms_that_are_listed_without_what_is_sold_are_shown_and_none_is_rented(cloud, run_cell):
    cards = [{"hardware_profile": "a100", "price_per_hour": 0.8, "allowed_gpus_per_instance": [1, 2]}]
    cloud.on("GET /vms/availability", {"available_hardware_profiles": cards})
    assert "unknown" in run_cell("%lk_vm offers")
    assert "The server lists no VM with a price. Nothing was rented." in run_cell(CREATE)
    assert not cloud.calls["POST /vms/create"]


RUN = "%%lk_run --gpu A100\n1"
EXPIRED = (401, {"detail": "Token has expired"})


def sign_in_expires(cloud, monkeypatch):
    """Let all reads of a run refuse the key, as soon as it was started; return what lets them answer again."""
    monkeypatch.setattr(follow, "UNREADABLE", 0.2)
    monkeypatch.setattr(_polling, "PATIENCE_UNKNOWN", 0.2)
    reads = ("GET /execution/{}", "GET /execution/streaming/{}/status", "GET /logs/execution/{}", "GET /workloads/list")
    for read in reads:
        cloud.on(read, EXPIRED)
    return lambda: [cloud._scripts.pop(read) for read in reads]


def test_a_sign_in_that_expires_during_a_run_is_reported_and_attach_completes_the_receipt(cloud, run_cell, monkeypatch):
    sign_in_again = sign_in_expires(cloud, monkeypatch)
    shown = run_cell(RUN)
    assert "hello" in shown
    assert "✓ completed" in shown
    assert "Cost unknown: the sign-in has expired" in shown
    assert f"%lk_login, then %lk_attach {IDS[0][:8]}" in shown
    sign_in_again()
    cloud.record = {"billed": "0.25", "return_code": 0}
    shown = run_cell(f"%lk_attach {IDS[0][:8]}")
    assert "hello" in shown
    assert "0.2500 credits" in shown
    assert "Cost unknown" not in shown


def test_a_run_that_fails_after_its_sign_in_expired_shows_its_exit_code_and_how_to_sign_in(
    cloud, run_cell, shell, monkeypatch
):
    sign_in_expires(cloud, monkeypatch)
    cloud.stream = (STREAM, said("hello\n"), finished(returnCode=3))
    for shown in (run_cell("%%lk_run --gpu A100 --save failed\n1"), str(views.run(shell.user_ns["failed"]))):
        assert "exit code 3" in shown
        assert f"%lk_login, then %lk_attach {IDS[0][:8]}" in shown


def test_a_sign_in_that_expires_before_the_end_of_a_run_says_how_to_sign_in_and_attach(cloud, run_cell, monkeypatch):
    sign_in_again = sign_in_expires(cloud, monkeypatch)
    cloud.stream = (STREAM, said("hello\n"))
    shown = run_cell(RUN)
    assert "may still be active" in shown
    assert "%lk_login" in shown
    assert f"%lk_attach {IDS[0]}" in shown
    sign_in_again()
    cloud.stream = DONE
    shown = run_cell(f"%lk_attach {IDS[0][:8]}")
    assert (shown.count("hello"), shown.count("✓ completed")) == (1, 1)


@pytest.mark.parametrize("line", ["%%lk_run --gpu A100 --sweep lr=1,2\nprint(lr)", "%%lk_run --gpu A100 --detach\n1"])
def test_other_doors_report_a_sign_in_that_expired(cloud, run_cell, monkeypatch, capsys, line):
    sign_in_expires(cloud, monkeypatch)
    shown = run_cell(line)
    assert all(task.done.wait(PATIENCE) for task in list(BACKGROUND.tasks))
    assert "Cost unknown: the sign-in has expired" in shown + "".join(capsys.readouterr())


def test_a_record_that_a_server_fails_to_give_is_reported_with_its_reason(cloud, run_cell, monkeypatch):
    sign_in_expires(cloud, monkeypatch)
    cloud.on("GET /execution/{}", (500, {"detail": "boom"}))
    shown = run_cell(RUN)
    assert "Cost unknown: the record can't be read" in shown
    assert f"Complete the receipt: %lk_attach {IDS[0][:8]}" in shown


def reuse_the_id(cloud, run_cell):
    """Let a run end, then give its id to each later run, which prints another line; return the log of the first."""
    assert "hello" in run_cell(RUN)

    def take(request):
        cloud.runs[IDS[0]] = request.json
        return {"execution_id": IDS[0]}

    cloud.on("POST /execution/streaming/start", take)
    cloud.stream = (STREAM, said("another line\n"), finished(returnCode=0))


def test_a_run_that_gets_the_id_of_an_earlier_run_shows_no_line_of_it(cloud, run_cell, home):
    reuse_the_id(cloud, run_cell)
    for line in (RUN, f"%lk_attach {IDS[0]}"):
        shown = run_cell(line)
        assert (shown.count("another line"), shown.count("hello")) == (1, 0)
    logs = sorted(path.read_text() for path in home.rglob(f"{IDS[0]}*.log"))
    assert logs == ["another line\n", "hello\n"]
    first, second = journal().find(IDS[0])[::-1]
    assert (home / first.log_path).read_text() == "hello\n"
    assert (home / second.log_path).read_text() == "another line\n"


def test_the_bill_of_a_run_with_a_reused_id_changes_no_earlier_run(cloud, run_cell):
    cloud.record = {"billed": "0.25"}
    reuse_the_id(cloud, run_cell)
    cloud.record = {"billed": "3.5"}
    assert "3.5" in run_cell(RUN)
    assert [str(entry.cost) for entry in journal().find(IDS[0])] == ["3.5", "0.25"]


def test_the_record_of_an_earlier_run_is_not_used_for_a_run_with_its_id(cloud, run_cell, monkeypatch):
    monkeypatch.setattr(follow, "UNREADABLE", 0.2)
    reuse_the_id(cloud, run_cell)
    earlier = {
        **cloud._row(IDS[0]),
        "metadata": {"lk_request": "0123456789abcdef"},
        "stdout": "hello\n",
        "billed": 9.99,
    }
    cloud.on("GET /execution/{}", earlier)
    shown = run_cell(RUN)
    assert (shown.count("another line"), shown.count("hello")) == (1, 0)
    assert "9.99" not in shown
    assert "Cost unknown: the record can't be read (The record with this id belongs to another run" in shown


def test_stored_lines_of_an_earlier_run_are_not_shown_for_a_run_with_its_id(cloud, run_cell, monkeypatch):
    monkeypatch.setattr(follow, "PAUSES", (0.0,))
    reuse_the_id(cloud, run_cell)
    rows = [("2026-06-02T09:14:03Z", "hello"), (datetime.now(timezone.utc).isoformat(), "another line")]
    cloud.on("GET /logs/execution/{}", {"logs": [{"timestamp": at, "message": line} for at, line in rows]})
    cloud.stream = (STREAM, RESET)
    shown = run_cell(RUN)
    assert (shown.count("another line"), shown.count("hello")) == (1, 0)


@pytest.mark.parametrize(("answer", "count"), [("n", 0), ("y", 1)])
def test_a_run_that_tests_the_time_limit_starts_only_after_an_answer(cloud, run_cell, monkeypatch, answer, count):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    output = run_cell("%lk_check --run-limit 3h")
    assert len(cloud.runs) == count, output
    assert [question.endswith("[y/N] ") for question in questions] == [True]
    assert ("No run was started." in output) == (count == 0)


def test_the_list_of_runs_shows_the_place_of_a_run_in_its_relay(cloud, run_cell):
    cloud.runs[IDS[0]] = {"file_name": "train.py"}
    leg = Leg(token="1", limit=600, log_start=0, start_time=0, execution_id=IDS[0])
    facts = RelayFacts(
        token="1a2b3c4d", base_url=cloud.url, machine="gpu.a100", created_at=0, job={}, request={},
        seconds=7200, limit=600, legs=[leg],
    )  # fmt: skip
    relay_folder().mkdir(parents=True)
    (relay_folder() / "1a2b3c4d.json").write_text(facts.model_dump_json())
    assert "train.py, relay r-1a2b3c, run 1 of about 15" in run_cell("%lk_runs")


@pytest.mark.parametrize(
    ("listing", "line", "remaining"),
    [
        (
            "GET /vms/list",
            "%lk_vm delete train --yes",
            "VMs that may still be active and billed: train.",
        ),
        (
            "GET /storage/block",
            "%lk_volumes delete vol-7 --yes",
            "Volumes that may still exist and be billed: vol-7.",
        ),
        (
            "GET /inference/list",
            "%lk_undeploy 3f0c",
            "Deployments that may still be active and billed: 3f0c.",
        ),
    ],
)
def test_a_deletion_whose_object_cannot_be_looked_up_names_the_object_and_the_command(
    cloud, run_cell, listing, line, remaining
):
    cloud.on(listing, (403, {"detail": "Forbidden"}))
    shown = run_cell(line)
    assert f"Nothing was deleted or stopped. {remaining} Check: %lk_" in shown
    assert f"them: {line.removesuffix(' --yes')}" in shown


def test_a_list_that_repeats_each_row_is_no_reason_to_refuse_a_deletion(cloud, run_cell):
    row = {"deployment_id": IDS[0], "hf_model_id": "local/echo", "status": "created"}
    cloud.on("GET /inference/list", {"deployments": [row, row]})
    cloud.on("DELETE /inference/stop", lambda _: [row.update(status="stopped"), {**row}][1])
    cloud.on("GET /vms/list", {"vms": [READY, READY]})
    cloud.on("DELETE /vms/{}", lambda _: [READY_ENDED, cloud.on("GET /vms/list", {"vms": [READY_ENDED]})][0])
    assert "■ stopped" in run_cell("%lk_undeploy local/echo")
    assert "matches several" not in run_cell(f"%lk_vm delete {VM} --yes")
    assert cloud.calls["DELETE /vms/{}"] == 1


def test_a_deployment_whose_stop_is_accepted_and_ignored_is_reported_as_active(cloud, run_cell):
    cloud.on("GET /inference/get", SERVES)
    run_cell(f"{DEPLOY} --no-wait")
    cloud.on("DELETE /inference/stop", {"deployment_id": IDS[0], "status": "stopped"})
    shown = run_cell(f"%lk_undeploy {IDS[0]}")
    assert "may still be active and billed: the cloud still reports it as 'pending'" in shown
    assert f"%lk_undeploy {IDS[0][:8]}" in shown


def test_a_volume_whose_deletion_has_no_effect_is_not_reported_as_deleted(cloud, run_cell):
    cloud.on("GET /storage/block", {"volumes": [{"volume_id": "vol-7", "size_gb": 10}]})
    cloud.on("DELETE /storage/block/vol-7", (202, {"status": "accepted"}))
    shown = run_cell("%lk_volumes delete vol-7 --yes")
    assert "Volume vol-7 may still exist and be billed: the cloud accepted its deletion, but hasn't confirmed" in shown
    assert "Volumes that may still exist and be billed: vol-7." in shown
    assert "Deleted vol-7" not in shown
