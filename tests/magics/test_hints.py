"""Hints under a run that went wrong."""

OUT_OF_MEMORY = """%%lk_run --gpu L40S
class OutOfMemoryError(RuntimeError):
    __module__ = "torch"
raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 44.39 GiB of "
    "which 12.81 GiB is free. Including non-PyTorch memory, this process has 31.57 GiB memory in use.")
"""


def hint(cell):
    """Return the hints of a cell, which are the last that it shows."""
    hints = [shown for shown in cell.shown if shown.startswith("Hint: ")]
    assert hints in ([], cell.shown[-1:])
    return "\n".join(hints)


def test_a_missing_module_is_answered_with_the_option_that_adds_it(kernel):
    cell = kernel.run("%%lk_run\nimport cv2")
    assert cell.error["ename"] == "RunFailed"
    assert hint(cell) == "Hint: cv2 isn't installed in the run. Add -r opencv-python-headless."


def test_a_hint_comes_after_the_traceback_with_the_option_that_a_button_adds(kernel):
    kernel.run("y = 3")
    cell = kernel.run("%%lk_run --fresh\nprint(y)")
    kinds = [kind for kind, _ in cell.messages if kind in {"error", "display_data"}]
    assert kinds[-2:] == ["error", "display_data"]
    assert hint(cell) == "Hint: A fresh process doesn't have the notebook's variable 'y'. Send it: --sync."
    assert cell.metadata[-1] == {"lk_jupyter_hints": ["--sync"]}
    assert kernel.run("1").shown == ["1"], "it is shown once"
    assert hint(kernel.run("%%lk_run --sync\nprint(y)")) == ""


def test_too_little_gpu_memory_is_answered_with_the_next_machine_up_and_its_price(kernel):
    assert hint(kernel.run(OUT_OF_MEMORY)).endswith("--gpu A100 has more: 80 GiB, 1.59 credits/h.")


def test_a_killed_run_is_answered_with_its_memory(kernel):
    assert "The system killed the code (signal 9)" in hint(kernel.run("%%lk_run\nimport os; os.kill(os.getpid(), 9)"))


def test_native_code_that_crashed_is_answered_with_the_way_to_its_line(kernel):
    cell = kernel.run("%%lk_run\nimport os; os.kill(os.getpid(), 11)")
    assert "Native code crashed (segmentation fault)" in hint(cell)
    cell = kernel.run("%%lk_run\nimport faulthandler; faulthandler.enable()\nimport os\nos.kill(os.getpid(), 11)")
    assert "line 4 in <module>" in cell.text


def test_a_run_out_of_time_is_answered_with_a_longer_one_and_its_price(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --timeout 1\nimport time; time.sleep(30)")
    assert hint(cell) == "Hint: Try --timeout 2, at most 0.0013 credits."
    assert "--timeout" not in str(cell.error)


def test_a_run_that_went_well_gets_no_hint(kernel):
    assert hint(kernel.run("%%lk_run\nprint('CUDA out of memory')")) == ""


def test_hints_can_be_turned_off(kernel):
    assert hint(kernel.run("%%lk_run --no-hints\nimport cv2")) == ""
    kernel.run("%env LK_HINTS=off")
    assert hint(kernel.run("%%lk_run\nimport cv2")) == ""
    kernel.run("%env LK_HINTS=")
