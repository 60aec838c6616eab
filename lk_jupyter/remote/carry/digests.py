"""Digests of objects: whether an object has changed, and whether the other side has it already."""

from __future__ import annotations

import hashlib

from .base import Refused
from .kinds.table import inside
from .shared import digest_node, encoded, grad_of, hash_leaf, owner_of
from .writer import Writer


class Digests(Writer):
    """Names objects by what they hold, each apart; an object that the other side has counts by its token."""

    def __init__(self, known, hash_of=None):
        super().__init__(None, known)
        self._hash = hash_of or hash_leaf

    def chunk(self, value):
        """Return a value as bytes, each time as if it were the first. Raises Refused."""
        self.clear_memo()
        return super().chunk(value)

    def of(self, value):
        """Return the digest of what a value holds; what it refers to is reached meanwhile. Raises Refused."""
        if self.is_leaf(value):
            owner = owner_of(value)
            if owner is not value and id(owner) in self.known:
                self.reached.setdefault(self.known[id(owner)][0], owner)
            if found := self._leaf(value):
                return found
        try:
            held = inside(value)
        except Exception as error:
            raise Refused(self._why(error)) from None
        return hashlib.sha256(self.chunk(held)).hexdigest()

    def of_any(self, value):
        """Return the digest of a value that is the name's own, such as a number. Raises Refused."""
        return hashlib.sha256(self.chunk(value)).hexdigest()

    def _leaf(self, value):
        made = encoded(value)
        if made is None:
            return None
        grad = grad_of(value)
        return digest_node(made[0], map(self._hash, made[1])) + ("" if grad is None else self._leaf(grad))


class Kept:
    """What the other end has of a namespace already, by what it holds: the values that have not changed since.

    ``digests`` is name → digest of the value when it was last the same on both sides.
    """

    #: The first token of such values: an even number, above all that a stream gives.
    FIRST = 1 << 40

    def __init__(self, namespace, digests):
        self._names = {id(namespace[name]): name for name in digests if name in namespace}
        self._namespace = namespace
        self._digests = digests
        self._found = {}

    def get(self, number, default=None):
        """Return the token and the value of an object with this id, as ``known`` of a Writer has them."""
        if number not in self._found:
            self._found[number] = self._look(number)
        return self._found[number] or default

    def __contains__(self, number):
        return self.get(number) is not None

    def _look(self, number):
        name = self._names.get(number)
        if name is None or digest_here(self._namespace[name]) != self._digests[name]:
            return None
        token = self.FIRST + 2 * list(self._digests).index(name)
        return token + Writer(None).is_leaf(self._namespace[name]), self._namespace[name]

    @property
    def tokens(self):
        """Token → name of the values that were asked for and have not changed."""
        return {found[0]: self._names[number] for number, found in self._found.items() if found}

    @property
    def values(self):
        """Token → value of the same."""
        return {found[0]: found[1] for found in self._found.values() if found}


def digest_here(value, hash_of=None):
    """Return the digest of a value and all that it holds; None for what cannot be read."""
    digests = Digests({}, hash_of)
    return digest_or_none(digests.of if digests.is_leaf(value) else digests.of_any, value)


def digests_of(tokens, hash_of=None, wanted=None):
    """Return token → digest of each object that can change in place, or of the ``wanted`` objects."""
    known = known_of(tokens)
    digests = Digests(known, hash_of)
    found = ((token, value) for token, value in known.values() if wanted is None or token in wanted)
    return {token: digest_or_none(digests.of, value) for token, value in found}


def known_of(tokens):
    """Return id → (token, object) of what can change in place, or holds what can."""
    return {id(value): (token, value) for token, value in tokens.items() if token % 2 or _holds(value)}


def _holds(value):
    try:
        return inside(value) is not None
    except Exception:
        return False


def digest_or_none(digest, value):
    """Return a digest; None for what cannot be read."""
    try:
        return digest(value)
    except Refused:
        return None
