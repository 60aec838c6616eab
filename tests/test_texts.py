"""Texts name magics, options, settings, variables, files and names that exist, and limits as the code has them."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from pkgutil import iter_modules

import nbformat
import pytest
from conftest import for_each

import lk_jupyter
from lk_jupyter import cli, dask, options
from lk_jupyter.api import _audit
from lk_jupyter.broker import __main__ as broker
from lk_jupyter.broker import app, rentals, visitors
from lk_jupyter.check import __main__ as check
from lk_jupyter.check import levels
from lk_jupyter.cli.parser import COMMANDS
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.connection import rental
from lk_jupyter.localcloud import __main__ as localcloud
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.machines import start_approval
from lk_jupyter.magics._engine.index import iterate_magics
from lk_jupyter.magics._engine.parser import HELP
from lk_jupyter.magics._engine.registry import ROWS, magic_named
from lk_jupyter.magics._engine.sync_question import OFFERED_SECONDS, UNASKED_BYTES, UNASKED_SECONDS
from lk_jupyter.options.commands import WAIT_SECONDS
from lk_jupyter.options.kernel import MAX_COST
from lk_jupyter.options.runs import Options, RunOptions, option_aliases, renamed_options
from lk_jupyter.protocol import json_limits
from lk_jupyter.protocol.bucket import KEPT, PACKAGES
from lk_jupyter.protocol.vm_run import SETUP_SECONDS
from lk_jupyter.remote.script import moment, packages, variables
from lk_jupyter.remote.values import codec
from lk_jupyter.runs.functions import stored_results
from lk_jupyter.runs.notebooks import session_machine
from lk_jupyter.runs.observers import results
from lk_jupyter.runs.package import checkpoint, image
from lk_jupyter.runs.package.prepare import HANDLE_BYTES, prepare
from lk_jupyter.runs.submit import stage, upload
from lk_jupyter.storage import _preview_child, _preview_process, _preview_readers
from lk_jupyter.text import secrets
from lk_jupyter.vms import sending

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md"]


def _files(*endings):
    for ending in endings:
        yield from ROOT.glob(f"*.{ending}")
        for folder in ("lk_jupyter", "notebooks", "labextension/src", "labextension/schema"):
            yield from (path for path in (ROOT / folder).rglob(f"*.{ending}") if "static" not in path.parts)


def _guide():
    return [path for path in _files("md", "ipynb") if not any(part.startswith(".") for part in path.parts)]


def _read(path):
    """Return the text of a page, or the sources of a notebook: its outputs are those of the code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    return text


def _messages():
    """Yield the texts of sentences in the code, messages and help among them, with their files."""
    for path in _files("py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                yield path, node.value


@cache
def guide():
    """Return page → text."""
    return {path: _read(path) for path in _guide()}


@cache
def all_texts():
    """Return files and texts: pages, texts in Python, and files in TypeScript."""
    scripts = [path for path in _files("ts", "tsx") if ".test." not in path.name]
    return [*guide().items(), *_messages(), *((path, _read(path)) for path in scripts)]


def _short(path):
    return str(path.relative_to(ROOT))


def test_every_magic_and_subcommand_that_a_text_names_exists():
    texts = list(_files("py", "md", "ipynb", "ts", "tsx", "json"))
    assert len(texts) > 500
    unknown = {
        f"{_short(path)}: {mention[0]}"
        for path in texts
        for mention in re.finditer(r"%{1,2}(lk_[a-z_]+)(?: ([a-z][a-z-]*))?", path.read_text(encoding="utf-8"))
        if not _is_magic(mention[1], mention[2])
    }
    assert unknown == set()


def _is_magic(name, word):
    """Whether there is a magic, or a magic with this subcommand."""
    if name not in ROWS:
        return False
    verbs = getattr(magic_named(name), "verbs", None)
    return verbs is None or word is None or word in verbs


# Options

#: Options of other programs that texts show.
OF_OTHERS = {
    "--colors", "--ext", "--no-banner", "--simple-prompt",  # IPython
    "--no-progress-bar",  # papermill
    "--logdir",  # TensorBoard
    "--python",  # uv
    "--store", "--only",  # scripts of the tests
    "--manual",  # the client of the cloud
    "--epochs", "--part",  # scripts of the reader
    "--async", "--down", "--cluster",  # SkyPilot
    "--version", "--require-hashes",  # pip
    "--format", "--generate-hashes",  # uv
    "--lower", "--map", "--quick",  # tests and benchmarks
    "--KernelManager",  # Jupyter
    "--list",  # magics of IPython
    "--its-name", "--no-its-name",  # placeholders in docstrings
}  # fmt: skip


def _flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def _own_options():
    """Return every option of a magic, of a program of ours, and of what a magic passes on."""
    for module in iter_modules(options.__path__):
        import_module(f"{options.__name__}.{module.name}")
    magics = {flag for magic in iterate_magics() for flag in _flags(magic.parser)}
    fields = {
        name
        for model in _models(Options)
        for name in [*model.model_fields, *renamed_options(model), *option_aliases(model)]
    }
    named = {"--" + name.replace("_", "-") for name in fields}
    on_local_cloud = re.findall(r'"(--[a-z-]+)"', (ROOT / "notebooks/on_local_cloud.py").read_text(encoding="utf-8"))
    commands = {flag for command in COMMANDS.values() for flag in _flags(command._parser)}
    brokers = next(action for action in broker._build_parser()._actions if action.choices).choices.values()
    commands |= {flag for each in brokers for flag in _flags(each)}
    programs = (
        commands | _flags(localcloud._build_parser()) | _flags(check._build_parser()) | {*on_local_cloud, "--check"}
    )
    return magics | named | programs | HELP


def _models(model):
    for each in model.__subclasses__():
        yield each
        yield from _models(each)


def test_every_option_that_a_text_names_exists():
    known = _own_options() | OF_OTHERS
    assert len(known) > 150
    unknown = {
        f"{_short(path)}: {mention[0]}"
        for path, text in all_texts()
        if not _is_command_of_others(path)
        for mention in re.finditer(r"(?<![\w-])--[A-Za-z][A-Za-z0-9-]*[a-z0-9](?![\w-])", text)
        if not mention[0].startswith(("--jp-", "--lk-")) and mention[0] not in known
    }
    assert unknown == set()


def _is_command_of_others(path):
    """Whether a file starts programs of others, in shell."""
    return path.parent.name == "runs" and path.parent.parent.name == "localcloud"


def test_every_option_in_a_line_with_a_magic_is_an_option_of_this_magic():
    wrong = {
        f"{_short(path)}: {line[0].strip()}"
        for path, text in all_texts()
        for line in re.finditer(r"%{1,2}(lk_[a-z_]+)((?: [^\s`%]+)*)", text)
        if line[1] in ROWS
        for flag in re.findall(r"(?<= )--?[a-z][a-z0-9-]*", re.split(r"[.,;:)]( |$)", line[2])[0])
        if flag not in _flags_of(line[1], line[2])
    }
    assert wrong == set()


def _flags_of(name, rest):
    magic = magic_named(name)
    verbs = getattr(magic, "verbs", None)
    if verbs:
        first = rest.split()[0]
        magic = verbs.get(first) or next(iter(verbs.values()))
    old = {"--" + name.replace("_", "-") for name in {**renamed_options(magic.model), **option_aliases(magic.model)}}
    return _flags(magic.parser) | HELP | old


# Settings and variables of the environment

#: Words that follow %lk_config and are no setting.
VERBS = {"guess", "lists", "shows", "NAME"}


def test_every_setting_that_a_text_names_exists():
    names = {name for row in SETTINGS for name in (row.name, *row.old_names)}
    after = r"%lk_config ([a-z_]+)|[Ss]ettings? `([a-z_]+)`|`([a-z_]+)` settings?\b|the setting ([a-z]+_[a-z_]+)"
    mentions = [
        (path, match[0], match[match.lastindex]) for path, text in all_texts() for match in re.finditer(after, text)
    ]
    assert len(mentions) > 40
    assert {f"{_short(path)}: {words}" for path, words, name in mentions if name not in names | VERBS} == set()


def test_every_variable_of_the_environment_that_a_text_names_is_read():
    read = {name for row in SETTINGS for name in row.env}
    for path in [*_files("py"), *(ROOT / "tests").rglob("*.py"), ROOT / "Makefile"]:
        read |= set(re.findall(r"""["'\s(]((?:LK|LYCEUM)_[A-Z_]+)\b""", path.read_text(encoding="utf-8")))
    named = {(path, name) for path, text in guide().items() for name in re.findall(r"\bLK_[A-Z][A-Z_]*\b", text)}
    assert {f"{_short(path)}: {name}" for path, name in named if name not in read} == set()


# Files, links and names of Python


def test_every_file_that_a_page_names_or_links_exists():
    folders = r"(?<![\w/.])(?:lk_jupyter|tests|labextension|notebooks|benchmarks)/[\w./*-]+"
    missing = set()
    for path, text in guide().items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\((?!https?:|mailto:|#|<)([^)\s]+)\)|(?:src|srcset)=\"(?!https?:)([^\"]+)\"", prose)
        for target in (link or source for link, source in links):
            file, _, anchor = target.partition("#")
            found = path.parent / file
            if not found.exists() or (anchor and found.suffix == ".md" and anchor not in _anchors(found)):
                missing.add(f"{_short(path)}: {target}")
        if path.name != "CHANGELOG.md":  # it names files of earlier versions
            named = {name for span in re.findall(r"`([^`\n]+)`", prose) for name in re.findall(folders, span)}
            missing |= {f"{_short(path)}: {name}" for name in named if not _is_file(name)}
    assert missing == set()


def _is_file(name):
    return any(ROOT.glob(name.rstrip("."))) or bool(re.search(r"ROOM|FILE|GROUP", name))


def _anchors(page):
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    plain = {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return plain | set(re.findall(r"^\(([\w-]+)\)=", text, re.MULTILINE))


def test_every_name_of_the_package_that_a_page_calls_is_public():
    mentions = {
        (path, name) for path, text in guide().items() for name in re.findall(r"\blk_jupyter\.([A-Za-z]\w*)\(", text)
    }
    assert len(mentions) > 5
    assert {f"{_short(path)}: {name}" for path, name in mentions if name not in lk_jupyter.__all__} == set()


def test_every_extra_that_a_text_installs_exists():
    extras = set(metadata.metadata("lk-jupyter").get_all("Provides-Extra"))
    spelled = r"(?:lk[-_]jupyter|['\" ]\.)\[([a-z,-]+)\]"
    named = {
        (path, name) for path, text in all_texts() for names in re.findall(spelled, text) for name in names.split(",")
    }
    assert len(named) > 5
    assert {f"{_short(path)}: {name}" for path, name in named if name not in extras} == set()


# Numbers


def _megabytes(count):
    return f"{count // 1_000_000}"


def _constant(path, name):
    """Return the number of a module that is sent with a run: it is imported there, not here."""
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            names = [each.id for each in ast.walk(node.targets[0]) if isinstance(each, ast.Name)]
            if name in names:
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                return ast.literal_eval(values[names.index(name)])
    raise LookupError(f"{path}: {name}")


def _default(name):
    return {row.name: row.default_value() for row in SETTINGS}[name]


EACH, ALL, MOST = (_constant("lk_jupyter/remote/script/files.py", name) for name in ("EACH", "ALL", "MOST"))
EACH, ALL = _megabytes(EACH), _megabytes(ALL)


@cache
def numbered_texts():
    """Return files and the texts that contain a number, each in one line."""
    return [(path, re.sub(r"\s+", " ", text)) for path, text in all_texts() if re.search(r"\d", text)]


_SERVE = ["serve", "--data", "x", "--upstream", "x"]

#: Sentence with a limit → the limits by the code, in their order.
LIMITS = (
    (r"[Yy]ou stay signed in for at most (\d+) hours", f"{visitors.SESSION_SECONDS / 3600:.0f}"),
    (r"revoked key (?:can still read|reads) its runs for (\d+) minutes", f"{app.REVOKED_READ_SECONDS / 60:.0f}"),
    (r"Each VM has a lease: (\d+) minutes", f"{rentals.DEFAULT_LEASE / 60:.0f}"),
    (r"after `--timeout`, otherwise after (\d+) hours", f"{rental.DEFAULT_SECONDS / 3600:.0f}"),
    (r"key expires (\d+) s after (?:its end|the end of the VM)", str(sending.KEY_SECONDS)),
    (r"copies at most ([\d,]+) files per run", f"{stage.MOST_FILES:,}"),
    (r"ends at most (\d+) hours after the time limit of the run", f"{upload._WAIT.total_seconds() / 3600:.0f}"),
    (r"Limits: (\d+) MB for each file, (\d+) MB in total", EACH, ALL),
    (r"up to (\d+) MB (?:each|that a `--carry` cell names), (\d+) MB in total", EACH, ALL),
    (r"MB in total,(?: and)? ([\d,]+) (?:files|where only variables)", f"{MOST:,}"),
    (r"[Ff]iles (?:over|outside the notebook's folder, or larger than) (\d+) MB", EACH),
    (r"Files that the cell writes into its working folder, up to (\d+) MB each, (\d+) MB in total", EACH, ALL),
    (r"before more than (\d+) GB", str(_default("carry_limit") // 10**9)),
    (
        (
            r"(?:cell that reads|receipt lists their names and sizes\.|question: it sends no|reads all "
            r"variables, or) [Mm]ore "
            r"than (\d+) MB"
        ),
        _megabytes(UNASKED_BYTES),
    ),
    (r"stores each result on this machine for (\d+) days", f"{stored_results._LIFE / 86_400:.0f}"),
    (r"new value of more than (\d+) MB stays on the machine", _megabytes(HANDLE_BYTES)),
    (r"Changes of up to (\d+) kB are in the run's log", f"{variables.INLINE // 1024}"),
    (r"released after (\d+) minutes without a cell", f"{OFFERED_SECONDS // 60}"),
    (r"the variables are larger than (\d+) MB in total", f"{moment.LIMIT // 1024**2}"),
    (r"the upload takes more than (\d+) s\. This time", str(UNASKED_SECONDS)),
    (r"first and (?:the )?last (\d+) lines of a log", str(_default("log_lines"))),
    (
        r"The log shows each progress bar every (\d+) s",
        f"{_constant('lk_jupyter/magics/_output/rich.py', '_LINES_PACE'):.0f}",
    ),
    (r"the setting `timeout` \((\d+) s\)", str(_default("timeout"))),
    (r"without `--timeout` ends after (\d+) s", str(_default("timeout"))),
    (r"[Mm]ost accounts allow (?:at most )?(\d+) s", str(_default("max_timeout"))),
    (r"also ends a kernel\. The default time limit is (\d+) s", str(_default("max_timeout"))),
    (r"[Ii]ts (\d+) credits aren't real money|the (\d+) credits are pretend", f"{CloudOptions.credits}"),
    (
        r"Without this setting, the limit is (\d+) credits|(\d+) credits where neither it nor `max_cost` names",
        f"{MAX_COST}",
    ),
    (r"(?:Without an|If you don't) answer within (\d+) minutes", f"{start_approval.ANSWER_SECONDS / 60:.0f}"),
    (r"The default time limit of (\d+) minutes ends", f"{_default('timeout') // 60:.0f}"),
    (r"before (?:the default )?(\d+) idle minutes", f"{session_machine.IDLE_MINUTES:.0f}"),
    (r"was idle for (\d+) minutes \(`--idle", f"{session_machine.IDLE_MINUTES:.0f}"),
    (r"runs and one chat, for ([\d.]+) credits at most", f"{levels.MOST_CREDITS}"),
    (r"the cell ends within (\d+) seconds", f"{_constant('lk_jupyter/runs/abort.py', 'LET_GO'):.0f}"),
    (r"doesn't end within (\d+) seconds is aborted", f"{_constant('lk_jupyter/protocol/bucket.py', 'GRACE'):.0f}"),
    (r"with (\d+) s and, on Linux, (\d+) MB", f"{_preview_process.SECONDS}", _megabytes(_preview_child.MEMORY)),
    (
        r"read up to (\d+ MB), (\d+ MB) and (\d+ MB)\.",
        *map(
            json_limits.format_megabytes,
            (json_limits.MOST_BYTES, json_limits.MOST_MESSAGE_BYTES, json_limits.MOST_KERNEL_MESSAGE_BYTES),
        ),
    ),
    (r"more than (\d+) million pixels", _megabytes(_preview_readers.PIXELS)),
    (r"list the run within (\d+) minutes", f"{_constant('lk_jupyter/runs/reattach.py', '_LONG_LOST') / 60:.0f}"),
    (r"secrets shorter than (\d+) characters", f"{secrets.SHORTEST}"),
    (r"up to about (\d+) MB; the oldest lines", _megabytes(2 * _audit.LARGEST)),
    (r"deleted (\d+) days after their upload", f"{KEPT[PACKAGES].days}"),
    (r"Packages of (\d+) MB or more are restored", f"{packages.PART_BYTES >> 20}"),
    (r"(\d+) MB for code and files, compressed", _megabytes(image.MOST_BYTES)),
    (r"text, numbers and lists up to about 60 kB, arrays up to (\d+) kB", f"{codec.LONG // 1024}"),
    (r"Packages of more than (\d+) GiB in total aren't kept", f"{packages.MOST_BYTES >> 30}"),
    (r"waits for (\d+) seconds or more, the receipt", f"{results.PHASES_SECONDS:.0f}"),
    (r"after four fifths of the time limit|after (\d+) % of the time limit", f"{100 * checkpoint.LATE:.0f}"),
    (
        r"(?:[Ee]ach command|A command|Every command) returns within (\d+) seconds|[Ee]ach call returns within (\d+)",
        f"{cli.LIMIT_SECONDS + 2:.0f}",
    ),
    (
        r"at most (\d+) seconds(?:\.| for the end)|log for up to (\d+) seconds\.|work below (\d+) seconds",
        f"{WAIT_SECONDS}",
    ),
    (r"The lease is (\d+) minutes longer than the time limit", f"{SETUP_SECONDS / 60:.0f}"),
    (r"The margin \(`--margin`, (\d+) s\)", f"{broker._build_parser().parse_args(_SERVE).margin}"),
    (r"No task was active for (\d+) minutes", dask._IDLE.split()[0]),
    (r"The time limit of (\d+) hour is reached", dask._TIMEOUT.removesuffix("h")),
)

#: Quantities that are no limit of ours: measured, made up for an example, or promised by a test that has the figure.
OTHER_QUANTITIES = (
    "3.20 of 10 credits left this week",  # an example
    "pytorch/pytorch 12.0 s (2 runs), packages 31.0 s (3 runs)",  # an example
    "Data of 100 GB",  # an example, as are the lines of its page
    "data of 100 GB",
    "tar files of about 1 GB",
    "older than 7 days",
    "usually 4 min 06 s to 4 min 54 s, about 0.12 credits (7 runs)",  # an example
    "Packages restored from the bucket in 6.2 s",
    "PyTorch for CPUs needs about 1.5 GB, and PyTorch with CUDA needs about 6 GB",  # measured
    "model (Net, 520.0 MB)",  # a value of the example
    "Python on A100, 1.59 credits/h",  # a price of the example
    "1.59 credits per hour",
    "An A100 at 1.59 credits an hour costs 0.0265 credits a minute",
    "one button has 41 kB",
    "raise this to 54 kB",
    "without a chart has 13 to 18 kB",
    "No text from elsewhere takes a second or 50 MB",
    "needs 300 MB or 5 s for an input",
    "| a test of the code | 30 s | 0.013 credits | | a short training | 10 minutes | 0.27 credits |",  # at 1.59
    "| a long training | 4 hours | 6.36 credits | | eight runs of a sweep | 8 runs of 10 minutes | 2.12 credits |",
    "stops before the run costs more than 2 credits",  # set in the same line
    '`idle_timeout="1 hour"` changes this time',  # an example
    "stops before it costs 1 credit. Everything that you start on one day costs at most 5 credits",  # set above
    "The help of the provider's client states 600 s as the maximum",  # of lyceum-cli
    "can be read for at most 7 days through the API",  # GET /execution/{id}/logs: hours up to 168
    "3 lines were missing",  # an example of a notice
    "8 pixels",  # of the digits of scikit-learn
    "up to 145 kB of small modules",  # measured below
)

UNITS = "MB|kB|KB|GB|GiB|bytes|s|seconds?|minutes?|hours?|h|days?|lines|characters|credits|files|pixels|rows|levels"
QUANTITY = re.compile(rf"\b\d[\d,.]*(?: million| billion)? (?:{UNITS})\b")


@for_each(LIMITS, lambda row: row[0])
def test_a_limit_that_a_text_states_is_the_limit_of_the_code(row):
    sentence, *expected = row
    stated = [
        (path, [number for number in match.groups() if number]) for path, text in numbered_texts()
        for match in re.finditer(sentence, text)
    ]  # fmt: skip
    assert {_short(path): numbers for path, numbers in stated if numbers and numbers != expected} == {}


def test_every_quantity_of_the_guide_is_compared_with_the_code_or_known_to_be_no_limit():
    # The quantities of the cookbook are values of its examples, and estimates that test_cookbook.py calculates again.
    left_out = {"CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md", "cookbook"}
    pages = {path: text for path, text in guide().items() if not left_out & {path.name, *path.parts}}
    unknown = set()
    for path, text in pages.items():
        prose = _prose(path, text)
        spans = [match.span() for sentence, *_ in LIMITS for match in re.finditer(sentence, prose)]
        spans += [match.span() for each in OTHER_QUANTITIES for match in re.finditer(re.escape(each), prose)]
        for found in QUANTITY.finditer(prose):
            if not any(start < found.end() and found.start() < end for start, end in spans):
                unknown.add(f"{_short(path)}: {prose[max(0, found.start() - 40) : found.end() + 20]}")
    assert unknown == set(), "add a row to LIMITS with the constant, or a line to OTHER_QUANTITIES"


def _prose(path, text):
    """Return the text without its code, in one line."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"\s+", " ", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_the_modules_that_a_run_contains_are_no_larger_than_the_faq_states(cloud, home):
    plots = "import matplotlib.pyplot as plt\nimport pandas, torch, tqdm\nplt.plot([1])\ndef lk_checkpoint(folder): ..."
    [stated] = re.findall(r"up to (\d+) kB of small modules", guide()[ROOT / "notebooks/faq.md"])
    with lk_jupyter.connect(cloud.base_url, cloud.api_key) as session:
        for code, fresh in (("print(1)", True), (plots, True), (f"{plots}\nnumbers.append(1)", False)):
            source = Source(code, "cell.py", 2, home, is_cell=True, namespace={"numbers": [1]})
            request = prepare(session, source, RunOptions(fresh=fresh)).request
            size = len(request.import_files)
            assert 20_000 < size <= 1000 * int(stated)


def test_a_kernel_whose_idle_time_the_guide_recommends_lives_long_enough_to_be_idle():
    limit = _default("max_timeout")
    for path, text in all_texts():
        for command in re.finditer(r"%lk_kernel add .*--idle (\d+)", text):
            longer = re.findall(r"%lk_config max_timeout (\d+)\n(?:.*\n)*?%lk_kernel add", text[: command.end()])
            assert 60 * int(command[1]) < max([limit, *map(int, longer)]), _short(path)


def test_no_text_states_that_waiting_for_a_machine_is_not_billed():
    """The API doesn't state it."""
    free = r"(?i)wait(?:ing|s)?\b[^.|]{0,60}(?:costs? nothing|isn't billed|not billed)"
    texts = [(path, text) for path, text in all_texts() if "ait" in text and path.suffix in {".md", ".ipynb", ".py"}]
    assert {_short(path): match[0] for path, text in texts for match in re.finditer(free, text)} == {}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_part_of_what_is_checked(page):
    assert ROOT / page in guide()
