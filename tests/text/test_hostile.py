"""Names and texts of others reach no terminal and no page with anything that these obey or that nobody sees."""

import ast
import io
import re
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timezone
from decimal import Decimal
from html import unescape
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import iter_modules

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lk_jupyter
from lk_jupyter import api, errors
from lk_jupyter.account.active import ActiveResource
from lk_jupyter.account.balance import AccountBalance, Identity
from lk_jupyter.account.spending import Charge, Spending
from lk_jupyter.api._models import Model
from lk_jupyter.api.billing import Invoice
from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.inference import DeploymentDetail, Replica
from lk_jupyter.api.vms import VM
from lk_jupyter.cli.output import CommandOutput
from lk_jupyter.inference.catalogue import ModelCatalogue, ModelOffer, TokenPrices
from lk_jupyter.journal.entry import JournalEntry
from lk_jupyter.magics._engine import ask
from lk_jupyter.magics._engine.tables import build_data_frame, show_text
from lk_jupyter.magics._output.live import Hints, Note, StatusLine
from lk_jupyter.magics._output.notification import DesktopNotification
from lk_jupyter.magics._output.unfinished_runs import GoingOn
from lk_jupyter.magics.account import identity_table
from lk_jupyter.magics.billing import _build_invoice_row
from lk_jupyter.magics.deployments import ReplicaLog, deployment_table, replicas_table
from lk_jupyter.magics.vms import vm_row
from lk_jupyter.protocol.notice import HINT, Notice
from lk_jupyter.runs.fanout.comparison import MemberResult, build_table
from lk_jupyter.runs.history.history import History, RunSummary
from lk_jupyter.runs.outcome import Result
from lk_jupyter.storage._tree import draw_tree
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.text.secrets import COLOUR
from lk_jupyter.text.terminal import one_line, plain
from lk_jupyter.views import storage
from lk_jupyter.views.bars import Bar, Rows, parse_bar
from lk_jupyter.views.credits import balance
from lk_jupyter.views.table import Table

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)

#: Titles, links, the clipboard, cursor moves, erasures, strings, C1 controls, turns, and invisible signs.
ATTACKS = (
    *(
        "\x1b]0;title\x07",
        "\x1b]8;;http://evil\x1b\\",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b[2J",
        "\x1b[1A\x1b[2K",
        "\x1b[31m",
    ),
    *(
        "\x1bPq\x1b\\",
        "\x1b_G\x1b\\",
        "\x1b^x\x1b\\",
        "\x1bXx\x1b\\",
        "\x1b]",
        "\x1b[",
        "\x1b",
        "\x1bc",
        "\x07",
        "\x08",
        "\r",
    ),
    *("\x7f", "\x00", "\x9b2J", "\x9d0;x\x9c", "\x90", "\x85", "\x84"),
    *(
        "\u061c",
        "\u200e",
        "\u200f",
        "\u202a",
        "\u202b",
        "\u202c",
        "\u202d",
        "\u202e",
        "\u2066",
        "\u2067",
        "\u2068",
        "\u2069",
    ),
    *("\u200b", "\u2060", "\ufeff", "\u00ad", "\u180e", "\u2028", "\u2029", "\u3164", "\u2800", "\U000e0041", "\ud800"),
)
#: Signs that change the direction of text.
BIDIRECTIONAL = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
HOSTILE = st.lists(st.sampled_from((*ATTACKS, "a", "box ", "<b>", "\u05d0", "é", "👩")), min_size=1, max_size=8).map(
    "".join
)


def obeyed(text):
    """Return what a terminal obeys in a text, what turns it, and what nobody sees."""
    return [
        sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and sign not in "\n\t"
    ]


def texts(content):
    """Return everything that a terminal and a page get of an object."""
    yield str(content)
    yield repr(content)
    bundle = getattr(content, "_repr_mimebundle_", dict)()
    for value in (bundle[0] if isinstance(bundle, tuple) else bundle).values():
        yield unescape(str(value))
    if hasattr(content, "_repr_html_"):
        yield unescape(content._repr_html_() or "")
    if hasattr(content, "to_string"):
        yield content.to_string()


def frames(name):
    past = RunSummary(name, NOW, name, name, 1.0, Decimal(1), name, (name,), {}, name, name, name, name, name, name)
    yield History([past], name).table()
    yield build_table([MemberResult(1, name, {name: name}, name, reason=name, notices=(name,), log=name)], [])
    yield build_data_frame([{"name": name}], ["name"])
    yield ModelCatalogue((ModelOffer(name, name, 1, TokenPrices()),)).df
    yield Spending((Charge(name, NOW, name, name, Decimal(1), name),), 1).df


def views(name):
    vm = VM(vm_id=name, status=name, display_name=name, ip_address=name, hardware_profile=name)
    deployment = DeploymentDetail(
        deployment_id=name, hf_model_id=name, status=name, replicas=[Replica(replica_id=name, fail_reason=name)]
    )
    resource = ActiveResource("VM", name, name, name, Decimal(1))
    entry = JournalEntry(name, name, execution_id=name, notebook=name, machine=name, state=name, run_name=name)
    yield from (Table([name], [[name]], name, caption=name), StatusLine(name, [name], name), Note(name))
    yield from (
        Hints([Notice(name, HINT)]),
        ReplicaLog(name, name),
        Rows([parse_bar(bar(name)), Bar(name, 1, 2, name)]),
        DesktopNotification(name),
    )
    yield from (Table(["VM"] * 7, [vm_row(vm)]), deployment_table([deployment]), replicas_table(deployment))
    yield from (GoingOn([entry]), identity_table(Identity(name, name, name, name, name, name)))
    yield from (
        draw_tree(name, lambda _: [ObjectInfo(name, 1, NOW)], 1, 5),
        storage.objects([ObjectInfo(name, 1, NOW)]),
    )
    yield balance(AccountBalance(Decimal(1), (resource,), suspended=False))
    invoice = Invoice(id=name, status=name, invoice_pdf=f"https://a.example/{name}", receipt_url=name)
    yield Table(["Paid"] * 6, [_build_invoice_row(invoice)])
    yield from (resource, vm, deployment, entry, BlockVolume(volume_id=name, name=name), ObjectInfo(name, 1, NOW))
    yield Result(name, name, name, 0, 1.0, None)


def bar(name):
    return {"bar": 1, "n": 1, "total": 2, "label": name, "text": name, "state": "going"}


@given(HOSTILE)
def test_no_table_and_no_view_shows_what_a_terminal_obeys_or_nobody_sees(name):
    for content in (*frames(name), *views(name)):
        for text in texts(content):
            assert obeyed(text) == [], (type(content).__name__, text)


@given(HOSTILE)
def test_no_error_holds_what_a_terminal_obeys_besides_colors(name):
    kinds = [kind for kind in vars(errors).values() if isclass(kind) and issubclass(kind, errors.LkError)]
    plainly = [kind(name) for kind in kinds if kind.__init__ is Exception.__init__]
    assert len(plainly) > 9
    for error in (*plainly, errors.ApiError(400, name, name)):
        for text in (str(error), "\n".join(error._render_traceback_())):
            assert obeyed(COLOUR.sub("", text)) == [], text


def models():
    for module in iter_modules(api.__path__):
        for kind in vars(import_module(f"lk_jupyter.api.{module.name}")).values():
            if isclass(kind) and issubclass(kind, Model) and kind.model_fields:
                yield kind


@given(HOSTILE)
def test_no_answer_of_the_api_shows_it_in_its_repr(name):
    for kind in set(models()):
        answer = kind.model_construct(**dict.fromkeys(kind.model_fields, name))
        assert obeyed(repr(answer)) == [], kind


@given(HOSTILE)
def test_what_is_printed_or_asked_holds_none_of_it(name):
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.input", lambda question: print(question) or "n")
        show_text(name)
        ask.ask(f"Delete {name}? [y/N] ")
    assert obeyed(printed.getvalue()) == []


@pytest.mark.parametrize("text", ["👩‍👩‍👧", "می‌خواهم", "naïve café", "שלום", "日本語", "a\tb\nc"])
def test_other_scripts_and_emoji_stay_as_they_are(text):
    assert plain(text) == text


def test_a_joiner_in_a_name_of_ascii_is_removed():
    assert plain("b\u200dox\u200c") == "box"
    assert one_line("one\r\ntwo\n  three") == "one two three"


#: Functions that clean a text, and functions that write JSON in ASCII.
CLEANING = {"plain", "one_line", "log_text", "only_colors", "escape_signs", "allowed_text", "dumps"}

#: Calls that show a text to a person.
SHOWING = re.compile(
    r"print|input|HTML|Markdown|warnings\.warn|(\w+\.)?getpass|sys\.std(out|err)(\.buffer)?\.write|.*_stream\.write"
)

#: File and function that show a text without such a call → why the text is clean.
CLEAN_TEXTS = {
    "_lazy.py get": "names of this package",
    "_lazy.py moved": "names of this package",
    "_lazy.py old_name": "names of this package",
    "_lazy.py renamed": "names of this package",
    "broker/__main__.py main": "an error of this package, which cleans its message",
    "broker/server.py _serve_broker": "an address of this machine",
    "cli/driver.py main": "a constant",
    "cli/mcp.py main": "an error of this package",
    "cli/output.py emit": "a record or a text that the function has cleaned",
    "cli/output.py log": "a text that the function has cleaned",
    "config/settings.py _current_name": "names of this package",
    "connection/connection.py local_cloud": "an address and a folder of this machine",
    "joblib_backend.py configure": "constants",
    "localcloud/__main__.py _read_password": "an argument of the user",
    "localcloud/__main__.py main": "an error of this package",
    "magics/_engine/ask.py prompt_user": "wraps a question that is cleaned in the same line",
    "magics/_output/chat.py _print_redacted": "redacts lines that are cleaned in the same line",
    "magics/_output/live.py write_error": "its callers pass lines of TerminalText",
    "magics/_output/live.py write_text": "its callers pass lines of TerminalText",
    "magics/containers.py lk_open": "escapes an address of the Jupyter server",
    "options/runs.py current_name": "names of this package",
    "runs/history/repeat_run.py print_output": "an exported program without this package, for the user's own code",
    "runs/history/repeat_run.py report": "the same",
    "storage/_files.py drop": "a name as its repr, which escapes such signs",
    "vms/tunnel.py _pass_bytes": "bytes for the program ssh",
    "vms/tunnel.py main": "an error of this package",
}


def find_shown_texts(path, source):
    """Yield file and function of each place that shows a text without a call that cleans it."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and SHOWING.fullmatch(ast.unparse(call.func)):
                texts = call.args if ast.unparse(call.func) == "print" else call.args[:1]
                if not all(map(is_clean, texts)):
                    yield f"{path} {function.name}"


def is_clean(node):
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in CLEANING
    return isinstance(node, ast.Constant)


def test_each_place_that_shows_a_text_cleans_it():
    package = Path(lk_jupyter.__file__).parent
    paths = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "remote"]
    places = {
        place
        for path in paths
        for place in find_shown_texts(path.relative_to(package).as_posix(), path.read_text("utf-8"))
    }
    assert places == CLEAN_TEXTS.keys()


@pytest.mark.parametrize(
    "line",
    [
        "print(run.name)",
        "print('Run', run.name)",
        "print(f'Run {run.name}')",
        "sys.stderr.write(error.detail)",
        "sys.stdout.buffer.write(line)",
        "self._stream.write(text)",
        "input(question)",
        "display(HTML(name))",
        "warnings.warn(f'Skipped {name}')",
    ],
)
def test_a_new_place_that_shows_a_text_would_be_noticed(line):
    planted = f"def show():\n    {line}"
    assert list(find_shown_texts("planted.py", planted)) == ["planted.py show"]
    assert not list(find_shown_texts("planted.py", "def show():\n    print(plain(run.name))"))


@given(HOSTILE)
def test_a_record_of_lk_shows_none_of_it(name):
    printed, notes = io.StringIO(), io.StringIO()
    with redirect_stderr(notes):
        for is_json in (True, False):
            output = CommandOutput(printed, is_json=is_json)
            output.emit("variable", name, id=name, value={name: name})
            output.note("warning", name, message=name)
            output.fail(ValueError(name), 1)
    assert obeyed(printed.getvalue()) == obeyed(notes.getvalue()) == []


@given(HOSTILE)
def test_a_log_of_lk_changes_its_own_line_only(name):
    printed = io.StringIO()
    for is_json in (True, False):
        CommandOutput(printed, is_json=is_json).log(f"{name}\n", id=name)
    text = re.sub(r"\x1b\[(?:[0-9;:]*m|[02]?K)", "", printed.getvalue())
    signs = [sign for sign in obeyed(text) if sign not in "\b\r"]
    assert not [sign for sign in signs if unicodedata.category(sign) in {"Cc", "Cs"} or sign in BIDIRECTIONAL], text
