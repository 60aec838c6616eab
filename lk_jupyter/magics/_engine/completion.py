"""What may stand next on a magic's line. Nothing here raises, and nothing waits long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate  # its own class before Python 3.11
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread

from IPython.core.getipython import get_ipython
from pydantic.fields import FieldInfo

from lk_jupyter import session
from lk_jupyter.account.api_keys import keys
from lk_jupyter.account.burn_rate import hardware_label
from lk_jupyter.account.organizations import slug_of, team_slug
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.inference.catalogue import catalogue
from lk_jupyter.magics._engine.parser import Magic, Subcommands, flags, is_switch, takes_many
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.options.runs import extras
from lk_jupyter.runs.ids import known_ids
from lk_jupyter.storage.storage import SCHEME
from lk_jupyter.vms.offers import offers
from lk_jupyter.vms.vms import living

_MOST = 2000  # names: more are no help
PATIENCE = 0.8  # seconds: a slower answer comes too late for a menu


def complete(name: str, typed: str) -> tuple[str, list[str]]:
    """Return the piece that is being typed in the line of a magic, and what may replace it."""
    magic = magic_named(name)
    if isinstance(magic, Subcommands):
        verb, space, rest = typed.lstrip().partition(" ")
        if not space:
            return verb, _starting(verb, magic.verbs)
        if verb not in magic.verbs:
            return "", []
        magic, typed = magic.verbs[verb], rest
    *before, word = typed.split(" ")
    if word.startswith("-") and "=" not in word:
        return word, _starting(word, [flag for flag in _flags(magic) if flag.startswith("--") or word == "-"])
    *option, value = word.split("=", 1)
    field = _field_for(magic, [*before, *option])
    name = extras(field).get("completer") or "" if field else ""
    fragment = re.split(r"[|,]" if name in LISTED else r"\|", value)[-1].lstrip("'\"")
    source = partial(BY_WHAT_IS_TYPED[name], fragment) if name in BY_WHAT_IS_TYPED else COMPLETERS.get(name)
    return fragment, _starting(fragment, _soon(source)) if source else []


def _starting(fragment: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.lower().startswith(fragment.lower())]


def _flags(magic: Magic) -> list[str]:
    return [flag for action in magic.parser._actions for flag in action.option_strings]


def _field_for(magic: Magic, before: list[str]) -> FieldInfo | None:
    """Return the field whose value stands after these words."""
    fields = magic.model.model_fields
    options = {flag: field for name, field in fields.items() for flag in flags(name, field)}
    positional = [field for field in fields.values() if extras(field).get("positional")]
    pending = None
    for word in filter(None, before):
        if word in options:
            pending = None if is_switch(options[word]) else options[word]
        elif pending is None:
            positional = positional[1:]
        elif not takes_many(pending):
            pending = None
    return pending or next(iter(positional), None)


def _soon(source: Callable[[], Iterable[str]]) -> list[str]:
    """Return what the source gives, or nothing when it fails or takes too long."""
    answer: Future[list[str]] = Future()

    def work() -> None:
        try:
            answer.set_result(list(source()))
        except Exception:  # noqa: BLE001 (no sign-in, no network: then there is nothing to offer)
            answer.set_result([])

    Thread(target=work, name="lk_jupyter completion", daemon=True).start()
    try:
        return answer.result(PATIENCE)
    except TooLate:
        return []


def _machines() -> Iterable[str]:
    return (machine.hardware_profile for machine in session.current(start=False).machines())


def _gpus() -> Iterable[str]:
    return dict.fromkeys(m.card_name for m in session.current(start=False).machines() if m.card)


def _runs() -> Iterable[str]:
    return known_ids(session.current(start=False).client)


def _models() -> Iterable[str]:
    return (offer.id for offer in catalogue(session.current(start=False)))


def _deployable() -> Iterable[str]:
    return (model.serving_name for model in session.current(start=False).client.inference.models())


def _deployments() -> Iterable[str]:
    return (each.deployment_id for each in session.current(start=False).client.inference.list())


def _settings() -> Iterable[str]:
    return (row.name for row in SETTINGS)


def _keys(typed: str) -> Iterable[str]:
    """Return what the folder of the bucket holds that is being typed, a page of it."""
    scheme = SCHEME if typed.startswith(SCHEME) else ""
    folder = typed.removeprefix(scheme).rpartition("/")[0]
    page = next(session.current(start=False).storage.pages(folder, recursive=False), [])
    return (scheme + found.key for found in page)


def _paths(typed: str) -> Iterable[str]:
    """Return the files and folders here that begin so; the folders with a slash."""
    here = Path(typed if typed.endswith("/") else Path(typed).parent)
    prefix = typed if typed.endswith("/") else typed.rpartition("/")[0] + "/" if "/" in typed else ""
    found = sorted(islice(here.expanduser().iterdir(), _MOST))
    return (f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in found)


def _places(typed: str) -> Iterable[str]:
    return _keys(typed) if typed.startswith(SCHEME) else [SCHEME, *_paths(typed)]


#: What is completed from what is typed so far, since there is too much to offer all.
BY_WHAT_IS_TYPED: dict[str, Callable[[str], Iterable[str]]] = {"keys": _keys, "paths": _paths, "places": _places}


def _variables() -> list[str]:
    """Return the variables of the user, those of IPython left out."""
    shell = get_ipython()
    return [name for name in shell.user_ns if name not in shell.user_ns_hidden] if shell else []


def _secrets() -> Iterable[str]:
    return (each.name for each in session.current(start=False).client.environment_variables.list())


def _orgs() -> Iterable[str]:
    return (org.slug for org in session.current(start=False).client.orgs.list())


def _members() -> Iterable[str]:
    client = session.current(start=False).client
    return (each.email or each.user_id for each in client.orgs.list_members(slug_of(client, None)))


def _api_keys() -> Iterable[str]:
    client = session.current(start=False).client
    return (key.name for key in keys(client, team_slug(client)))


def _vms() -> Iterable[str]:
    return (each.display_name or each.vm_id for each in living(session.current(start=False).client))


def _vm_gpus() -> Iterable[str]:
    offered = offers(session.current(start=False).client.vms.availability())
    return dict.fromkeys(hardware_label(offer.profile) for offer in offered)


def _volumes() -> Iterable[str]:
    return (each.volume_id for each in session.current(start=False).client.block.list())


def _magics() -> Iterable[str]:
    return (row.name for row in MAGICS)


def _batch_files() -> Iterable[str]:
    return (each.id for each in session.current(start=False).client.files.list())


#: What may be several, with commas between.
LISTED = {"gpus", "machines", "variables"}

COMPLETERS: dict[str, Callable[[], Iterable[str]]] = {
    "deployable": _deployable,
    "deployments": _deployments,
    "gpus": _gpus,
    "machines": _machines,
    "models": _models,
    "runs": _runs,
    "batch_files": _batch_files,
    "magics": _magics,
    "orgs": _orgs,
    "vms": _vms,
    "vm_gpus": _vm_gpus,
    "volumes": _volumes,
    "members": _members,
    "api_keys": _api_keys,
    "secrets": _secrets,
    "settings": _settings,
    "variables": _variables,
}
