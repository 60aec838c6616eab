"""Write the tables of the reference and the types of TypeScript from the declarations.

``python -m lk_jupyter._docs`` writes the files; with ``--check`` the command only reports outdated files.

A table is between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is a key of ``TABLES``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache, cached_property
from importlib import import_module
from inspect import Parameter
from operator import attrgetter
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import lk_jupyter
from lk_jupyter import __version__, _types, widgets
from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER, Endpoint, Group
from lk_jupyter.api.states import ACTIVE_STATES, FINAL_STATES, LABELS
from lk_jupyter.cli.output import EXIT_CODES
from lk_jupyter.cli.parser import COMMANDS
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.errors import error_for
from lk_jupyter.executor import Executor
from lk_jupyter.magics._engine.index import magics
from lk_jupyter.magics._engine.parser import first_sentence
from lk_jupyter.options.arguments import flags, is_switch
from lk_jupyter.options.calls import CALLS, KeywordCall
from lk_jupyter.options.runs import RunOptions, extras
from lk_jupyter.protocol.parts import MARKED
from lk_jupyter.runs.metrics.series import SERIES

ROOT = Path(__file__).parent.parent
DESCRIPTION = ROOT / "tests" / "contract" / "openapi.yaml"
NPM_FILES = tuple(ROOT / "labextension" / name for name in ("package.json", "package-lock.json"))

_CLIENT = Client("http://127.0.0.1")
_NOTE = "// Made from the Python options by `make docs`: change those.\n"
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(?:(?!<!-- ).)*(?=<!-- end -->)", re.DOTALL)


def magics_table() -> str:
    """Return every magic with its summary."""
    return _format_table(("Magic", "What it does"), [(f"`{entry.name}`", entry.text) for entry in magics()])


def options_table() -> str:
    """Return the options of ``%%lk_run``."""
    rows = [
        (_format_option_flag(name, field), field.description or "") for name, field in RunOptions.model_fields.items()
    ]
    return _format_table(("Option", "What it does"), rows)


def commands_table() -> str:
    """Return the commands of ``lk``."""
    rows = [(f"`lk {command.name}`", command.summary, f"`{command.example}`") for command in COMMANDS.values()]
    return _format_table(("Command", "What it does", "Example"), rows)


def exit_codes_table() -> str:
    """Return the exit codes of ``lk``."""
    return _format_table(("Exit code", "Meaning"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])


def settings_table() -> str:
    """Return the settings with their defaults and environment variables."""
    rows = [
        (
            f"`{row.name}`",
            row.help,
            row.default_words() if row.default else "",
            ", ".join(f"`{name}`" for name in row.env),
        )
        for row in SETTINGS
    ]
    return _format_table(("Setting", "What it is", "Default", "Environment"), rows)


def options_module() -> str:
    """Return the options and metrics of runs for Lab, as TypeScript; Lab loads this module at first use."""
    fields = RunOptions.model_fields.items()
    rows = {flag: field.description or "" for name, field in fields for flag in flags(name, field)}
    series = [{name: value for name, value in each._asdict().items() if name != "column"} for each in SERIES]
    return (
        f"{_NOTE}\n/** Option of `%%lk_run` → what it does. */\n"
        f"export const RUN_OPTIONS: Record<string, string> = {json.dumps(rows, indent=2, ensure_ascii=False)};\n"
        "\n/** Series of metrics: field of the API, words, unit, the panel of its plot, factor to the unit. */\n"
        f"export const SERIES = {json.dumps(series, indent=2, ensure_ascii=False)} as const;\n"
    )


def keywords_module() -> str:
    """Return the types of the keyword arguments of each call that accepts options, for editors and type checkers."""
    head = (
        '"""Types of the keyword arguments of calls that accept options.\n\n'
        'Made from lk_jupyter.options.calls by ``make docs``: change the options.\n"""\n\n'
        "from __future__ import annotations\n\nfrom decimal import Decimal\nfrom typing import Literal, TypedDict\n"
    )
    return head + "".join(_format_typed_dict(name, call) for name, call in CALLS.items())


def _format_typed_dict(name: str, call: KeywordCall) -> str:
    fields = "".join(
        f'    {option}: {_format_keyword_type(field)}\n    """{_wrap_text(field.description or "")}"""\n'
        for option, field in call.fields()
    )
    return f'\n\nclass {call.keywords}(TypedDict, total=False):\n    """Options of ``{name}``."""\n\n{fields}'


def _wrap_text(text: str) -> str:
    return "\n    ".join(wrap(text, 110)) + ("\n    " if len(text) > 110 else "")


def _format_keyword_type(field: FieldInfo) -> str:
    """Return the type of a keyword argument; None leaves the option unset."""
    if extras(field).get("metavar") == "DURATION":
        return "int | str | None"
    return " | ".join(dict.fromkeys([*_iterate_source_types(field.annotation), "None"]))


#: Type of an option → accepted types of Python values.
_ACCEPTED = {Decimal: ("Decimal", "float", "str"), NoneType: ()}


def _iterate_source_types(annotation: Any) -> Iterator[str]:
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind in {Union, UnionType}:
        yield from (name for part in parts for name in _iterate_source_types(part))
    elif kind is Annotated:
        yield from _iterate_source_types(parts[0])
    elif kind is Literal:
        yield f"Literal[{', '.join(map(json.dumps, parts))}]"
    elif kind is list:
        item = " | ".join(_iterate_source_types(parts[0]))
        yield from (f"list[{item}]", f"tuple[{item}, ...]")
    elif kind is dict:
        yield f"dict[{', '.join(' | '.join(_iterate_source_types(part)) for part in parts)}]"
    else:
        yield from _ACCEPTED.get(annotation, (annotation.__name__,))


def states_module() -> str:
    """Return the states and file names of runs for Lab, as TypeScript; the module is loaded with Lab."""
    final, active = (json.dumps(sorted(states)).replace('"', "'") for states in (FINAL_STATES, ACTIVE_STATES))
    return (
        f"{_NOTE}\n/** States of a run that has ended. */\nexport const FINAL_STATES = {final};\n"
        f"\n/** States of a run that has not ended. */\nexport const ACTIVE_STATES = {active};\n"
        f"\n/** States that people read otherwise. */\n"
        f"export const STATE_LABELS: Record<string, string> = {json.dumps(LABELS)};\n"
        f"\n/** What a file name of a run has more than its author gave it. */\n"
        f"export const UNIQUE_SUFFIX = /{MARKED.pattern}/;\n"
    )


def quickstart_notebook() -> str:
    """Return the quickstart without outputs, as JSON; the tile of Lab's launcher writes it into the user's folder."""
    notebook = json.loads((ROOT / "notebooks" / "quickstart.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook["metadata"] = {"kernelspec": notebook["metadata"]["kernelspec"]}
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def operations_table() -> str:
    """Return the operations of the API: Python call, effect, magic, and the reliability of the description."""
    names = {kind: name for name, kind in groups().items()}
    rows = [
        (
            f"`client.{names[endpoint.owner]}.{endpoint.name}`",
            f"`{endpoint.method} {described_path(endpoint)}`",
            _read_first_sentence(endpoint.function),
            endpoint.effect,
            ", ".join(f"`{magic}`" for magic in endpoint.magics[:2]) or endpoint.no_magic,
            described(endpoint)["x-source"],
        )
        for endpoint in ENDPOINTS
    ]
    return _format_table(("Python", "Operation", "What it does", "Effect", "Magic", "Source"), sorted(rows))


def groups() -> dict[str, type[Group]]:
    """Return the groups of operations by their names in the client."""
    return {name: type(part) for name in vars(Client) if isinstance(part := getattr(_CLIENT, name), Group)}


def operations(group: type[Group]) -> list[Endpoint]:
    """Return the operations of a group, in the order of their declaration."""
    return [endpoint for endpoint in ENDPOINTS if endpoint.owner is group]


def example(documented: object) -> str:
    """Return the example in the docstring of an object; empty without an example."""
    return (inspect.getdoc(documented) or "").partition("\nExample:\n")[2]


def models() -> list[type[BaseModel]]:
    """Return every model that an operation takes or returns, by name; generic pages show their elements."""
    by_name: dict[str, type[BaseModel]] = {}

    def gather(annotation: Any) -> None:
        if isinstance(annotation, type(BaseModel)):
            if annotation.__name__ in by_name:
                return
            by_name[annotation.__name__] = annotation
            for field in annotation.model_fields.values():
                gather(field.annotation)
        for part in get_args(annotation):
            gather(part)

    for endpoint in ENDPOINTS:
        for annotation in (*(row.annotation for row in endpoint.signature.parameters.values()), endpoint.returns):
            gather(annotation)
    return [by_name[name] for name in sorted(by_name) if "[" not in name]


def described_path(endpoint: Endpoint) -> str:
    """Return the path of an operation in the form of the API description."""
    return PLACEHOLDER.sub(r"{\1}", endpoint.path)


def described(endpoint: Endpoint) -> dict[str, Any]:
    """Return an operation of the API description with shared parameters; a stub for an undescribed operation."""
    document = _read_description()
    item = document["paths"].get(described_path(endpoint), {})
    facts = dict(item.get(endpoint.method.lower(), {"responses": {}, "x-source": "not described"}))
    rows = [*item.get("parameters", ()), *facts.get("parameters", ())]
    shared = document["components"]["parameters"]
    facts["parameters"] = [shared[row["$ref"].rpartition("/")[2]] if "$ref" in row else row for row in rows]
    return facts


def arguments(endpoint: Endpoint) -> list[tuple[Parameter, str]]:
    """Return the arguments of an operation with their descriptions."""
    texts = {row["name"]: row.get("description") for row in described(endpoint)["parameters"]}
    default = _read_first_sentence(endpoint.function)
    return [
        (
            row,
            _cut_to_first_sentence(
                texts.get(endpoint.header(row.name) or row.name) or _format_model(row.annotation) or default
            ),
        )
        for row in endpoint.signature.parameters.values()
    ]


def _format_model(annotation: Any) -> str:
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if hasattr(kind, "model_fields")]
    return " Or: ".join((inspect.getdoc(kind) or "").partition("\n\n")[0] for kind in kinds)


def _cut_to_first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


def raised(endpoint: Endpoint) -> list[str]:
    """Return the names of the errors of an operation, from the statuses in the API description."""
    statuses = [int(status) for status in described(endpoint)["responses"] if int(status) >= 400]
    return list(dict.fromkeys(type(error_for(status, "")).__name__ for status in statuses))


#: Modules of public names that the package itself doesn't export.
_MORE = {
    "lk_jupyter.executor": ("RunFuture",),
    "lk_jupyter.remote_function": ("RemoteFunction",),
    "lk_jupyter.api._events": ("Output", "Finished"),
    "lk_jupyter.connection.signin": ("SignIn",),
    "lk_jupyter.runs.abort": ("Abort",),
    "lk_jupyter.runs.outcome": ("Result",),
    "lk_jupyter.runs.variables.download": ("Outputs",),
    "lk_jupyter.runs.clock": ("Bill",),
    "lk_jupyter.runs.timing": ("RunTiming",),
    "lk_jupyter.runs.eta": ("RunEta",),
    "lk_jupyter.runs.fanout.fanout": ("FanOut",),
    "lk_jupyter.runs.fanout.comparison": ("MemberResult",),
    "lk_jupyter.runs.metrics.summary": ("GpuUsage",),
    "lk_jupyter.runs.metrics.metrics": ("Metrics", "Overlay", "read", "overlay"),
    "lk_jupyter.runs.notebooks.warm_python": ("WarmPython", "CellResult"),
    "lk_jupyter.machines.catalogue": ("Catalogue",),
    "lk_jupyter.machines.offers": ("MachineOffer",),
    "lk_jupyter.account.balance": ("AccountBalance", "Identity"),
    "lk_jupyter.account.active": ("ActiveList", "ActiveResource", "Rate"),
    "lk_jupyter.account.spending": ("Spending", "Charge", "Sum"),
    "lk_jupyter.storage.storage": ("Storage",),
    "lk_jupyter.storage.objects": ("ObjectInfo", "Objects", "FolderPage", "Link", "TransferResult"),
    "lk_jupyter.storage.progress": ("Progress",),
    "lk_jupyter.storage._tree": ("Tree", "Branch"),
    "lk_jupyter.storage.preview": ("Preview", "preview"),
    "lk_jupyter.storage.usage": ("FolderUsage",),
    "lk_jupyter.widgets.form": ("Form",),
    "lk_jupyter.widgets": widgets.__all__,
}

#: Members for internal use: of every class, or of the named class.
INNER = {
    "Abort.has_arrived",
    "Abort.is_stuck",
    "Abort.wait_for_answer",
    "Abort.work",
    "AccountBalance.burning",
    "AccountBalance.running",
    "AccountBalance.runs_out",
    "Bill.total",
    "Catalogue.of",
    "FanOut.aborted_by_interrupt",
    "FanOut.bill",
    "FanOut.check",
    "FanOut.has_failure",
    "FanOut.mark_viewed",
    "FanOut.prepare",
    "FanOut.start",
    "FanOut.scores",
    "FanOut.started_earlier_count",
    "FanOut.wait_for_abort",
    "Form.load",
    "MemberResult.row",
    "Metrics.from_response",
    "Run.import_files",
    "Run.submit",
    "Run.time_limit",
    "Storage.free_key",
    "Storage.get_into",
    "Storage.pages",
    "Storage.presign_all",
    "Storage.replaced",
    "WarmPython.begin",
    "WarmPython.bring",
    "WarmPython.call",
    "WarmPython.connected_names",
    "WarmPython.ending_key",
    "WarmPython.execute",
    "WarmPython.failure",
    "WarmPython.idle_label",
    "WarmPython.install",
    "WarmPython.limit",
    "WarmPython.machine_seconds",
    "WarmPython.prepare",
    "WarmPython.release",
    "WarmPython.release_label",
    "WarmPython.remaining_seconds",
    "WarmPython.restore",
    "WarmPython.take_back",
    "WarmPython.verified",
    "abort_unless_ended",
    "add_piece",
    "after_fork",
    "attach",
    "begin_upload",
    "content",
    "end_upload",
    "follower",
    "from_submission",
    "has_ended",
    "learn",
    "lines",
    "mark_viewed",
    "of",
    "opened_run",
    "picture",
    "price_again",
    "request_metadata",
    "result_from",
    "speaks_to",
    "stop_upload",
    "stopped_by_cost",
    "submitted_at",
    "wait_aside",
    "weigh",
}


def _import_public_names() -> dict[str, Any]:
    names = {name: getattr(import_module(lk_jupyter._HOMES[name]), name) for name in lk_jupyter.__all__}
    more = {name: attrgetter(name)(import_module(home)) for home, group in _MORE.items() for name in group}
    return names | more


#: Public name → object; operations of the client and magics have separate tables.
PUBLIC: dict[str, Any] = _import_public_names()


def parts(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over a public name and its public members, without members for internal use."""
    yield name, thing
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        documented = callable(plain) or isinstance(plain, (property, cached_property))
        if documented and not member.startswith("_") and member not in inner_members(thing):
            yield f"{name}.{member}", plain


def inner_members(thing: Any) -> set[str]:
    """Return the members of a class that are for internal use."""
    return {name.removeprefix(f"{thing.__name__}.") for name in INNER}


def address(name: str) -> str:
    """Return where a public name is imported from, with the name."""
    return next((f"{home}.{name}" for home, group in _MORE.items() if name in group), f"lk_jupyter.{name}")


#: Classes that users instantiate; instances of other classes come from functions and methods.
_CONSTRUCTED = {Executor, *(part for part in map(PUBLIC.get, widgets.__all__) if inspect.isclass(part))}


def takes(part: Any) -> list[str]:
    """Return the names of the arguments of a function, method or class with a docstring of arguments."""
    if isinstance(part, (property, cached_property)) or (inspect.isclass(part) and part not in _CONSTRUCTED):
        return []
    parameters = inspect.signature(part.__init__ if inspect.isclass(part) else part).parameters
    return [name for name in parameters if name not in {"self", "cls", "traits"}]


def set_version(text: str) -> str:
    """Return a file of npm with the version of the package."""
    return re.sub(r'("name": "lk-jupyter",\s+"version": ")[^"]*', rf"\g<1>{__version__}", text)


@cache
def _read_description() -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(DESCRIPTION.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return document


KEYWORDS = ROOT / "lk_jupyter" / "options" / "_keywords.py"
QUICKSTART = _types.TYPES.with_name("quickstart.json")
OPTIONS, STATES = (_types.TYPES.with_name(f"{name}.ts") for name in ("options", "states"))

#: Pages that are stored with tables; the tables of other pages are made when the site is built.
PAGES = tuple(
    ROOT / "notebooks" / "reference" / f"{name}.md"
    for name in ("index", "options", "command-line", "settings", "operations")
)

TABLES: dict[str, Callable[[], str]] = {
    "magics": magics_table,
    "options": options_table,
    "commands": commands_table,
    "exit_codes": exit_codes_table,
    "settings": settings_table,
    "operations": operations_table,
}


def render(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """Return the text with new tables."""
    return _MARKED.sub(lambda match: match[1] + tables[match[2]](), text)


def _format_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _read_first_sentence(documented: Callable[..., object]) -> str:
    return first_sentence(inspect.getdoc(documented) or "")


def _format_option_flag(name: str, field: FieldInfo) -> str:
    if field.annotation == bool | None:
        return f"`--{name}`, `--no-{name}`"
    metavar = extras(field).get("metavar") or ("" if is_switch(field) else name.upper())
    return f"`{', '.join(flags(name, field))} {metavar}".rstrip() + "`"


def main(*, check: bool) -> str | None:
    """Write the tables and types, or with ``check`` return a message about outdated files."""
    files = {
        **{page: render(page.read_text(encoding="utf-8")) for page in PAGES},
        _types.TYPES: _types.render(),
        OPTIONS: options_module(),
        KEYWORDS: keywords_module(),
        STATES: states_module(),
        QUICKSTART: quickstart_notebook(),
        **{path: set_version(path.read_text(encoding="utf-8")) for path in NPM_FILES},
    }
    old = [path for path, current in files.items() if not path.exists() or path.read_text(encoding="utf-8") != current]
    if check:
        return f"not current: {', '.join(path.name for path in old)}: make docs" if old else None
    for path in old:
        path.write_text(files[path], encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
