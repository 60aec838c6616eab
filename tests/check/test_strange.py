"""``%lk_check`` against local clouds that differ, by some switches, by all, by one; and what works there then."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest
from conftest import RunningCloud
from magics.conftest import run_cell, shell
from patience import PATIENCE

from lk_jupyter import session
from lk_jupyter.api import _http
from lk_jupyter.api._client import Client
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.localcloud.options import SWITCHES
from lk_jupyter.storage.remote import remote_path

__all__ = ["run_cell", "shell"]

#: Switch → what is found where it is on.
FOUND = {
    "bucket_folder_python": "/job/work",
    "bucket_folder_image": "/lyceum/storage",
    "deployment_gpu_field": "gpu_type",
    "chat_prefix": "/openai/v1",
    "router_prefix": "route",
    "batch_prefix": "/openai/v1",
    "longest_run": "300",
    "notebook_limit": "200",
    "final_words": "broken_off=failed,finalized=completed",
    "bucket_creation": "missing",
    "frames": "plain",
    "newlines": "extra",
    "stream_method": "GET",
    "stream_auth": "bearer",
    "late_attach": "none",
    "absent_operations": "DELETE /storage/block/{volume_id},GET /execution/{execution_id}/timing,GET /storage/block,"
    "POST /voucher/validate",
    "gpu_selection": "absent",
    "pricing_count": "sent",
    "metadata_echo": "dropped",
    "refused_fields": "metadata",
    "import_files": "ignored",
    "working_folder": "shared",
    "kernel_state": "kept",
    "start_answer": "none",
    "abort_answer": "empty",
    "signin_lookup": "GET /user/status",
}

#: Switch → what else is found then, and is true: the router is at the next address, a Jupyter server is a run, refused
#: metadata can't be returned, and the run of the check misses its module.
FOLLOWS = {
    "chat_prefix": {"router_prefix": "/api/v2/external"},
    "longest_run": {"notebook_limit": "300"},
    "refused_fields": {"metadata_echo": "dropped"},
    "import_files": {"POST /execution/streaming/start": "not found"},
}


#: What people do: its cells, and what these show where it works.
FEATURES = {
    "run": (["%%lk_run --gpu L40S\nprint('hel' + 'lo')"], "hello\n"),
    "rich": (["%%lk_run --gpu L40S\nfrom fractions import Fraction\nFraction(10, 14)"], "Fraction(5, 7)"),
    "put and get": (
        ["%lk_put note.txt data/note.txt", "%lk_get data/note.txt back.txt", "print(Path('back.txt').read_text())"],
        "kept words\n",
    ),
    "bucket in a run": (
        [
            "%lk_put note.txt data/note.txt",
            "P = remote_path('data/note.txt')",
            "%%lk_run --in P\nprint(open(P).read())",
        ],
        "kept words\n",
    ),
    "chat": (["%%lk_chat local/echo\nSay pineapple."], "pineapple"),
    "router": (["%%lk_chat lyceum/router\nSay pineapple."], "pineapple"),
    "batch": (["%lk_batch texts -m local/echo --yes --save answers", "print(answers)"], "pear"),
    "deploy": (["%lk_deploy local/echo --gpu A100 --yes", "%lk_deployments", "%lk_undeploy local/echo"], "stopped"),
    "vm": (["%lk_vm create --gpu A100 --key k.pub --name box --yes", "%lk_vm delete box --yes"], "Deleted box after"),
    "fan-out": (
        ["%%lk_run --gpu A100,L40S --save table\nprint('x')", "print(list(table['state']))"],
        "['completed', 'completed']",
    ),
    "in and out": (
        ["a = 41", "%%lk_run --gpu L40S --in a --out b --allow-secrets\nb = a + 1", "print('b is', b)"],
        "b is 42",
    ),
    "select": (["%%lk_select --yes\nprint(1)"], "completed"),
    "attach": (
        ["%%lk_run --gpu L40S --detach --save sent\nprint('deta' + 'ched')", "%lk_attach {sent.execution_id}"],
        "detached\n",
    ),
    "abort": (
        [
            "r = current().run('import time; time.sleep(100)', gpu='L40S')",
            "r.abort()",
            f"print(r.wait(timeout={PATIENCE}).status)",
        ],
        "aborted\n",
    ),
    "hosted Jupyter": (["%lk_notebook start --gpu L40S"], "listening"),
    "machines": (["%lk_machines"], "gpu.l40s"),
    "volumes": (["%lk_volumes list"], ""),
}

#: Switch → what rests on the assumption that it breaks.
RESTS = {
    "bucket_folder_python": ("bucket in a run",),
    "bucket_folder_image": (),
    "deployment_gpu_field": ("deploy",),
    "chat_prefix": ("chat", "router", "batch"),
    "router_prefix": ("router",),
    "batch_prefix": ("batch",),
    "longest_run": ("run", "hosted Jupyter"),
    "notebook_limit": ("hosted Jupyter",),
    "final_words": ("run", "fan-out"),
    "bucket_creation": ("put and get",),
    "frames": ("rich", "in and out", "fan-out"),
    "newlines": ("run", "rich"),
    "stream_method": ("run", "attach"),
    "stream_auth": ("run", "attach"),
    "late_attach": ("attach", "in and out"),
    "absent_operations": ("volumes",),
    "gpu_selection": ("select",),
    "pricing_count": ("chat",),
    "metadata_echo": ("in and out", "fan-out"),
    "refused_fields": ("run", "in and out", "batch"),
    "import_files": ("run", "rich", "in and out", "bucket in a run"),
    "working_folder": ("fan-out", "in and out"),
    "kernel_state": ("in and out",),
    "start_answer": ("run", "vm", "deploy", "batch", "fan-out"),
    "abort_answer": ("abort",),
    "signin_lookup": ("machines", "run"),
}


@pytest.fixture
def differing(request, tmp_path, home, monkeypatch):
    """A cloud with some switches on, and a session there that waits as long as a busy machine takes."""
    monkeypatch.setattr(_http, "PROBE_TIMEOUT", PATIENCE)
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout", PATIENCE)
    options = [option for name in request.param for option in ("--strange", name)]
    cloud = RunningCloud(tmp_path / "cloud", "--engine", "none", "--clock-speed", "100", *options)
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        yield connected
    cloud.stop()


ALL = tuple(SWITCHES)
#: All in the night, half of them, each alone, and none: by day test_check has a cloud that differs in nothing.
SOME = [*(ALL[first::2] for first in range(2)), *((name,) for name in ALL)]
SOME = [
    pytest.param(names, id=f"{names[0]}{' and more' * (names[1:] != ())}", marks=pytest.mark.nightly) for names in SOME
]
CLOUDS = [
    pytest.param((), id="none", marks=pytest.mark.nightly),
    *SOME,
    pytest.param(ALL, id="all", marks=pytest.mark.nightly),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("differing", CLOUDS, indirect=True)
def test_a_check_names_exactly_what_differs_and_everything_works_then(differing, request, notebook):
    names = request.node.callspec.params["differing"]
    check = Check(differing.client, differing, LevelRequest(spend=True))
    check.run(lambda _: None)
    wanted = {row: found for name in names for row, found in FOLLOWS.get(name, {}).items()}
    wanted |= {name: FOUND[name] for name in names}
    assert {each.name or each.operation: in_order(each.found) for each in check.report.deviations} == wanted
    stored = Assumptions(differing.client.base_url)
    found = {name: value for name, value in wanted.items() if name in SWITCHES}
    assert {name: in_order(stored[name]) for name in found} == found
    resting = {feature for name in names for feature in RESTS[name]}
    assert problems(notebook, [feature for feature in FEATURES if feature in resting or not names], names) == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("differing", [ALL], ids=["all"], indirect=True)
@pytest.mark.nightly
def test_what_nobody_has_checked_works_too(differing, notebook):
    features = [name for name in FEATURES if name != "bucket in a run"]
    [first_cell], _ = FEATURES["run"]
    assert "the code contains the files. Run the cell again." in notebook(first_cell)
    assert problems(notebook, features, ALL) == {}


def in_order(value):
    return ",".join(sorted(value.split(",")))


@pytest.fixture
def notebook(differing, shell, run_cell, monkeypatch, tmp_path):
    """A notebook that is signed in to the cloud, with a file, a key and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LK_BASE_URL", differing.client.base_url)
    monkeypatch.setenv("LK_API_KEY", differing.target.key.token)
    Path("note.txt").write_text("kept words")
    Path("k.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host\n")
    shell.user_ns |= {
        "texts": pd.Series(["apple", "pear"]),
        "current": session.current,
        "remote_path": remote_path,
        "Path": Path,
    }
    yield run_cell
    while showing := [thread for thread in threading.enumerate() if thread.name in {"lk-show", "lk-end"}]:
        showing[0].join(PATIENCE)  # a detached run is shown in this notebook until it ended


def problems(notebook, features, names):
    """Return what does not work, with what it shows."""
    found = {}
    for feature in features:
        cells, wanted = FEATURES[feature]
        shown = "".join(notebook(cell) for cell in cells)
        if feature == "volumes" and "absent_operations" in names:
            if "OperationNotAvailable" not in shown or "%lk_check" not in shown:
                found[feature] = shown
        elif wanted not in shown or "Error" in shown:
            found[feature] = shown
    return found
