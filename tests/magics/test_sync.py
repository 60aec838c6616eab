"""A cell sends the variables that it reads and returns its changes, after a question where one is needed."""

import ast
import json

import nbformat
import pytest
from magics.kernels import RICH, Cell
from magics.test_front_ends import LAB
from patience import PATIENCE

from lk_jupyter.config import files, settings
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._output.live import RUN_MIME

READS = "%%lk_run --machine cpu\nX.append(4)\ny = len(X)\nprint(y)"
CHOICES = ["%lk_config carry always --notebook", "%%lk_run --machine cpu --sync", "%%lk_run --machine cpu --fresh"]


@pytest.fixture
def notebook(kernel):
    """The kernel of a notebook of a Jupyter server, with the default settings; gives the path of the notebook."""
    path = kernel.home / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    setup = f"import os\nos.environ['JPY_SESSION_NAME'] = {str(path)!r}\nos.environ.pop('LK_CARRY', 0)"
    kernel.run(f"{setup}\nfrom lk_jupyter.config import consents\nX = [1, 2, 3]")
    yield path
    kernel.run("import os\nos.environ['LK_CARRY'] = 'always'\nos.environ.pop('JPY_SESSION_NAME', 0)")
    kernel.run("consents._answers.clear()\nconsents.consents_file().unlink(missing_ok=True)\ndel consents, X")


@pytest.fixture
def alone(kernel, notebook):
    """The kernel of a program that executes a notebook, such as papermill, with the default settings."""
    kernel.run("import os\ndel os.environ['JPY_SESSION_NAME']")


def answer(kernel, code, text="", page=LAB):
    """Run a cell of a page with a keyboard; return the cell, and the questions that got the text as answer."""
    cell, questions = Cell(), []

    def reply(request):
        questions.append(request["content"]["prompt"])
        kernel.client.input(text)

    before, kernel.client.session.metadata = kernel.client.session.metadata, page
    try:
        kernel.client.execute_interactive(
            code,
            allow_stdin=True,
            stop_on_error=False,
            timeout=PATIENCE,
            stdin_hook=reply,
            output_hook=lambda message: cell.messages.append((message["msg_type"], message["content"])),
        )
    finally:
        kernel.client.session.metadata = before
    return cell, questions


def run_silently(kernel, code):
    """Run a cell of a front end without a keyboard."""
    return kernel.run(code, cell_id="cell-of-a-program")


def test_the_question_lists_names_and_size_and_who_can_read_them_and_once_sends(kernel, notebook):
    cell, (question,) = answer(kernel, READS, "o")
    assert question.startswith("This cell reads X (")
    text = " ".join(question.split())
    assert " B). Send these variables and return changes? Members of your organization can read the values." in text
    offer = "Keeping the machine for 5 min between cells costs an unknown price."
    assert text.endswith(f"{offer} [a]lways in this notebook, [o]nce, [k]eep the machine, [f]resh process:")
    assert (cell.text, kernel.value("X, y")) == ("4\n", "([1, 2, 3, 4], 4)")
    assert "Sent: X (" in str(cell.messages)
    _, questions = answer(kernel, READS, "o")
    assert len(questions) == 1


def test_always_is_stored_on_this_machine_for_this_notebook_and_asks_no_more(kernel, notebook):
    answer(kernel, READS, "a")
    before = notebook.read_text()
    _, questions = answer(kernel, READS)
    assert (questions, kernel.value("len(X)"), notebook.read_text()) == ([], "5", before)
    stored = json.loads(kernel.run("print(consents.consents_file().read_text())").text)
    assert [json.loads(key)[0] for key in stored] == [str(notebook)]
    kernel.run(f"os.environ['JPY_SESSION_NAME'] = {str(notebook.with_name('other.ipynb'))!r}")
    _, questions = answer(kernel, READS, "o")
    assert len(questions) == 1


def test_after_always_a_cell_asks_again_for_an_upload_of_more_than_10_s_at_the_measured_speed(kernel, notebook):
    answer(kernel, READS, "a")
    kernel.run("import os\nlarge = os.urandom(300_000)\nsession = __import__('lk_jupyter').connect()")
    speed = "consents.keep_upload_speed(session.base_url, session.target.org or '', 8_000_000, {})"
    cell = "%%lk_run --machine cpu\nprint(len(large))"
    kernel.run(speed.format(800))
    _, (question,) = answer(kernel, cell, "")
    assert question.startswith("This cell reads large (300 kB, about 30 s to upload). Send these")
    kernel.run(speed.format(80))
    shown, questions = answer(kernel, cell)
    assert (questions, shown.text) == ([], "300000\n")
    kernel.run("session.close()\ndel session, large")


#: An object that is read only after the kernel has shown that it reads variables.
SLOW = """
import threading
from lk_jupyter.magics.run import LiveOutput
announced, show_progress = threading.Event(), LiveOutput.show_progress
def announce(output, line):
    show_progress(output, line)
    announced.set()
LiveOutput.show_progress = announce
class Slow:
    def __reduce__(self):
        announced.wait()
        return dict, ()
slow = Slow()
"""


def test_variables_that_take_long_to_read_are_announced_until_the_run_is_submitted(kernel, notebook):
    kernel.run(SLOW)
    cell, _ = answer(kernel, "%%lk_run --machine cpu --sync\nprint(slow)")
    assert "reading variables for 1 s" in str(cell.messages)
    assert "reading variables" not in str(cell.shown)
    kernel.run("LiveOutput.show_progress = show_progress\ndel slow, Slow")


def test_a_fresh_process_gets_nothing(kernel, notebook):
    cell, questions = answer(kernel, READS, "f")
    assert len(questions) == 1
    assert "NameError: name 'X' is not defined" in cell.error["evalue"]
    assert "Sent" not in "".join(cell.shown)


@pytest.mark.parametrize("text", ["", "for x in X:", "a = 3", "n"])
def test_an_answer_that_is_none_of_the_three_sends_nothing(kernel, notebook, text):
    cell, questions = answer(kernel, READS, text)
    assert len(questions) == 1
    assert "Nothing was sent." in cell.error["evalue"]
    assert cell.error["evalue"].splitlines()[1:] == CHOICES
    assert kernel.value("X") == "[1, 2, 3]"


@pytest.mark.parametrize("page", [{}, {"cellId": "cell-of-an-agent"}])
def test_a_client_that_declares_input_but_draws_no_question_gets_the_lines_and_a_free_kernel(kernel, notebook, page):
    cell, questions = answer(kernel, READS, "o", page)
    assert questions == []
    assert "Nothing was sent." in cell.error["evalue"]
    assert cell.error["evalue"].splitlines()[1:] == CHOICES
    assert kernel.value("X") == "[1, 2, 3]"


def test_a_program_in_the_kernel_of_a_users_notebook_gets_the_lines_to_choose_from(kernel, notebook):
    cell = run_silently(kernel, READS)
    assert cell.error["evalue"].splitlines()[1:] == CHOICES
    assert "Nothing was sent." in cell.error["evalue"]
    assert run_silently(kernel, "%%lk_run --machine cpu\nprint('nothing is read')").error is None
    assert run_silently(kernel, READS.replace("cpu", "cpu --sync", 1)).text == "4\n"
    run_silently(kernel, "%lk_config carry always --notebook")
    assert run_silently(kernel, READS).text == "5\n"
    run_silently(kernel, "%lk_config carry --unset --notebook")
    assert run_silently(kernel, READS).error["ename"] == "UsageError"


def test_a_program_that_executes_a_notebook_sends_without_a_question_and_lists_names_and_sizes(kernel, alone):
    cell = run_silently(kernel, READS)
    assert cell.text == "4\n"
    assert "Sent: X (" in cell.shown[0]
    assert kernel.value("X, y") == "([1, 2, 3, 4], 4)"


def test_a_program_sends_neither_all_variables_nor_more_than_100_mb(kernel, alone):
    cell = run_silently(kernel, "%%lk_run --machine cpu\nprint(len(globals()))")
    assert cell.error["evalue"].startswith("This cell reads all variables: ")
    assert "--notebook" not in cell.error["evalue"]
    kernel.run("large = bytes(100_000_001)")
    cell = run_silently(kernel, "%%lk_run --machine cpu\nprint(len(large))")
    assert "A program can send up to 100 MB without a question. Nothing was sent." in cell.error["evalue"]
    kernel.run("del large")


#: A stand-in for torch on a laptop, as code that chooses a device sees it.
TORCH = """
import types
torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False, device_count=lambda: 0))
"""
CHOICE = "'cuda' if torch.cuda.is_available() else 'cpu'"


@pytest.mark.parametrize(
    ("assignment", "name", "label"),
    [
        (f"device = {CHOICE}", "device", "'cpu'"),
        (f"dev: str = {CHOICE}", "dev", "'cpu'"),
        ("use_cuda = torch.cuda.is_available()", "use_cuda", "False"),
        ("gpus = torch.cuda.device_count()", "gpus", "0"),
    ],
)
def test_a_device_that_was_chosen_here_is_named_in_question_and_receipt_with_the_line(
    kernel, notebook, assignment, name, label
):
    kernel.run(TORCH)
    kernel.run(assignment)
    code = f"%%lk_run --gpu A100\nprint({name})"
    cell, (question,) = answer(kernel, code, "o")
    line = ast.unparse(ast.parse(assignment))
    advice = f"{name} is {label} from this computer, so the GPU may stay idle. To choose it in the run, add this line"
    assert advice in " ".join(question.split())
    assert f"{advice} to the cell: {line}. To send {label} anyway: --in {name}" in cell.shown[-1]
    assert advice not in str(answer(kernel, code.replace("A100", f"A100 --in {name}"), "o"))
    assert advice not in str(answer(kernel, code.replace("--gpu A100", "--machine cpu"), "o"))
    kernel.run(f"del torch, {name}")


def test_a_device_that_the_author_wrote_is_sent_without_a_word(kernel, notebook):
    kernel.run("device = 'cpu'")
    cell, _ = answer(kernel, "%%lk_run --gpu A100\nprint(device)", "o")
    assert "from this computer" not in str(cell.messages)
    kernel.run("del device")


@pytest.mark.parametrize("requirements", ["-r auto", "--keep 1s -r auto"])
def test_objects_of_notebook_classes_need_no_package(kernel, notebook, requirements):
    kernel.run(
        "import collections, dataclasses\nP = collections.namedtuple('P', 'x')\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\npoints = [P(1), Point(2)]"
    )
    code = f"%%lk_run --machine cpu --sync {requirements} --dry-run\nprint(sum(point.x for point in points))"
    cell = kernel.run(code)
    assert cell.error is None
    assert "namedtuple_P" not in str(cell.messages)
    kernel.run("del points, P, Point")


def test_a_method_that_restores_a_value_can_use_variables_that_the_cell_does_not_name(kernel):
    kernel.run(
        "BASE = 3\nclass Shifted:\n    def __init__(self, x):\n        self.x = x + BASE\n"
        "    def __reduce__(self):\n        return Shifted, (self.x - BASE,)\nshifted = Shifted(4)"
    )
    assert kernel.run("%%lk_run --machine cpu --sync\nprint(shifted.x)").text == "7\n"
    kernel.run("del BASE, Shifted, shifted")


@pytest.mark.parametrize("place", ["user_ns", "user_global_ns"])
def test_the_namespace_of_the_shell_has_variables_that_the_cell_does_not_name(kernel, place):
    kernel.run("hidden = 5")
    assert kernel.run(f"%%lk_run --machine cpu --sync\nprint(get_ipython().{place}['hid' + 'den'])").text == "5\n"
    kernel.run("del hidden")


def test_a_hash_of_text_is_named_as_different_between_processes(kernel):
    assert "hash() of text differs" in str(kernel.run("%%lk_run --machine cpu --sync\nnumber = hash('text')").messages)
    assert "hash() of text" not in str(kernel.run("%%lk_run --machine cpu --sync\nnumber = len('text')").messages)
    kernel.run("del number")


def test_a_cell_that_reads_all_variables_asks_each_time(kernel, notebook):
    kernel.run("%lk_config carry always --notebook")
    for _ in range(2):
        cell, (question,) = answer(kernel, "%%lk_run --machine cpu\nprint('X' in globals())", "o")
        assert " ".join(question.split()).endswith("the values. [o]nce, [f]resh process:")
        assert cell.text == "True\n"


def test_a_cell_that_reads_nothing_or_only_imports_asks_nothing(kernel, notebook):
    kernel.run("import math, sklearn  # which sets variables of the environment\nfrom json import dumps")
    cell, questions = answer(kernel, "%%lk_run --machine cpu\nz = math.floor(2.5)\nprint(dumps(z))")
    assert (questions, cell.text, kernel.value("z")) == ([], "2\n", "2")


def test_a_changed_variable_of_the_environment_is_in_the_question(kernel, notebook):
    kernel.run("os.environ['MODE_OF_TEST'] = 'fast'")
    cell, (question,) = answer(kernel, "%%lk_run --machine cpu\nimport os\nprint(os.environ['MODE_OF_TEST'])", "o")
    kernel.run("del os.environ['MODE_OF_TEST']")
    assert "os.environ['MODE_OF_TEST']" in question
    assert cell.text == "fast\n"


def test_a_file_that_the_cell_names_is_in_the_question(kernel, notebook):
    (kernel.home / "rows.csv").write_text("1,2")
    cell, (question,) = answer(kernel, "%%lk_run --machine cpu\nprint(open('rows.csv').read())", "o")
    assert question.startswith("This cell reads 'rows.csv' (3 B).")
    assert cell.text == "1,2\n"


def test_names_on_the_line_are_no_question(kernel, notebook):
    _, questions = answer(kernel, READS.replace("cpu", "cpu --in X", 1))
    assert (questions, kernel.value("X")) == ([], "[1, 2, 3, 4]")


def test_never_makes_each_run_a_fresh_process(kernel, notebook):
    kernel.run("os.environ['LK_CARRY'] = 'never'")
    cell, questions = answer(kernel, READS)
    assert questions == []
    assert "NameError" in cell.error["evalue"]


def test_a_stored_answer_counts_only_for_a_file_that_its_user_has_signed(kernel, notebook):
    answer(kernel, READS, "a")
    kernel.run("consents._answers.clear()")  # as in a new kernel
    received = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("X", outputs=[_html()])])
    nbformat.write(received, notebook)
    _, questions = answer(kernel, READS, "o")
    assert len(questions) == 1
    kernel.run(f"import nbformat, nbformat.sign\nbook = nbformat.read({str(notebook)!r}, 4)")
    kernel.run("notary = nbformat.sign.NotebookNotary()\nnotary.sign(book)\nnotary.store.close()\ndel notary, book")
    _, questions = answer(kernel, READS)
    assert questions == []


def _html():
    return nbformat.v4.new_output("display_data", {"text/html": "<b>x</b>"})


@pytest.mark.nightly
def test_several_runs_ask_once(kernel, notebook):
    cell, questions = answer(kernel, "%%lk_run --machine cpu --sweep lr=1,2\nprint(lr * len(X))", "o")
    assert len(questions) == 1
    assert cell.error is None


def test_sync_and_fresh_exclude_each_other(kernel, notebook):
    cell = run_silently(kernel, READS.replace("cpu", "cpu --sync --fresh", 1))
    assert cell.error["evalue"].startswith("--sync and --fresh exclude each other. Nothing was sent.")


@pytest.mark.nightly
def test_a_broken_file_of_answers_asks_again(kernel, notebook):
    answer(kernel, READS, "a")
    kernel.run("consents._answers.clear()\nconsents.consents_file().write_text('{')")
    _, questions = answer(kernel, READS, "a")
    assert len(questions) == 1


def test_an_administrator_fixes_a_setting_for_all_users(monkeypatch, tmp_path, home):
    site = tmp_path / "config.json"
    site.write_text(json.dumps({"carry": "never", "carry_limit": 1000}))
    monkeypatch.setattr(settings, "SITE_FILE", site)
    monkeypatch.setenv("LK_CARRY", "always")
    assert settings.resolve("carry") == ("never", files.ADMINISTRATOR)
    assert settings.setting("carry_limit") == 1000
    with pytest.raises(
        UsageError,
        match=r"You can't change 'carry': the administrator of this machine has set it in .*Nothing was stored",
    ):
        settings.save("carry", "always")


@pytest.mark.parametrize(("text", "answer"), [("on", "always"), ("False", "never"), ("ask", "ask")])
def test_the_former_values_of_the_setting_still_count(text, answer):
    assert settings.parse_setting("carry", text) == answer


def test_a_name_that_nothing_has_set_is_reported_before_anything_is_sent(kernel, notebook):
    runs = kernel.value("len(__import__('lk_jupyter').history())")
    kernel.run("model = 1")
    cell, questions = answer(kernel, "%%lk_run --machine cpu\nprint(X)\nmodle + 1", "o")
    assert questions == []
    assert cell.error["evalue"] == ("The cell uses undefined names: 'modle'. Nothing was sent. Did you mean 'model'?")
    assert kernel.value("len(__import__('lk_jupyter').history())") == runs


def test_a_fresh_cell_is_not_sent_with_an_unknown_name_and_offers_the_names_that_it_did_not_return(kernel, notebook):
    runs = kernel.value("len(__import__('lk_jupyter').history())")
    cell = run_silently(kernel, "%%lk_run --machine cpu --fresh\nprint(unknown_name)")
    assert cell.error["evalue"].startswith("The cell uses undefined names: 'unknown_name'. Nothing was sent.")
    assert kernel.value("len(__import__('lk_jupyter').history())") == runs
    cell = run_silently(kernel, "%%lk_run --machine cpu --fresh\nbest = 0.9")
    assert cell.shown[-1].startswith("Hint: The run set 'best', but a fresh process returns no variables.")
    assert cell.metadata[-1] == {"lk_jupyter_hints": ["--sync"]}
    assert kernel.value("'best' in globals()") == "False"


@pytest.mark.nightly
def test_the_question_offers_to_keep_the_machine_with_its_price_and_keep_is_stored_on_this_machine(
    kernel, notebook, hosting
):
    before = [kernel.value(f"__import__('os').environ['{name}']") for name in ("LK_BASE_URL", "LK_API_KEY")]
    kernel.run(f"%env LK_BASE_URL={hosting.base_url}\n%env LK_API_KEY={hosting.api_key}")
    cell, (question,) = answer(kernel, "%%lk_run --gpu A100\nX.append(4)\nprint('on it')", "k")
    price = "0.1325 credits per pause, at most 0.2654 credits per machine"
    assert f"Keeping the machine for 5 min between cells costs {price}. [a]lways" in " ".join(question.split())
    assert cell.text == "on it\n"
    assert "released at" in cell.shown[-1]
    headers = [content["data"].get(RUN_MIME, {}) for kind, content in cell.messages if kind in RICH]
    facts = [header["told"] for header in headers if header.get("session")]
    assert "released 5 min after this cell" in facts[0]
    assert facts[-1][0] == "1.59 credits/h"
    assert facts[-1][1].startswith("released at ")
    content = json.loads(notebook.read_text())
    assert content["metadata"] == {}
    cell, questions = answer(kernel, "%%lk_run --gpu A100\nprint(X)")
    assert (cell.text, questions) == ("[1, 2, 3, 4]\n", [])
    kernel.run("%lk_sessions stop\n%lk_config keep --unset --notebook")
    assert "machine" not in kernel.value("consents.consents_file().read_text()")
    kernel.run("%env LK_BASE_URL={}\n%env LK_API_KEY={}".format(*(eval(text) for text in before)))
