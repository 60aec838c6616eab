"""Hints read from logs and metrics: texts as the libraries write them, series as they come."""

import json
from concurrent import futures
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lk_jupyter.api.execution import ExecutionMetrics, ExecutionRecord
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.machines.catalogue import Catalogue
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.observers.rules import Evidence, Imports, hints
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits
from lk_jupyter.runs.variables.payload import VariablePayload

NOON = datetime(2026, 6, 2, 12, tzinfo=timezone.utc)
PRICES = {
    "gpu.l40s": "1.19",
    "gpu.a100": "1.59",
    "gpu.h100": "2.79",
    "gpu.h200": "4.29",
    "gpu.secret": None,
    "cpu": None,
}
TYPES = {name: MachineType(hardware_profile=name, price_per_hour=price) for name, price in PRICES.items()}

FRAMES = """Traceback (most recent call last):
  File "/job/cell.py", line 7, in <module>
    loss = model(batch)
           ^^^^^^^^^^^^
"""

TORCH_2_6 = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 44.39 GiB "
    "of which 12.81 GiB is free. Including non-PyTorch memory, this process has 31.57 GiB memory in use. Of the "
    "allocated memory 31.08 GiB is allocated by PyTorch, and 1.52 MiB is reserved by PyTorch but unallocated. If "
    "reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)
TORCH_2_1 = (
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 64.00 GiB. GPU 0 has a total capacty of "
    "44.39 GiB of which 23.50 MiB is free. Process 4102 has 44.36 GiB memory in use. Of the allocated memory 43.87 GiB "
    "is allocated by PyTorch, and 14.90 MiB is reserved by PyTorch but unallocated."
)
TORCH_1 = (
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 44.39 GiB total capacity; 43.56 GiB already "
    "allocated; 7.44 MiB free; 43.88 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try "
    "setting max_split_size_mb to avoid fragmentation.  See documentation for Memory Management and "
    "PYTORCH_CUDA_ALLOC_CONF"
)
TORCH_KERNEL = (
    "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API "
    "call, so the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)
CUBLAS = "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
TF_GRAPH = (
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:\n\nDetected at node "
    "'model/conv2d/Conv2D' defined at (most recent call last):\n    File \"/job/cell.py\", line 7, in <module>\n"
    "OOM when allocating tensor with shape[512,2048,38,38] and type float on "
    "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc\n\t [[{{node model/conv2d/Conv2D}}]]\n"
    "Hint: If you want to see a list of allocated tensors when OOM happens, add "
    "report_tensor_allocations_upon_oom to RunOptions for current allocation info."
)
TF_EAGER = (
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node "
    "__wrapped__MatMul_device_/job:localhost/replica:0/task:0/device:GPU:0}} failed to allocate memory [Op:MatMul]"
)
TF_CPU = (
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with "
    "shape[800000,90000] and type float on /job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu "
    "[Op:RandomUniform]"
)
JAX = "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate {} bytes."
CUPY = "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 34,359,738,368 bytes (allocated so far: 0 bytes)."
NUMBA = "numba.cuda.cudadrv.driver.CudaAPIError: [2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"


def record(status="failed", *, error="", code=1, seconds=60.0, **facts):
    text = FRAMES + error + "\n" if error else ""
    return ExecutionRecord(
        execution_id="3f0c2a9e",
        status=status,
        created_at=NOON,
        start_time=NOON,
        end_time=NOON + timedelta(seconds=seconds),
        return_code=code,
        **{"stderr": text, **facts},
    )


def package(folder=None, machine="gpu.l40s", requirements=(), timeout=60, max_cost=None):
    options = RunOptions(requirements=list(requirements), timeout=timeout)
    limits = Limits(60, 600, Decimal(max_cost) if max_cost else None)
    return BundleBuilder(Source("print(1)", folder=folder or Path()), options, TYPES[machine], limits).build()


def said(*, machine="gpu.l40s", allowed=(), **facts):
    """Return what is said of a run, one line each; all hints are marked."""
    machines = Catalogue.of(TYPES.values(), allowed)
    found = hints(Evidence(machine=TYPES[machine], machines=machines, max_timeout=600, installed={}, **facts))
    mark = "Hint: " if "record" in facts else "⚠ "
    assert all("\n" not in remark.text and str(remark).startswith(mark) for remark in found)
    return [remark.text for remark in found]


# CUDA out of memory


@pytest.mark.parametrize(
    "error",
    [TORCH_2_6, TORCH_1, TORCH_KERNEL, CUBLAS, TF_GRAPH, TF_EAGER, JAX.format(60 << 30), CUPY, NUMBA],
    ids=lambda text: text[:40],
)
def test_where_the_gpus_memory_was_too_small_the_next_machine_up_is_named_with_its_price(error):
    (hint,) = said(record=record(error=error))
    assert hint.startswith("The GPU's memory (4")
    assert hint.endswith("A smaller batch needs less memory; --gpu A100 has more: 80 GiB, 1.59 credits/h.")


def test_a_machine_that_would_not_have_been_enough_either_is_passed_over():
    (hint,) = said(record=record(error=TORCH_2_1))  # 44.36 in use and 64 more
    assert "--gpu H200 has more: 140 GiB, 4.29 credits/h" in hint
    assert "--gpu H200" in said(record=record(error=JAX.format(100 << 30)))[0]
    assert "no machine" in said(record=record(error=JAX.format(160 << 30)))[0]
    assert "--gpu H200" in said(record=record(error=CUPY.replace("so far: 0", f"so far: {50 << 30:,}")))[0]


def test_a_machine_that_the_account_may_not_use_or_whose_price_nobody_knows_is_not_named():
    (hint,) = said(record=record(error=TORCH_2_6), allowed=("gpu.l40s", "gpu.h100", "gpu.secret"))
    assert "--gpu H100 has more: 80 GiB, 2.79 credits/h" in hint
    (hint,) = said(record=record(error=TORCH_2_6), allowed=("gpu.l40s", "gpu.secret"))
    assert hint.endswith("no machine that you may use has enough memory.")


def test_a_machine_that_shares_its_card_with_a_smaller_one_is_named_by_its_profile():
    names = {"gpu.a100.40gb": "1.29", "gpu.a100.80gb": "1.59", "gpu.rtx6000pro": "1.89"}
    types = [MachineType(hardware_profile=name, price_per_hour=price) for name, price in names.items()]
    error = TORCH_2_6.replace("44.39", "39.39")
    (hint,) = hints(Evidence(record=record(error=error), machine=types[0], machines=Catalogue.of(types, ())))
    assert "--machine gpu.a100.80gb has more: 80 GiB, 1.59 credits/h." in hint.text
    allowed = Catalogue.of(types, ["gpu.a100.80gb"])
    assert hints(Evidence(record=record(error=error), machine=types[0], machines=allowed)) == [hint]


def test_on_the_largest_machine_no_other_is_named():
    (hint,) = said(record=record(error=CUBLAS), machine="gpu.h200")
    assert "no machine that you may use" in hint


def test_an_error_over_there_is_found_below_the_errors_that_it_led_to():
    between = "During handling of the above exception, another exception occurred:"
    chained = f"{TORCH_2_6}\n\n{between}\n\n{FRAMES}ValueError: no loss"
    assert "--gpu A100" in said(record=record(error=chained))[0]


def test_what_python_prints_at_its_exit_does_not_hide_the_error():
    noise = (
        "Exception ignored in: <function Pool.__del__ at 0x7f>\nTraceback (most recent call last):\n  x\nKeyError: 1"
    )
    assert "--gpu A100" in said(record=record(error=f"{TORCH_2_6}\n{noise}"))[0]


@pytest.mark.parametrize(
    "ended",
    [
        record("completed", error=TORCH_2_6, code=0),  # it went on with a smaller batch
        record("failed", error="ValueError: the sentence 'CUDA out' of memory"),
        record("failed", stderr=f"{TORCH_2_6}\n"),  # printed, no error
        record("aborted", error=TORCH_2_6, code=None),
        record("system_failure", error=TORCH_2_6, code=None),
        record("failed", error=TF_CPU),
    ],
)
def test_no_larger_gpu_is_named_for_a_run_that_did_not_fail_for_want_of_its_memory(ended):
    assert said(record=ended) == []


def test_where_the_record_leaves_long_output_out_the_followed_log_tells():
    assert "--gpu A100" in said(record=record(stderr=None), log=f"epoch 1\n\x1b[31m{FRAMES}{TORCH_2_6}\x1b[0m\n")[0]


# Something is missing


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("cv2", "Add -r opencv-python-headless."),
        ("sklearn", "Add -r scikit-learn."),
        ("PIL", "Add -r pillow."),
        ("yaml", "Add -r pyyaml."),
        ("google.cloud.storage", "Add -r google-cloud-storage."),
        ("polars", "Add -r polars."),
        ("oddly_named", "Add -r oddly_named, if its package has that name."),
    ],
)
def test_the_option_that_adds_a_missing_module_is_named(module, words):
    (hint,) = said(record=record(error=f"ModuleNotFoundError: No module named '{module}'"), bundle=package())
    assert hint == f"{module} isn't installed in the run. {words}"


def test_a_package_that_is_installed_here_is_named_as_it_is_called_here():
    found = hints(
        Evidence(
            record=record(error="ModuleNotFoundError: No module named 'oddly_named'"),
            installed={"oddly_named": ["something-else"]},
        )
    )
    assert [remark.text for remark in found] == ["oddly_named isn't installed in the run. Add -r something-else."]


def test_a_module_one_letter_from_a_frequent_package_gets_no_button():
    (hint,) = hints(Evidence(record=record(error="ModuleNotFoundError: No module named 'numpyy'"), installed={}))
    assert hint.text == "numpyy isn't installed in the run, and its name is similar to 'numpy'. Correct the import."
    assert hint.option == ""


@pytest.mark.parametrize(
    "error",
    [
        "ModuleNotFoundError: No module named 'torch.cuda.amp.new'",  # torch is there, in another version
        "ModuleNotFoundError: No module named '_tkinter'; the system lacks it",
        "ModuleNotFoundError: No module named 'curses'",
        "ModuleNotFoundError: no quotes",
    ],
)
def test_what_no_package_adds_gets_no_hint(error):
    assert said(record=record(error=error), bundle=package()) == []


def test_a_local_module_is_shipped_and_not_installed(tmp_path):
    (tmp_path / "shapes.py").write_text("SIDES = 4")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").touch()
    for module, files in (("shapes", "shapes.py"), ("tools.inner", '"tools/**/*.py"')):
        error = f"ModuleNotFoundError: No module named '{module}'"
        (hint,) = said(record=record(error=error), bundle=package(tmp_path))
        assert hint == f"{files} wasn't uploaded. Add --files {files}."


@pytest.mark.parametrize(
    "error",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: '{}'",
        "FileNotFoundError: {} not found.",
        "FileNotFoundError: No such file or directory (os error 2): {}",
        "OSError: File `'{}'` not found.",
    ],
)
def test_a_file_that_is_only_here_is_named_with_what_brings_it(error, tmp_path):
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "x.csv").touch()
    (tmp_path / "outside.csv").touch()
    for name, way in (("x.csv", "Add --files x.csv."), ("../outside.csv", "%lk_put ../outside.csv")):
        (hint,) = said(record=record(error=error.format(name)), bundle=package(folder))
        assert hint.endswith(way)
    assert said(record=record(error=error.format("nowhere.csv")), bundle=package(folder)) == []


def test_a_package_that_was_required_already_is_not_asked_for_again():
    error = "ModuleNotFoundError: No module named 'yaml'"
    assert said(record=record(error=error), bundle=package(requirements=["PyYAML>=6"])) == []


def test_opencv_without_a_display_gets_the_package_that_needs_none():
    error = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    assert "-r opencv-python-headless" in said(record=record(error=error))[0]


class Mine:
    """A class of a notebook."""


Mine.__module__ = "__main__"
NOTEBOOK = {
    "learning_rate": 0.1,
    "y": [1],
    "np": np,
    "json": json,
    "D": Decimal,
    "wait": futures.wait,
    "Mine": Mine,
    "step": lambda: 1,
}
NOTEBOOK["step"].__module__ = "__main__"


@pytest.mark.parametrize(
    ("error", "words", "option"),
    [
        ("name 'y' is not defined", "doesn't have the notebook's variable 'y'. Send it: --sync.", "--sync"),
        ("name 'y' is not defined. Did you mean: 'ys'?", "variable 'y'. Send it: --sync.", "--sync"),
        ("name 'learning_rat' is not defined", "Did you mean 'learning_rate'? A fresh process doesn't have", ""),
        ("name 'np' is not defined", "the notebook's import 'np'. Send it: --sync.", "--sync"),
        ("name 'json' is not defined. Did you forget to import 'json'?", "import 'json'. Send it: --sync.", "--sync"),
        ("name 'D' is not defined", "the notebook's import 'D'. Send it: --sync.", "--sync"),
        ("name 'wait' is not defined", "the notebook's import 'wait'. Send it: --sync.", "--sync"),
        ("name 'Mine' is not defined", "the notebook's class 'Mine'. Send it: --sync.", "--sync"),
        ("name 'step' is not defined", "the notebook's function 'step'. Send it: --sync.", "--sync"),
    ],
)
def test_a_name_of_the_notebook_that_the_run_lacks_is_named_with_what_brings_it(error, words, option):
    (hint,) = hints(Evidence(record=record(error=f"NameError: {error}"), namespace=NOTEBOOK))
    assert words in hint.text
    assert hint.option == option


def cell_bundle(code="best = 1", **options):
    source = Source(code, is_cell=True)
    return BundleBuilder(source, RunOptions(**options), TYPES["gpu.a100"], Limits(60, 600, None)).build()


def test_a_green_fresh_run_lists_names_that_it_did_not_return_with_the_price_of_getting_them():
    code = "import json\ndef lk_checkpoint(folder): ...\nbest, scores = 1, [2]\nfor n in range(8): last = n"
    (hint,) = hints(Evidence(record=record("completed", code=0), bundle=cell_bundle(code)))
    assert hint.text == (
        "The run set 'best', 'scores', 'last', but a fresh process returns no variables. To get them, add --sync and "
        "run the cell again: at most 0.0269 credits (time limit 60 s)."
    )
    assert hint.option == "--sync"
    many = "; ".join(f"v{n} = {n}" for n in range(9))
    (hint,) = hints(Evidence(record=record("completed", code=0), bundle=cell_bundle(many)))
    assert "'v5' and 3 more, but" in hint.text


@pytest.mark.parametrize(
    "bundle",
    [
        cell_bundle("import json\nprint(json)"),
        cell_bundle(session="s"),
        cell_bundle(outputs=["best"]),
        cell_bundle(relay=True),
        cell_bundle(metadata={"lk_group": "1"}),
        replace(cell_bundle(), payload=VariablePayload(settings={"carry": True})),
    ],
    ids=["sets nothing", "session", "named outputs", "relay", "one of several", "returns its changes"],
)
def test_a_green_run_that_kept_nothing_back_gets_no_hint(bundle):
    assert hints(Evidence(record=record("completed", code=0), bundle=bundle)) == []


@pytest.mark.parametrize("error", ["NameError: name 'elsewhere' is not defined", "NameError: y", "ValueError: y"])
def test_a_name_that_nobody_knows_gets_no_hint(error):
    assert hints(Evidence(record=record(error=error), namespace=NOTEBOOK)) == []


def test_a_question_that_a_run_cannot_answer_gets_the_way_around():
    for error in ("EOFError: EOF when reading a line", "EOFError: a run has no input for getpass()"):
        assert "name = input(), then add --in name" in said(record=record(error=error))[0]
    assert said(record=record(error="EOFError: Ran out of input")) == []


def test_a_task_in_the_background_gets_the_way_around():
    assert "await task" in said(record=record(error="RuntimeError: no running event loop"))[0]


@pytest.mark.parametrize("folder", ["/mnt/s3", "/job/work"])
def test_a_file_that_the_folder_of_the_bucket_lacks_leads_to_the_check_that_finds_the_folder(folder):
    error = f"FileNotFoundError: [Errno 2] No such file or directory: '{folder}/data/x.csv'"
    (hint,) = said(record=record(error=error))
    assert "%lk_ls data/x.csv" in hint
    assert hint.endswith("%lk_check --spend")
    assert said(record=record(error="FileNotFoundError: [Errno 2] No such file or directory: 'x.csv'")) == []


@pytest.mark.parametrize(
    "error",
    [
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        "AttributeError: 'NoneType' object has no attribute 'zero_'",
    ],
)
def test_a_graph_that_stayed_in_an_earlier_run_has_a_way_out(error):
    carrying = replace(package(), payload=VariablePayload(settings={"carry": 1}))
    (hint,) = said(record=record(error=error), bundle=carrying)
    assert "in the cell that computes the tensor, or keep the cells in one session: --session NAME" in hint
    assert said(record=record(error=error), bundle=package()) == []


# Killed, or out of time


def series(*values, step=15.0, start=0.0):
    return [
        {"timestamp": NOON + timedelta(seconds=start + step * index), "value": value}
        for index, value in enumerate(values)
    ]


def metrics(**given):
    return ExecutionMetrics(executionId="3f0c", **given)


def test_a_killed_run_is_told_from_what_its_memory_was():
    killed = record(code=137)
    full = metrics(systemRamUsedBytes=series(10, None, 97), systemRamTotalBytes=series(100, 100, None))
    low = metrics(systemRamUsedBytes=series(10, 20), systemRamTotalBytes=series(100, 100))
    assert "The usual cause is that the machine's memory" in said(record=killed)[0]
    assert "97 % of the machine's memory was in use" in said(record=killed, metrics=full)[0]
    assert "20 % of the machine's memory was in use at the last sample" in said(record=killed, metrics=low)[0]
    assert said(record=record("aborted", code=137)) == []


def test_a_run_out_of_time_gets_twice_as_long_with_what_that_may_cost():
    time_limit_exceeded = record("timeout", code=None)
    assert said(record=time_limit_exceeded, bundle=package(timeout=60)) == [
        "Try --timeout 120, at most 0.0400 credits."
    ]
    assert "--timeout 600" in said(record=time_limit_exceeded, bundle=package(timeout=500))[0]
    assert "%lk_config max_timeout" in said(record=time_limit_exceeded, bundle=package(timeout=600))[0]
    assert said(record=time_limit_exceeded, bundle=package(timeout=600, max_cost="0.01")) == []
    assert said(record=time_limit_exceeded, bundle=package(timeout=60), has_checkpoint=True) == []


# The GPU


def test_a_gpu_that_idles_for_minutes_is_told_while_the_run_goes_on_and_at_its_end():
    idle = metrics(gpuUtilizationPercent=series(80, *[4] * 13, 90))
    (hint,) = said(metrics=idle)
    assert hint.startswith("The GPU was below 10 % for 3 min 00 s. Does the GPU wait for data")
    assert hint.endswith("The machine costs 1.19 credits/h while it waits.")
    assert said(metrics=idle, record=record("completed", code=0)) == [hint]


def test_a_gpu_that_did_nothing_at_all_asks_for_the_model():
    assert "Is the model on the GPU" in said(metrics=metrics(gpuUtilizationPercent=series(*[0] * 12)))[0]


@pytest.mark.parametrize(
    "values",
    [
        (),
        (None,) * 40,
        (4,) * 8,  # 105 s
        (4, 4, 4, 50) * 10,
        (4, *[None] * 20, 4),  # nothing is known of the time between
        (4, 4, 4, *[None] * 5, 4, 4, 4, *[None] * 5, 4),
    ],
)
def test_nothing_is_said_of_a_gpu_where_it_was_busy_or_nobody_knows(values):
    assert said(metrics=metrics(gpuUtilizationPercent=series(*values))) == []


def test_samples_that_are_missing_now_and_then_do_not_hide_an_idle_gpu():
    assert said(metrics=metrics(gpuUtilizationPercent=series(*[3, None, 4] * 6))) != []


def test_gpu_memory_that_is_nearly_full_and_rises_is_warned_of_while_the_run_goes_on():
    filling = metrics(gpuMemoryUtilizationPercent=series(80, 85, 88, 91, 93, 94))
    (hint,) = said(metrics=filling)
    assert "94 % full and rising (80 % were used 1 min 15 s earlier)" in hint
    assert said(metrics=filling, record=record("completed", code=0)) == []


@pytest.mark.parametrize("values", [(95,) * 8, (70, 75, 80, 85), (99, 97, 95, 93), (91, 96, 92, 94), (95, 99)])
def test_memory_that_is_full_but_steady_or_rising_but_low_is_no_matter(values):
    assert said(metrics=metrics(gpuMemoryUtilizationPercent=series(*values))) == []


# Imports


def test_imports_that_took_most_of_the_time_are_told():
    (hint,) = said(record=record("completed", code=0, seconds=30), imports=Imports(21.04, "torch", 12.5))
    assert hint.startswith("Imports took 21.0 s of 30.0 s, torch 12.5 s of them.")


@pytest.mark.parametrize(("imports", "seconds"), [(9, 10), (14, 30), (0, 5)])
def test_imports_that_were_short_or_a_small_part_are_no_matter(imports, seconds):
    assert said(record=record("completed", code=0, seconds=seconds), imports=Imports(imports)) == []


# Packages that are installed again


def test_packages_that_delay_the_code_are_worth_keeping():
    late = record("completed", code=0).model_copy(update={"execelet_start": NOON - timedelta(seconds=74)})
    (hint,) = said(record=late, bundle=package(requirements=["torch"]))
    assert hint.startswith(
        "The start of the machine and the installation of the packages took 1 min 14 s before the code "
        "started. Keep the packages"
    )
    assert said(record=late, bundle=package()) == []
    assert said(record=record("completed", code=0), bundle=package(requirements=["torch"])) == []
