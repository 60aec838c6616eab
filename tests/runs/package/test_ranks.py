"""``--nproc``: several processes of one machine run the code, with the environment of torchrun."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from lk_jupyter.errors import RunFailed, UsageError
from lk_jupyter.machines.catalogue import split_count

RANKS = """
import os, sys

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
value = data["start"] + rank
print(f"value {value} of {size} at {os.environ['MASTER_ADDR']}")
if rank == 2:
    print("end", end="")
"""


def read_log(run):
    return "".join(getattr(event, "content", "") for event in run.follow())


def test_each_rank_has_the_variables_and_the_variables_of_rank_0_are_returned(session):
    run = session.run(RANKS, nproc=3, machine="cpu", inputs={"data": {"start": 5}}, outputs=["value"])
    log = read_log(run).splitlines()
    assert run.outputs() == {"value": 5}
    assert {"value 5 of 3 at 127.0.0.1", "[rank 1] value 6 of 3 at 127.0.0.1", "[rank 2] end"} <= {*log}


@pytest.mark.parametrize(
    ("failure", "end"),
    [
        ("raise ValueError('odd')", "exit code 1"),
        pytest.param("os.kill(os.getpid(), 9)", "signal 9", marks=pytest.mark.nightly),
    ],
)
def test_a_rank_that_fails_ends_all_ranks_and_is_named(session, failure, end):
    code = f"import os, time\nx = 1\nif os.environ['RANK'] == '1':\n    {failure}\ntime.sleep(600)"
    run = session.run(code, nproc=3, machine="cpu", outputs=["x"])
    log = read_log(run)
    with pytest.raises(RunFailed):
        run.result()
    assert f"Rank 1 of 3 failed: {end}. All ranks are ended.\n" in log
    assert ("[rank 1] ValueError: odd" in log) == ("ValueError" in failure)


#: What rank 0 does while rank 1 fails: it waits, it has ended, it can't be interrupted, or it fails as a consequence.
RANK_0 = {
    "waits": "import time; time.sleep(600)",
    "has ended": "raise SystemExit",
    "ignores interrupts": "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)",
    "fails as well": "link.accept()[0].recv(1); raise RuntimeError('connection closed by peer')",
}


@pytest.mark.parametrize("carries", [True, False], ids=["cell", "script"])
@pytest.mark.parametrize("rank_0", RANK_0)
def test_the_error_of_a_run_is_the_error_of_the_rank_that_failed_first(session, rank_0, carries):
    code = f"""
import os, socket
place = '\\0' + os.environ['MASTER_PORT']
link = socket.socket(socket.AF_UNIX)
if os.environ['RANK'] == '0':
    link.bind(place)
    link.listen()
    {RANK_0[rank_0]}
while True:
    try:
        link.connect(place)
        break
    except ConnectionRefusedError:
        pass
raise ValueError('odd')
"""
    run = session.run(code, nproc=2, machine="cpu", outputs=["x"] if carries else [])
    log = read_log(run)
    with pytest.raises(RunFailed) as failure:
        run.result()
    assert failure.value.traceback.endswith("ValueError: odd")
    assert "ValueError: odd" in str(failure.value)
    assert "KeyboardInterrupt" not in log
    assert "Rank 1 of 2 failed: exit code 1. All ranks are ended.\n" in log
    assert ("RuntimeError: connection closed by peer" in log) == (rank_0 == "fails as well")


def test_an_error_that_all_ranks_have_is_shown_once_without_a_rank(session):
    run = session.run("import os\nprint(missing)", nproc=2, machine="cpu")
    log = read_log(run)
    with pytest.raises(RunFailed, match="name 'missing' is not defined"):
        run.result()
    assert sum(line.startswith("NameError") for line in log.splitlines()) == 1


@pytest.mark.nightly
def test_an_error_of_rank_0_ends_the_other_ranks(session):
    code = "import os, time\nif os.environ['RANK'] == '0':\n    1 / 0\ntime.sleep(600)"
    run = session.run(code, nproc=2, machine="cpu")
    log = read_log(run)
    assert "ZeroDivisionError" in log
    assert "Rank 0 of 2 failed. All ranks are ended." in log


def test_several_gpus_are_a_machine_of_runs_only_if_the_cloud_lists_one(session):
    assert split_count("4xA100") == (4, "A100")
    assert split_count("gpu.a100") == (1, "gpu.a100")
    assert session.machines().resolve("1xA100").hardware_profile == "gpu.a100"
    with pytest.raises(UsageError, match=r"Runs can't use '4xA100'.*--gpu 4xA100 --on vm"):
        session.run("1", gpu="4xA100")


#: The packages of the environment that ``tests/cookbook.py`` creates.
COOKBOOK_PACKAGES = sysconfig.get_path("purelib", vars={"base": str(Path(sys.prefix, "share", "cookbook"))})

#: Trains on the ranks' shares of the data; the mean of the ranks' gradients is the gradient on all data.
TRAINING = """
import os, sys

sys.path.insert(0, folder)
import torch
import torch.distributed as dist

rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
if size > 1:
    dist.init_process_group("gloo")
generator = torch.Generator().manual_seed(0)
data = torch.randn(64, 8, generator=generator, dtype=torch.float64)
target = data.sum(1, keepdim=True)
weights = torch.zeros(8, 1, dtype=torch.float64, requires_grad=True)
for _ in range(50):
    loss = ((data[rank::size] @ weights - target[rank::size]) ** 2).mean()
    (gradient,) = torch.autograd.grad(loss, weights)
    if size > 1:
        dist.all_reduce(gradient)
    with torch.no_grad():
        weights -= 0.05 * gradient / size
if size > 1:
    dist.destroy_process_group()
result = weights.flatten().tolist()
"""


@pytest.mark.nightly
def test_two_ranks_with_gloo_train_as_one_process_does(session):
    folder = os.environ.get("LK_TORCH") or COOKBOOK_PACKAGES
    if not Path(folder, "torch").is_dir():
        pytest.skip("Neither LK_TORCH nor the environment of the cookbook has torch.")
    runs = [
        session.run(TRAINING, nproc=count, machine="cpu", inputs={"folder": folder}, outputs=["result"])
        for count in (1, 2)
    ]
    one, two = (run.outputs()["result"] for run in runs)
    assert one == pytest.approx(two, rel=1e-12)
    assert one == pytest.approx([1.0] * 8, abs=0.05)
