"""Complete the line of a magic. No function here raises, and none waits longer than PATIENCE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate  # a separate class before Python 3.11
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread

from IPython.core.getipython import get_ipython
from pydantic.fields import FieldInfo

from lk_jupyter import session
from lk_jupyter.account.active import hardware_label
from lk_jupyter.account.api_keys import list_keys
from lk_jupyter.account.organizations import chosen_slug, read_team_slug
from lk_jupyter.api._client import Client
from lk_jupyter.config.settings import SETTINGS
from lk_jupyter.inference.catalogue import read_catalogue
from lk_jupyter.magics._engine.parser import Magic, Subcommands
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.options.arguments import flags, is_switch, takes_many
from lk_jupyter.options.runs import extras
from lk_jupyter.runs.ids import list_ids
from lk_jupyter.session import Session
from lk_jupyter.storage.storage import SCHEME
from lk_jupyter.vms.offers import list_offers
from lk_jupyter.vms.vms import active_vms

_MOST = 2000  # names: more are no help
PATIENCE = 0.8  # seconds: a slower answer comes too late for a menu


def complete(name: str, typed: str) -> tuple[str, list[str]]:
    """Return the unfinished word on the line of a magic, and the possible completions."""
    magic = magic_named(name)
    if isinstance(magic, Subcommands):
        verb, space, rest = typed.lstrip().partition(" ")
        if not space:
            return verb, _filter_by_start(verb, magic.verbs)
        if verb not in magic.verbs:
            return "", []
        magic, typed = magic.verbs[verb], rest
    *before, word = typed.split(" ")
    if word.startswith("-") and "=" not in word:
        return word, _filter_by_start(
            word, [flag for flag in magic.option_flags if flag.startswith("--") or word == "-"]
        )
    *option, value = word.split("=", 1)
    field = _find_field(magic, [*before, *option])
    name = extras(field).get("completer") or "" if field else ""
    fragment = re.split(r"[|,]" if name in LISTED else r"\|", value)[-1].lstrip("'\"")
    source = partial(BY_WHAT_IS_TYPED[name], fragment) if name in BY_WHAT_IS_TYPED else COMPLETERS.get(name)
    return fragment, _filter_by_start(fragment, _list_in_time(source)) if source else []


def _filter_by_start(fragment: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.lower().startswith(fragment.lower())]


def _find_field(magic: Magic, before: list[str]) -> FieldInfo | None:
    """Return the field of the next value after these words."""
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


def _list_in_time(source: Callable[[], Iterable[str]]) -> list[str]:
    """Return the items of the source, or an empty list when the source fails or takes longer than PATIENCE."""
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


def _get_session() -> Session:
    return session.current(start=False)


def _get_client() -> Client:
    return _get_session().client


def _list_keys(typed: str) -> Iterable[str]:
    """Return the keys in the folder that is being typed, at most one page of the bucket's listing."""
    scheme = SCHEME if typed.startswith(SCHEME) else ""
    folder = typed.removeprefix(scheme).rpartition("/")[0]
    page = next(_get_session().storage.pages(folder, recursive=False), [])
    return (scheme + entry.key for entry in page)


def _list_paths(typed: str) -> Iterable[str]:
    """Return the local files and folders that start with this text; folders end with a slash."""
    folder = Path(typed if typed.endswith("/") else Path(typed).parent)
    prefix = typed if typed.endswith("/") else typed.rpartition("/")[0] + "/" if "/" in typed else ""
    paths = sorted(islice(folder.expanduser().iterdir(), _MOST))
    return (f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in paths)


#: Completers that need the text typed so far, because a complete list would be too long.
BY_WHAT_IS_TYPED: dict[str, Callable[[str], Iterable[str]]] = {
    "keys": _list_keys,
    "paths": _list_paths,
    "places": lambda typed: _list_keys(typed) if typed.startswith(SCHEME) else [SCHEME, *_list_paths(typed)],
}


def _list_variables() -> list[str]:
    """Return the variables of the user, without IPython's."""
    shell = get_ipython()
    return [name for name in shell.user_ns if name not in shell.user_ns_hidden] if shell else []


#: Options that take several values, separated by commas.
LISTED = {"gpus", "machines", "variables"}

COMPLETERS: dict[str, Callable[[], Iterable[str]]] = {
    "deployable": lambda: (model.serving_name for model in _get_client().inference.models()),
    "deployments": lambda: (each.deployment_id for each in _get_client().inference.list()),
    "gpus": lambda: dict.fromkeys([*(each.card_name for each in _get_session().machines() if each.card), "any"]),
    "machines": lambda: (machine.hardware_profile for machine in _get_session().machines()),
    "models": lambda: (offer.id for offer in read_catalogue(_get_session())),
    "runs": lambda: list_ids(_get_client()),
    "batch_files": lambda: (each.id for each in _get_client().files.list()),
    "magics": lambda: (row.name for row in MAGICS),
    "orgs": lambda: (org.slug for org in _get_client().orgs.list()),
    "vms": lambda: (each.display_name or each.vm_id for each in active_vms(_get_client())),
    "vm_gpus": lambda: dict.fromkeys(
        hardware_label(each.profile) for each in list_offers(_get_client().vms.availability())
    ),
    "volumes": lambda: (each.volume_id for each in _get_client().block.list()),
    "members": lambda: (
        each.email or each.user_id for each in _get_client().orgs.list_members(chosen_slug(_get_client(), None))
    ),
    "api_keys": lambda: (key.name for key in list_keys(_get_client(), read_team_slug(_get_client()))),
    "secrets": lambda: (each.name for each in _get_client().environment_variables.list()),
    "settings": lambda: (row.name for row in SETTINGS),
    "variables": _list_variables,
}
