"""Settings: which there are, what they take, and where a value comes from.

Looked for in the environment, in the user's config file, in the ``config.json`` of the cloud's
own command line tool (read, never written); else the default. The key is a setting too, but a
secret: lk_jupyter.credentials finds and keeps it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lk_jupyter import credentials
from lk_jupyter._userfiles import (
    CONFIG_FILE,
    DEFAULT_SERVER,
    LYCEUM,
    change_config,
    config_file,
    lyceum_file,
    lyceum_server,
    platform_path,
    read_json,
    server_of,
)
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

LYCEUM_NAMES = {
    "base_url": "base_url",
    "iris_url": "iris_url",
    "dashboard_url": "dashboard_url",
    "org": "active_org_slug",
}

#: What the cloud's own tool keeps for its server, and for no other.
OF_ITS_SERVER = {"org", "iris_url"}

LOCAL = "local"
LOOPBACK = {"127.0.0.1", "localhost", "::1", "[::1]"}
ADDRESS = re.compile(r"(?P<scheme>https?)://(?P<host>[\w.-]+|\[[\da-fA-F:]+\])(:\d+)?(/[\w./~-]*)?")


def _server(text: str) -> str:
    address = server_of(text)
    if address == LOCAL:
        return LOCAL
    parts = ADDRESS.fullmatch(address)
    if not parts:
        raise ValueError("an address such as https://api.lyceum.technology, or the word local")
    if parts["scheme"] == "http" and parts["host"] not in LOOPBACK:
        raise ValueError("https://, since a key would travel in the clear (http:// is for this machine only)")
    return address


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise ValueError("one word of letters, digits, dots, dashes and underscores")
    return text


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _credits(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation  # noqa: PLC0415 (loading the extension reads settings, and is light)

    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise ValueError("credits above 0, such as 2.50")
    return amount


def _switch(text: str) -> bool:
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError("on or off") from None


_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def _run_seconds(text: str) -> int:
    longest: int = setting("max_timeout")
    try:
        return _whole(1, longest)(text)
    except ValueError:
        raise ValueError(f"whole seconds from 1 to {longest} (the setting max_timeout)") from None


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join([", ".join(words[:-1]), words[-1]]))
        return text

    return parse


def _folder(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError("a folder")
    return path.absolute()


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if path.is_dir():
        raise ValueError("a file, not a folder")
    return path.absolute()


def _default_journal() -> Path:
    """The file lk_jupyter/journal.sqlite in the user's data folder."""
    return platform_path("data", "journal.sqlite")


def _default_log_dir() -> Path:
    """The folder lk_jupyter in the user's log folder."""
    return platform_path("log")


def _default_local_data() -> Path:
    """The folder lk_jupyter/local-cloud in the user's data folder."""
    return platform_path("data", "local-cloud")


@dataclass(frozen=True)
class Setting:
    """One row: its default (a function when it depends on the machine) and the variables that set it.

    ``parse`` makes the value from text, or raises ValueError with the form that it takes.
    """

    name: str
    default: Any
    help: str
    env: tuple[str, ...] = ()
    parse: Callable[[str], Any] = str
    secret: bool = False

    def default_value(self) -> Any:
        """Return the default for this machine."""
        return self.default() if callable(self.default) else self.default

    def default_words(self) -> str:
        """Return the default as the docs name it."""
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return str(self.default.__doc__ if callable(self.default) else self.default)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "base_url",
        DEFAULT_SERVER,
        'Server to talk to. "local" is the local cloud on this machine, found or started on use.',
        ("LK_BASE_URL",),
        _server,
    ),
    Setting(
        "iris_url",
        None,
        "Server of dedicated deployments, where it is not the one that belongs to base_url.",
        ("LK_IRIS_URL", "IRIS_PROXY_URL"),
        _server,
    ),
    Setting(
        "dashboard_url",
        "https://dashboard.lyceum.technology",
        "Web site that %lk_login --browser opens.",
        ("LK_DASHBOARD_URL",),
        _server,
    ),
    Setting(
        "api_key",
        None,
        "Key that signs you in; %lk_login stores it.",
        credentials.ENVIRONMENT,
        secret=True,
    ),
    Setting("org", None, "Organization to act as, by its slug.", ("LK_ORG", "LYCEUM_ORG"), _word),
    Setting("machine", "gpu.l40s", "Machine of a run that names neither --gpu nor --machine.", ("LK_MACHINE",), _word),
    Setting("timeout", 60, "Time limit of a run in seconds.", ("LK_TIMEOUT",), _run_seconds),
    Setting(
        "max_timeout",
        600,
        "Longest time limit that your account allows, in seconds.",
        ("LK_MAX_TIMEOUT",),
        _whole(1, 31_536_000),
    ),
    Setting("max_cost", None, "Credits at which a run is stopped that has no --max-cost.", ("LK_MAX_COST",), _credits),
    Setting(
        "notebook_budget",
        None,
        "Credits that the runs of one notebook may cost in all.",
        ("LK_NOTEBOOK_BUDGET",),
        _credits,
    ),
    Setting(
        "day_budget",
        None,
        "Credits that the runs of one day may cost, from midnight on.",
        ("LK_DAY_BUDGET",),
        _credits,
    ),
    Setting(
        "doctor",
        True,  # noqa: FBT003
        "Whether hints are shown on what went wrong with a run, or slowly: on or off.",
        ("LK_DOCTOR",),
        _switch,
    ),
    Setting(
        "parallel", 8, "Most runs of one cell or one Executor that go on at once.", ("LK_PARALLEL",), _whole(1, 1000)
    ),
    Setting(
        "log_lines",
        2000,
        "Lines of a log that the notebook keeps at its start, and as many at its end.",
        ("LK_LOG_LINES",),
        _whole(1, 1_000_000),
    ),
    Setting(
        "secret_guard",
        "ask",
        "What to do when a run would carry what looks like a secret: ask, refuse or off. Off also shows secrets in "
        "outputs.",
        ("LK_SECRET_GUARD",),
        _one_of("ask", "refuse", "off"),
    ),
    Setting(
        "rich_outputs",
        200,
        "Figures, tables and other outputs of one run that the notebook keeps.",
        ("LK_RICH_OUTPUTS",),
        _whole(0, 100_000),
    ),
    Setting(
        "inline_output",
        256_000,
        "Bytes of one output that come in the log; a larger one comes through the bucket, if the run can reach it.",
        ("LK_INLINE_OUTPUT",),
        _whole(1000, 1_000_000_000),
    ),
    Setting(
        "on_interrupt",
        "abort",
        "What an interrupt does to a run: abort, or detach to let it go on in the background.",
        ("LK_ON_INTERRUPT",),
        _one_of("abort", "detach"),
    ),
    Setting("log_dir", _default_log_dir, "Folder that keeps the whole logs.", ("LK_LOG_DIR",), _folder),
    Setting("journal", _default_journal, "File that keeps what runs you started, and where.", ("LK_JOURNAL",), _file),
    Setting("local_data", _default_local_data, "Folder of the local cloud's data.", ("LK_LOCAL_DATA",), _folder),
)

_ROWS = {row.name: row for row in SETTINGS}


class Resolved(NamedTuple):
    """A value, and where it comes from in words; the repr leaves out the value, which may be a key."""

    value: Any
    source: str

    def __repr__(self) -> str:
        return f"Resolved(source={self.source!r})"


def setting(name: str) -> Any:
    """Return the value of a setting. Raises UsageError when what is set does not fit."""
    return resolve(name).value


def resolve(name: str) -> Resolved:
    """Return the value of a setting and where it comes from. Raises UsageError."""
    wanted = row(name)
    if wanted.secret:
        return _key_in_use()
    for text, source in _places(wanted):
        if text not in (None, ""):
            return Resolved(_parsed(wanted, str(text), source), source)
    return Resolved(wanted.default_value(), "default")


def parsed(name: str, text: str) -> Any:
    """Return the value that a setting would have with this text. Raises UsageError."""
    return _parsed(row(name), text, "")


def save(name: str, value: object) -> None:
    """Keep a setting for this user; None forgets it. Raises UsageError when the value does not fit."""
    wanted = row(name)
    if wanted.secret:
        raise UsageError(
            f"{name} is a secret and never an argument: %lk_login asks for it, %lk_logout forgets it. "
            "If you have just typed one here, your history holds it now: replace it in the dashboard."
        )
    kept = None if value is None else _parsed(wanted, str(value), "")
    change_config({name: kept if kept is None or isinstance(kept, (bool, int, float, str)) else str(kept)})


def row(name: str) -> Setting:
    """Return the row of a setting. Raises UsageError when there is none."""
    if name not in _ROWS:
        near = get_close_matches(name, _ROWS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(_ROWS)}."
        raise UsageError(f"There is no setting {name!r}. {hint}")
    return _ROWS[name]


def _parsed(wanted: Setting, text: str, source: str) -> Any:
    try:
        return wanted.parse(text)
    except ValueError as form:
        where = f" (from {source})" if source else ""
        raise UsageError(f"{wanted.name}{where} takes {form}, not {text!r}.") from None


def _places(wanted: Setting) -> Iterator[tuple[Any, str]]:
    for variable in wanted.env:
        yield os.environ.get(variable), variable
    yield read_json(config_file()).get(wanted.name), CONFIG_FILE
    yield _lyceum_setting(wanted.name), LYCEUM


def _key_in_use() -> Resolved:
    if setting("base_url") == LOCAL:
        return Resolved(None, "the local cloud has its own")
    found = credential()
    return Resolved(found.token, found.source) if found else Resolved(None, "default")


def _lyceum_setting(name: str) -> Any:
    if name in OF_ITS_SERVER and lyceum_server() != setting("base_url"):
        return None
    return lyceum_file().get(LYCEUM_NAMES.get(name, ""))


def credential(base_url: str | None = None) -> credentials.Credential | None:
    """Return the key for a server, by default the configured one; None when there is none. Raises UsageError."""
    return credentials.find(base_url or setting("base_url"))
