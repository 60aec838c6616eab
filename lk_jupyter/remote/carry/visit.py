"""The namespace of a run: what came, and what has changed when the code ends."""

from __future__ import annotations

from ..script import run as driver
from .base import Refused, is_plain, running_code, words_of
from .digests import Digests, digest_or_none, known_of
from .kinds.table import inside
from .kinds.widgets import SHOWN
from .nameless import FILES, NAMELESS, put_nameless
from .shared import digest_of
from .writer import Departing, submodules_of

#: Said of a variable that takes more bytes than come back without its name.
TOO_LARGE = "takes {:,} bytes, and {:,} come back without a name: add --out {}"


class Visit:
    """The namespace of a run, between what came and what goes back.

    ``refused`` is name → reason for what could not be read; ``hidden`` are names that are not the author's, with their
    values.
    """

    def __init__(self, arriving, namespace, hidden=None):
        self._namespace = namespace
        self._hidden = hidden or {}
        came = {entry["n"]: value for entry, value in arriving.read()}
        self._nameless = {name: came.pop(name, {}) for name in NAMELESS}
        put_nameless({name: found for name, found in self._nameless.items() if found})
        namespace.update(came)
        self.refused = arriving.refused
        self._came = set(came)
        self._known = known_of({**arriving.reader.tokens(), **arriving.reader.known})
        leaves = arriving.content["leaves"]
        self._before = {2 * at + 1: digest_of(node, leaves) for at, node in enumerate(arriving.listed["nodes"])}
        self._own, self._files, self._states = {}, {}, {}

    def begin(self):
        """Record all values, as the last step before the code runs."""
        digests = Digests(self._known)
        for token, value in self._known.values():
            if self._before.get(token) is None:
                self._before[token] = digest_or_none(digests.digest, value)
        self._start = dict(self._namespace)
        for name in self._came:
            if id(self._namespace[name]) not in self._known:
                self._own[name] = digest_or_none(digests.digest_any, self._namespace[name])

    def end(self, limit, asked=(), files=()):
        """Return what has changed, ready to be sent, with name → reason for what cannot be.

        What takes more bytes than the limit stays, unless it was asked for. ``files`` is name → content of files that
        the code wrote.
        """
        self._files = {FILES: dict(files)} if files else {}
        refused, departing = {}, None
        while departing is None:
            departing = self._departing(refused, limit, asked)
        departing.submodules = submodules_of(list(self._namespace.values()), words_of(running_code()))
        departing.close()
        return departing, {name: reason for (_, _, name), reason in refused.items()}

    @property
    def gone(self):
        """The names that came and were deleted."""
        return sorted(name for name in self._came if name not in self._namespace)

    def _departing(self, refused, limit, asked):
        """Return what has changed, but for what is refused; None where more is refused now, to start again."""
        departing = Departing(self._known)
        digests = Digests(self._known)
        digests.reached = reached = departing.writer.reached
        changed = self._changed(digests, asked)
        departing.share(list(changed.values()))
        names = {id(self._namespace[name]): name for name in self._came if name in self._namespace}
        seen = set()
        for name in [*changed, *sorted(self._came - changed.keys()), *(NAMELESS.keys() - changed.keys())]:
            if name in changed:
                waiting = [("name", name, changed[name])]
            elif name in NAMELESS:
                digest_or_none(digests.digest_any, self._states[name])
                waiting = []
            else:
                digests.persistent_id(self._namespace.get(name))
                waiting = []
            while waiting or reached.keys() - seen:
                for held in waiting:
                    of = names.get(id(held[2]), name)  # what has a name is not counted for one that only holds it
                    place = (*held[:2], of)
                    if place not in refused:
                        reason = _added(departing, *held, of) or _too_large(
                            departing, of, None if of in asked else limit
                        )
                        if reason:
                            refused[place] = "{} {}".format(name, reason)
                            return None
                tokens = sorted(reached.keys() - seen)
                seen.update(tokens)
                waiting = [found for token in tokens for found in self._held(digests, token)]
        return departing

    def _held(self, digests, token):
        """Yield what an object holds, where that is something else than before; what it refers to is reached then."""
        value = digests.reached[token]
        digest = digest_or_none(digests.digest, value)
        if digest != self._before.get(token):
            yield "leaf" if token % 2 else "inside", token, value

    def _changed(self, digests, asked):
        """Return the names that have another value than before, and the names that were asked for."""
        hidden = self._hidden or driver.hidden
        self._states = {name: read() for name, (read, _) in NAMELESS.items()}
        found = {name: state for name, state in self._states.items() if _is_other(state, self._nameless[name])}
        found.update((SHOWN + name, widget) for name, widget in driver.widgets.items() if widget is not None)
        named = {
            name: value
            for name, value in list(self._namespace.items())
            if not name.startswith("__")
            and hidden.get(name, hidden) is not value
            and (name != "_" or self._is_sent_unasked(value))
            and (
                name in asked
                or self._start.get(name, self) is not value
                or (name in self._own and digest_or_none(digests.digest_any, value) != self._own[name])
            )
        }
        return {**self._files, **named, **found}  # files first: some are open in the other values

    def _is_sent_unasked(self, value):
        """Whether the last value that was shown is sent without being asked for."""
        is_known = id(value) in self._known or any(
            value is of for name, of in list(self._namespace.items()) if name != "_"
        )
        return is_plain(value) or Digests(self._known).is_leaf(value) or is_known


def _is_other(state, before):
    try:
        return bool(state != before)
    except Exception:  # such as of two arrays
        return True


def let_live():
    """Call no ``__del__`` of the notebook's classes any more: the process ends, its objects live on in the notebook."""
    waiting, seen = [object], set()
    while waiting:
        kind = waiting.pop()
        found = [of for of in type.__subclasses__(kind) if id(of) not in seen]  # a class may compare as it likes
        seen.update(map(id, found))
        waiting += found
        if kind.__module__ == "__main__" and "__del__" in vars(kind):
            type.__delattr__(kind, "__del__")


def _added(departing, kind, key, value, name):
    """Add a value; return why that cannot be, or nothing."""
    try:
        departing.add(kind, key, inside(value) if kind == "inside" else value, name)
    except Refused as error:
        return str(error)
    except Exception as error:
        return "cannot be read ({}: {})".format(type(error).__name__, error)
    return ""


def _too_large(departing, name, limit):
    size = departing.sizes[name]
    if limit is None or size <= limit:
        return ""
    return TOO_LARGE.format(size, limit, name)
