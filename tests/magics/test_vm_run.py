"""``%%lk_run --on vm``: a cell on a VM, with the variables, the receipt and the history of a run."""

import re
from pathlib import Path

import httpx
import pytest
from conftest import RunningCloud
from magics.people import answers
from serverext.conftest import running, set_parent_server
from vms.on_vm import living, until

from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.config.settings import setting
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.vm_run import parse_run_key
from lk_jupyter.session import current
from lk_jupyter.vms import hosted

pytest.importorskip("asyncssh")


@pytest.fixture(scope="module")
def vms(tmp_path_factory):
    cloud = RunningCloud(
        tmp_path_factory.mktemp("vms"), "--clock-speed", "50", "--credits", "1000", "--no-capacity", "h200"
    )
    yield cloud
    cloud.stop()


@pytest.fixture(autouse=True)
def user(vms, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", vms.base_url)
    monkeypatch.setenv("LK_API_KEY", vms.api_key)
    monkeypatch.setenv("LK_CARRY", "always")


def test_a_cell_of_three_hours_runs_on_a_vm_after_one_question_and_changes_the_variables(
    run_cell, shell, vms, monkeypatch
):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "y")
    shell.user_ns["steps"] = [1, 2]
    output = run_cell("%%lk_run --gpu A100 --timeout 3h\nsteps.append(len(steps) + 1)\nprint('sum', sum(steps))")
    assert "sum 6" in output
    assert re.search(r"completed", output)
    assert shell.user_ns["steps"] == [1, 2, 3]
    widths = [len(line) for line in questions[0].rstrip().splitlines()]
    assert max(widths) <= 66  # JupyterLab breaks longer lines within words
    [question] = [" ".join(question.split()) for question in questions]
    assert question.startswith("Rent VM A100 at 1.59 credits/h for this cell: at most 4.90 credits for 3 h. Cheaper: ")
    assert "--spot at 0.80 credits/h, but the cloud may reclaim the VM." in question
    assert re.search(r"At \d\d:\d\d, the VM deletes itself with an API key", question)
    assert "130 to 221 s after the start" in question
    assert "off before that, billing continues. Its Jupyter server or the next lk_jupyter command deletes" in question
    assert "can't verify the VM, so who controls the network in between could take the key" in question
    assert "To send no key: --no-vm-key." in question
    [(hour, minute), (key_hour, key_minute)] = re.findall(r"(?:At|rights until) (\d\d):(\d\d)", question)
    minutes = 60 * (int(key_hour) - int(hour)) + int(key_minute) - int(minute)
    assert minutes % 1440 in range(1, 10)
    assert living(vms) == []
    [entry] = journal().entries(limit=1)
    assert (entry.machine, entry.state, bool(parse_run_key(entry.execution_id))) == ("vm.a100", "completed", True)
    assert entry.cost > 0


def test_without_an_answer_no_vm_is_rented_and_the_options_are_named(run_cell, vms, monkeypatch):
    monkeypatch.setattr("builtins.input", answers("n"))
    output = run_cell("%%lk_run --gpu A100 --timeout 3h\nprint(1)")
    assert "Nothing was rented. To rent it without a question: --on vm --max-cost 4.90" in output
    assert vms.client.vms.list().items == [] or living(vms) == []


@pytest.mark.nightly
def test_without_a_free_vm_other_vms_and_a_relay_are_named(run_cell, vms):
    output = run_cell("%%lk_run --gpu H200 --on vm --timeout 3h --max-cost 20\nprint(1)")
    assert "No H200 at 4.29 credits/h is free now. Nothing was rented. Free now: H100 at 2.79 credits/h" in output
    assert "as several runs in turn: --relay" in output
    assert living(vms) == []


@pytest.mark.nightly
def test_a_vm_stages_a_folder_of_the_bucket_before_its_code(run_cell, vms, tmp_path):
    current().storage.put(b"1,2\n", "vm-stage/a.csv")
    cell = f"from pathlib import Path\nprint('read', Path({str(tmp_path / 'a.csv')!r}).read_text())"
    options = f"--gpu A100 --on vm --max-cost 9 --timeout 3h --fresh --stage lk://vm-stage:{tmp_path}"
    output = run_cell(f"%%lk_run {options}\n{cell}")
    assert "Staged 1 file, 4 B" in output
    assert "read 1,2" in output
    assert living(vms) == []


def test_a_volume_that_is_attached_or_unknown_or_has_no_vm_is_refused_before_anything_is_rented(run_cell, vms):
    shape = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="l40s", new_volume={"size_gb": 10})
    vm = vms.client.vms.create(shape)
    [volume] = [row for row in vms.client.block.list() if row.attached_vm_id == vm.vm_id]
    line = "%%lk_run --gpu A100 --on vm --max-cost 9 --fresh"
    output = run_cell(f"{line} --volume {volume.volume_id}\nprint(1)")
    assert f"--volume: {volume.volume_id} is attached to VM {vm.vm_id[:8]}. Nothing was rented. Use it there" in output
    vms.client.vms.delete(vm.vm_id)
    vms.client.block.delete(volume.volume_id)
    assert "Unknown volume 'vol-none'" in run_cell(f"{line} --volume vol-none\nprint(1)")
    assert "--volume takes an id, or new:GB, got 'new:2TB'" in run_cell(f"{line} --volume new:2TB\nprint(1)")
    assert "--volume needs a VM, because other runs can't use volumes. Nothing was sent. Add --on vm." in run_cell(
        "%%lk_run --gpu A100 --fresh --volume new:10\nprint(1)"
    )
    assert "'volume/data' is on a volume. Nothing was sent. Add --volume ID" in run_cell(
        f"{line} --stage lk://a:volume/data\nprint(1)"
    )
    assert living(vms) == []


@pytest.mark.nightly
def test_a_volume_keeps_staged_files_for_the_next_vm_and_its_price_is_shown(run_cell, vms, monkeypatch):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "y")
    current().storage.put(b"1,2\n", "volume-stage/a.csv")
    cell = (
        "import os\nfrom pathlib import Path\nprint('read', Path(os.environ['LK_VOLUME'], 'cache/a.csv').read_text())"
    )
    options = "--gpu A100 --on vm --timeout 3h --fresh --stage lk://volume-stage:volume/cache"
    first = run_cell(f"%%lk_run {options} --volume new:10\n{cell}")
    assert "The new volume of 10 GB still exists after the cell. It costs" in " ".join(questions[0].split())
    assert "Staged 1 file, 4 B" in first
    assert "read 1,2" in first
    [volume] = list(vms.client.block.list())
    assert f"Volume {volume.volume_id} (10 GB) stays with its files and costs" in first
    assert f"Delete it: %lk_volumes delete {volume.volume_id}" in first
    second = run_cell(f"%%lk_run {options} --volume {volume.volume_id}\n{cell}")
    assert "1 of 1 files were already staged." in second
    assert "read 1,2" in second
    current().storage.put(b"3,4\n", "volume-stage/a.csv")
    assert "read 3,4" in run_cell(f"%%lk_run {options} --volume {volume.volume_id}\n{cell}")
    assert living(vms) == []
    vms.client.block.delete(volume.volume_id)
    assert not Path(volume.mount_path).exists()


SERVES = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
open("index.html", "w").write("curves of the training")
print("port", server.server_address[1], flush=True)
server.serve_forever()
"""


def start_serving():
    """Start a program on a VM; return its run and its port."""
    run = current().run(SERVES, on="vm", gpu="A100", max_cost=5, timeout=3600)
    return run, until(lambda: re.search(r"port (\d+)\n", hosted.open_run(current(), run.execution_id).log()))[1]


@pytest.mark.nightly
def test_a_port_of_a_vm_opens_in_the_jupyter_server_of_the_kernel(run_cell, vms, tmp_path, monkeypatch):
    run, port = start_serving()
    (tmp_path / "server").mkdir()
    with running(tmp_path / "server", LK_JOURNAL=str(setting("journal"))) as server:
        set_parent_server(server, tmp_path, monkeypatch)
        output = run_cell(f"%lk_open {run.execution_id} {port} --no-browser")
        [address] = re.findall(r"listening \S (http://\S+)", output)
        assert address.startswith(
            f"{server.url}lk/ports/{hosted.open_run(current(), run.execution_id).facts.vm_id}/{port}/"
        )
        assert httpx.get(address).status_code == 403
        assert server.page.get(address, follow_redirects=True).text.endswith("curves of the training")
    run.abort()
    assert living(vms) == []


@pytest.mark.nightly
def test_a_port_of_a_vm_opens_at_an_address_of_this_machine_until_the_run_ends(run_cell, vms, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "0")
    run, port = start_serving()
    output = run_cell(f"%lk_open {run.execution_id} {port} --no-browser")
    [(address, name, local)] = re.findall(r"listening \S (http://(\w{32}\.localhost):(\d+))", output)
    assert local != port
    url = f"http://127.0.0.1:{local}"
    for host in (f"{name}:{local}", f"{name.upper()}:{local}"):
        assert httpx.get(url, headers={"Host": host}, trust_env=False).text == "curves of the training"
    for host in ("", f"127.0.0.1:{local}", f"localhost:{local}", name, f"{'0' * 32}.localhost:{local}"):
        answer = httpx.get(url, headers={"Host": host}, trust_env=False)
        assert (answer.status_code, "curves" in answer.text) == (403, False)
    assert address in run_cell(f"%lk_open {run.execution_id} {port} --no-browser")
    assert "not listening yet" in run_cell(f"%lk_open {run.execution_id} 1 --no-browser")
    run.abort()
    assert "has finished (aborted)" in run_cell(f"%lk_open {run.execution_id} {port}")
    assert living(vms) == []
