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

    def digest(self, value):
        """Return the digest of what a value holds; what it refers to is reached meanwhile. Raises Refused."""
        if self.is_leaf(value):
            owner = owner_of(value)
            if owner is not value and id(owner) in self.known:
                self.reached.setdefault(self.known[id(owner)][0], owner)
            if leaf_digest := self._leaf(value):
                return leaf_digest
        try:
            content = inside(value)
        except Exception as error:
            raise Refused(self._why(error)) from None
        return hashlib.sha256(self.chunk(content)).hexdigest()

    def digest_any(self, value):
        """Return the digest of a value that is the name's own, such as a number. Raises Refused."""
        return hashlib.sha256(self.chunk(value)).hexdigest()

    def _leaf(self, value):
        leaf = encoded(value)
        if leaf is None:
            return None
        grad = grad_of(value)
        return digest_node(leaf[0], map(self._hash, leaf[1])) + ("" if grad is None else self._leaf(grad))


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
        self._entries = {}

    def get(self, number, default=None):
        """Return the token and the value of an object with this id, as ``known`` of a Writer has them."""
        if number not in self._entries:
            self._entries[number] = self._look(number)
        return self._entries[number] or default

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
        return {entry[0]: self._names[number] for number, entry in self._entries.items() if entry}

    @property
    def values(self):
        """Token → value of the same."""
        return {entry[0]: entry[1] for entry in self._entries.values() if entry}


def digest_here(value, hash_of=None):
    """Return the digest of a value and all that it holds; None for what cannot be read."""
    digests = Digests({}, hash_of)
    return digest_or_none(digests.digest if digests.is_leaf(value) else digests.digest_any, value)


def digests_of(tokens, hash_of=None, wanted=None):
    """Return token → digest of each object that can change in place, or of the ``wanted`` objects."""
    objects = known_of(tokens)
    digests = Digests(objects, hash_of)
    selected = ((token, value) for token, value in objects.values() if wanted is None or token in wanted)
    return {token: digest_or_none(digests.digest, value) for token, value in selected}


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
