"""Settings: names, allowed values, and the source of each value.

The places in order: the environment, the user's config file, the ``config.json`` of the cloud's command line tool
(read, never written); else the default. The key is a setting too, but a secret: lk_jupyter.config.credentials finds and
stores the key.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lk_jupyter.config.files import (
    ADMINISTRATOR,
    CONFIG_FILE,
    DEFAULT_SERVER,
    GUESS,
    KEY_VARIABLES,
    LOCAL,
    LOOPBACK,
    LYCEUM,
    SITE_FILE,
    change_config,
    config_file,
    lyceum_file,
    lyceum_server,
    platform_path,
    read_json,
    strip_api_path,
)
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from lk_jupyter.config.assumptions import Assumptions
    from lk_jupyter.config.credentials import Credential

LYCEUM_NAMES = {
    "base_url": "base_url",
    "iris_url": "iris_url",
    "dashboard_url": "dashboard_url",
    "org": "active_org_slug",
}

#: Settings that the command line tool stores for its server only.
SERVER_SETTINGS = {"org", "iris_url"}

_ADDRESS = r"(?P<scheme>https?)://(?P<host>[\w.-]+|\[[\da-fA-F:]+\])(:\d+)?(/[\w./~-]*)?"


def _parse_server(text: str) -> str:
    address = strip_api_path(text)
    if address == LOCAL:
        return LOCAL
    parts = re.fullmatch(_ADDRESS, address)
    if not parts:
        raise ValueError("an address such as https://api.lyceum.technology, or the word local")
    if parts["scheme"] == "http" and parts["host"] not in LOOPBACK:
        raise ValueError("https://, so that the API key is encrypted (http:// works only for a server on this machine)")
    return address


def _require_word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise ValueError("one word of letters, digits, dots, dashes and underscores")
    return text


def _integer_parser(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


_DURATION = r"(?<![0-9])([0-9]+(?:[.,][0-9]+)?)\s*(days?|d|hours?|h|min|m|sec|s)\s*"
_UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> int:
    """Return the seconds of a duration: 90 (seconds), 90s, 10m, 1h30m, 2 hours. Raises ValueError with the form."""
    words = text.strip().lower()
    parts = re.findall(_DURATION, words)
    if re.fullmatch(r"[0-9]+", words):
        return int(words)
    seconds = math.fsum(float(number.replace(",", ".")) * _UNIT_SECONDS[unit[0]] for number, unit in parts)
    if not parts or re.sub(_DURATION, "", words) or not seconds.is_integer():
        raise ValueError("seconds, or a duration such as 90s, 10m or 1h30m")
    return int(seconds)


def parse_credits(text: str) -> Decimal:
    """Return an amount of credits above 0. Raises ValueError with the accepted form."""
    from decimal import Decimal, InvalidOperation  # noqa: PLC0415 (loading the extension reads settings, and is light)

    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise ValueError("credits above 0, such as 2.50")
    return amount


def approvals_in(text: str) -> dict[str, tuple[Decimal, Decimal] | None]:
    """Return machine → maximum cost and maximum price per hour, None for a machine without a published price.

    Raises ValueError with the accepted form.
    """
    approvals: dict[str, tuple[Decimal, Decimal] | None] = {}
    for entry in filter(None, text.replace(" ", "").split(",")):
        machine, _, limits = entry.partition("=")
        cost, _, price = limits.partition("@")
        try:
            approvals[_require_word(machine)] = (
                None if limits == "unknown" else (parse_credits(cost), parse_credits(price))
            )
        except ValueError:
            raise ValueError("MACHINE=CREDITS@PRICE, such as gpu.a100=5@1.59, with commas between entries") from None
    return approvals


def _check_approvals(text: str) -> str:
    approvals_in(text)
    return text


def _parse_addresses(text: str) -> str:
    if not all(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", address) for address in text.split()):
        raise ValueError("addresses such as ntfy://TOPIC or mailtos://USER:PASSWORD@HOST, separated by spaces")
    return text


#: An SSH server as ``ssh -J`` accepts it, and the address of a Jupyter server, whose user may be in the path.
_SSH_SERVER = r"(?a:(?:\w[\w.-]*@)?(?:\w[\w.-]*|\[[\da-fA-F:.]+\])(?::\d{1,5})?)"
_JUPYTER = r"(?a:(?P<scheme>https?)://(?P<host>[\w.-]+|\[[\da-fA-F:]+\])(:\d+)?(/[\w./~%@+-]*)?)"


def _parse_jump(text: str) -> str:
    server = re.fullmatch(_JUPYTER, text)
    is_safe = server is not None and (server["scheme"] == "https" or server["host"] in LOOPBACK)
    if not is_safe and not re.fullmatch(_SSH_SERVER, text):
        raise ValueError("USER@HOST:PORT of an SSH server, or the https:// address of a Jupyter server")
    return text


def _parse_switch(text: str) -> bool:
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError("on or off") from None


_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def _parse_run_seconds(text: str) -> int:
    longest: int = setting("max_timeout")
    try:
        return _seconds_parser(1, longest)(text)
    except ValueError as form:
        raise ValueError(f"{form} (the setting max_timeout)") from None


def _seconds_parser(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if low <= (seconds := parse_duration(text)) <= high:
                return seconds
        raise ValueError(f"whole seconds from {low} to {high}, or a duration such as 10m")

    return parse


def _choice_parser(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join([", ".join(words[:-1]), words[-1]]))
        return text

    return parse


def _parse_carry_answer(text: str) -> str:
    former = {True: "always", False: "never"}
    return former[_SWITCH[text.lower()]] if text.lower() in _SWITCH else _choice_parser("ask", "always", "never")(text)


def _parse_folder(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError("a folder")
    return path.absolute()


def _parse_file(text: str) -> Path:
    path = Path(text).expanduser()
    if path.is_dir():
        raise ValueError("a file, not a folder")
    return path.absolute()


def _default_journal() -> Path:
    """Return the file lk_jupyter/journal.sqlite in the user's data folder."""
    return platform_path("data", "journal.sqlite")


def _default_log_dir() -> Path:
    """Return the folder lk_jupyter in the user's log folder."""
    return platform_path("log")


def _default_local_data() -> Path:
    """Return the folder lk_jupyter/local-cloud in the user's data folder."""
    return platform_path("data", "local-cloud")


@dataclass(frozen=True, eq=False)
class Setting:
    """A row: the default (a function if the default depends on the machine), and the check of a value.

    ``parse`` converts text to the value, or raises ValueError with the accepted form. ``also`` are variables of the
    environment that set the value, besides ``LK_`` and the name. ``old_names`` set the value too, with a warning, until
    the next release. ``secret`` marks the key, ``hidden`` another value that no output shows.
    """

    name: str
    default: Any
    help: str
    parse: Callable[[str], Any] = str
    also: tuple[str, ...] = ()
    secret: bool = False
    hidden: bool = False
    old_names: tuple[str, ...] = ()

    @property
    def env(self) -> tuple[str, ...]:
        """Return the variables of the environment that set the value; the first counts."""
        return (f"LK_{self.name.upper()}", *self.also)

    def default_value(self) -> Any:
        """Return the default on this machine."""
        return self.default() if callable(self.default) else self.default

    def default_words(self) -> str:
        """Return the default as the docs show it."""
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        if callable(self.default):
            words = str(self.default.__doc__).removeprefix("Return ")
            return words[:1].upper() + words[1:]
        return str(self.default)


def _longest_run_seconds() -> int:
    """Return 600, or another limit that is known for the server in use."""
    return int(assumptions()["longest_run"])


def _default_run_seconds() -> int:
    """Return 600, or less if the account, the balance or a budget allows less."""
    # The reference shows this sentence. Preparing a run reduces the value to what balance and budgets pay.
    return min(_longest_run_seconds(), int(setting("max_timeout")))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "base_url",
        DEFAULT_SERVER,
        'Cloud server to use. "local" starts and uses the local cloud on this machine.',
        _parse_server,
    ),
    Setting(
        "iris_url",
        None,
        "Server of dedicated deployments. Default: the server that belongs to base_url.",
        _parse_server,
        also=("IRIS_PROXY_URL",),
    ),
    Setting(
        "dashboard_url", "https://dashboard.lyceum.technology", "Website that %lk_login --browser opens.", _parse_server
    ),
    Setting("api_key", None, "API key that signs you in. %lk_login stores it.", also=KEY_VARIABLES[1:], secret=True),
    Setting(
        "org",
        None,
        "Short name (slug) of the organization that owns and pays for your runs.",
        _require_word,
        also=("LYCEUM_ORG",),
    ),
    Setting(
        "machine",
        None,
        "Machine type of runs without --gpu and --machine. Default: the cheapest GPU that your account may use.",
        _require_word,
    ),
    Setting("timeout", _default_run_seconds, "Time limit of a run, in seconds.", _parse_run_seconds),
    Setting(
        "max_timeout",
        _longest_run_seconds,
        "Longest time limit of a run that your account allows, in seconds.",
        _seconds_parser(1, 31_536_000),
    ),
    Setting("max_cost", None, "Maximum cost of runs without --max-cost, in credits.", parse_credits),
    Setting(
        "requirements",
        None,
        "Packages of a run without -r. auto: the packages that the code imports. project: the packages in the "
        "lock file next to the notebook.",
        _choice_parser("auto", "project"),
    ),
    Setting(
        "keep_packages",
        default=False,
        help="Whether to store packages of runs in your bucket, so that later runs start faster: on or off.",
        parse=_parse_switch,
    ),
    Setting(
        "read_only",
        default=False,
        help="Read-only mode: on or off. In this mode, all actions that spend, write or delete are refused, but you "
        "can still stop runs.",
        parse=_parse_switch,
    ),
    Setting(
        "approved_kernels",
        None,
        "Kernels that start outside JupyterLab without your confirmation, as machine=maximum credits@maximum "
        "price per hour. Example: gpu.a100=5@1.59.",
        _check_approvals,
    ),
    Setting(
        "notebook_budget",
        None,
        "Budget of this computer for everything that one notebook starts, in credits.",
        parse_credits,
    ),
    Setting(
        "day_budget",
        None,
        "Budget of this computer for everything that you start in one day, in credits.",
        parse_credits,
    ),
    Setting(
        "storage_price",
        None,
        "Price that %lk_bucket usage assumes for stored files, in credits per GB and month. The API doesn't "
        "publish this price.",
        parse_credits,
    ),
    Setting(
        "hints",
        default=True,
        help="Show hints on failed or slow runs: on or off.",
        parse=_parse_switch,
        old_names=("doctor",),
    ),
    Setting("parallel", 8, "Maximum concurrent runs that one cell or one Executor starts.", _integer_parser(1, 1000)),
    Setting(
        "log_lines",
        200,
        "Number of lines that the notebook keeps from the start of a log. It keeps the same number from the end.",
        _integer_parser(1, 1_000_000),
    ),
    Setting(
        "secret_guard",
        "ask",
        "What to do if a run seems to contain a secret: ask, refuse, or off. With off, outputs also show secrets.",
        _choice_parser("ask", "refuse", "off"),
    ),
    Setting(
        "rich_outputs",
        200,
        "Maximum number of figures, tables and other outputs of one run that the notebook keeps.",
        _integer_parser(0, 100_000),
    ),
    Setting(
        "inline_output",
        256_000,
        "Maximum size of an output in the log, in bytes. Larger outputs are sent through the bucket.",
        _integer_parser(1000, 1_000_000_000),
    ),
    Setting(
        "carry",
        "ask",
        "Whether %%lk_run sends the variables that a cell reads, as --sync does: ask, always or never.",
        _parse_carry_answer,
    ),
    Setting(
        "carry_limit",
        1_000_000_000,
        "Maximum size in bytes of the variables that --sync sends without your confirmation, and of each "
        "returned variable.",
        _integer_parser(1, 1_000_000_000_000),
    ),
    Setting(
        "keep",
        0,
        "Time for which a notebook keeps its machine between cells, such as 5m. With 0, each cell is a separate run.",
        _seconds_parser(0, 3600),
    ),
    Setting(
        "on_interrupt",
        "abort",
        "What an interrupt does to a run: abort it, or detach and keep it running.",
        _choice_parser("abort", "detach"),
    ),
    Setting(
        "notify",
        None,
        "Addresses that get a message when a long run ends or has a problem. Example: ntfy://TOPIC. Separate addresses "
        "with spaces. Set LK_NOTIFY or edit the config file, because an address may contain a secret.",
        _parse_addresses,
        hidden=True,
    ),
    Setting(
        "ssh_jump",
        None,
        "Jump host for SSH to VMs if your network blocks SSH: USER@HOST:PORT, or the address of a Jupyter "
        "server with lk_jupyter.",
        _parse_jump,
    ),
    Setting(
        "ssh_jump_token",
        None,
        "Token of the Jupyter server that ssh_jump names. Set LK_SSH_JUMP_TOKEN or edit the config file.",
        hidden=True,
    ),
    Setting("log_dir", _default_log_dir, "Folder that stores the complete logs of runs.", _parse_folder),
    Setting("journal", _default_journal, "File of the journal, which records the runs that you started.", _parse_file),
    Setting(
        "journal_days",
        365,
        "Days for which the journal keeps ended runs. 0 keeps all runs.",
        _integer_parser(0, 36_500),
    ),
    Setting("local_data", _default_local_data, "Folder that stores the data of the local cloud.", _parse_folder),
)

_ROWS = {row.name: row for row in SETTINGS}
_OLD_NAMES = {old: row.name for row in SETTINGS for old in row.old_names}


#: The source of a default value.
_DEFAULT = "default"


class Resolved(NamedTuple):
    """A value, and its source in words; the repr omits the value, which may be a key."""

    value: Any
    source: str

    @property
    def is_default(self) -> bool:
        """Return whether the value is the default."""
        return self.source == _DEFAULT

    def __repr__(self) -> str:
        return f"Resolved(source={self.source!r})"


class _Reading:
    """The config file and the administrator's file at the first read, and the settings that were resolved."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget all, since a setting has changed."""
        self.settings: dict[str, Resolved] = {}
        self.file: dict[str, Any] | None = None
        self.site_file: dict[str, Any] | None = None


#: The values in a block of ``one_reading``.
_reading: ContextVar[_Reading | None] = ContextVar("_reading", default=None)


@contextmanager
def one_reading() -> Iterator[None]:
    """Read the config file, and each setting, once in this block, such as a cell."""
    before = _reading.set(_Reading())
    try:
        yield
    finally:
        _reading.reset(before)


def assumptions() -> Assumptions:
    """Return the assumptions about the server in use."""
    from lk_jupyter.config.assumptions import Assumptions  # noqa: PLC0415 (loading the extension needs none)

    return Assumptions(setting("base_url"))


def setting(name: str) -> Any:
    """Return the value of a setting. Raises UsageError if the stored value doesn't fit."""
    return resolve(name).value


def resolve(name: str) -> Resolved:
    """Return the value of a setting and its source. Raises UsageError."""
    if name.startswith(GUESS):
        return Resolved(*assumptions().resolve(name.removeprefix(GUESS)))
    reading = _reading.get() or _Reading()
    if name in reading.settings:
        return reading.settings[name]
    setting_row = find_setting(name)
    if setting_row.secret:
        if setting("base_url") == LOCAL:
            return Resolved(None, "the local cloud has a separate value")
        key = credential()
        return Resolved(key.token, key.source) if key else Resolved(None, _DEFAULT)
    text, source = _read_stored(setting_row, reading)
    if text in (None, ""):
        resolved = Resolved(setting_row.default_value(), _DEFAULT)
    else:
        resolved = Resolved(_parse_text(setting_row, str(text), source), source)
    reading.settings[name] = resolved
    return resolved


def parse_setting(name: str, text: str) -> Any:
    """Return the value that a setting would have with this text. Raises UsageError."""
    return _parse_text(find_setting(name), text, "")


def save(name: str, value: object) -> None:
    """Store a setting for this user; None deletes it. Raises UsageError if the value doesn't fit."""
    setting_row = find_setting(name)
    if name.startswith(GUESS):
        assumptions().set(name.removeprefix(GUESS), None if value is None else str(value))
    elif setting_row.secret:
        raise UsageError(
            f"'{name}' is a secret, so you can't set it with %lk_config. Sign in: %lk_login. Sign out: %lk_logout. If "
            "you just typed an API key, your history contains the key: replace it in the dashboard."
        )
    elif setting_row.hidden and value is not None:
        raise UsageError(
            f"'{name}' may contain a secret, so you can't set it with %lk_config. Nothing was stored. Set "
            f"{setting_row.env[0]}, or edit '{config_file()}'. If you just typed a secret, your history contains "
            "the secret: replace it."
        )
    elif is_fixed(name):
        raise UsageError(
            f"You can't change '{name}': the administrator of this machine has set it in '{SITE_FILE}'. Nothing was "
            "stored."
        )
    else:
        parsed_value = None if value is None else _parse_text(setting_row, str(value), "")
        change_config(
            {
                **dict.fromkeys(setting_row.old_names),
                setting_row.name: parsed_value
                if parsed_value is None or isinstance(parsed_value, (bool, int, float, str))
                else str(parsed_value),
            }
        )
    if reading := _reading.get():
        reading.begin()


def is_fixed(name: str) -> bool:
    """Return whether the administrator of this machine fixes a setting."""
    return name in read_json(SITE_FILE)


def find_setting(name: str) -> Setting:
    """Return the row of a setting. Raises UsageError for an unknown name."""
    if name.startswith(GUESS):
        from lk_jupyter.config import assumptions  # noqa: PLC0415 (only when one is asked for)

        assumed = assumptions.find_assumption(name.removeprefix(GUESS))
        return Setting(name, assumed.default, f"{assumed.meaning}.")
    name = _current_name(name)
    if name not in _ROWS:
        from difflib import get_close_matches  # noqa: PLC0415 (after a slip)

        near = get_close_matches(name, _ROWS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Settings: {', '.join(_ROWS)}."
        raise UsageError(f"Unknown setting '{name}'. {hint}")
    return _ROWS[name]


def _current_name(name: str) -> str:
    """Return the name of a setting that may be given by an old name; that warns."""
    if name not in _OLD_NAMES:
        return name
    warnings.warn(f"The setting '{name}' was renamed to '{_OLD_NAMES[name]}'.", FutureWarning, stacklevel=3)
    return _OLD_NAMES[name]


def _parse_text(setting_row: Setting, text: str, source: str) -> Any:
    try:
        return setting_row.parse(text)
    except ValueError as form:
        where = f" (from {source})" if source else ""
        got = "." if setting_row.hidden else f", not {text!r}."
        raise UsageError(f"{setting_row.name}{where} takes {form}{got}") from None


def _read_stored(setting_row: Setting, reading: _Reading) -> tuple[Any, str]:
    """Return the text of a setting from the first place with a text, and the name of the place."""
    name = setting_row.name
    if reading.site_file is None:
        reading.site_file = read_json(SITE_FILE)
    if (text := reading.site_file.get(name)) not in (None, ""):
        return text, ADMINISTRATOR
    names = (name, *setting_row.old_names)
    old_variables = ((old, f"LK_{old.upper()}") for old in setting_row.old_names)
    for used, variable in [*((name, each) for each in setting_row.env), *old_variables]:
        if text := os.environ.get(variable):
            _current_name(used)
            return text, variable
    if reading.file is None:
        reading.file = read_json(config_file())
    for used in names:
        if (text := reading.file.get(used)) not in (None, ""):
            _current_name(used)
            return text, CONFIG_FILE
    if name in LYCEUM_NAMES and (name not in SERVER_SETTINGS or lyceum_server() == setting("base_url")):
        return lyceum_file().get(LYCEUM_NAMES[name]), LYCEUM
    return None, ""


def credential(base_url: str | None = None) -> Credential | None:
    """Return the key for a server, by default the configured server; None without a key. Raises UsageError."""
    from lk_jupyter.config import credentials  # noqa: PLC0415 (loading the extension needs no key)

    return credentials.find_key(base_url or setting("base_url"))
