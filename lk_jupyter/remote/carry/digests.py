"""Digests of objects: whether an object has changed, and whether the peer has the object already."""

from __future__ import annotations

import hashlib

from .base import Refused
from .kinds.table import inside
from .shared import digest_node, encoded, gradient, hash_leaf, memory_owner
from .writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    from ..values.codec import LeafWriter


class Digests(Writer):
    """Computes the digest of each object separately; an object that the peer has counts by its token."""

    def __init__(self, common: Any, hash_function: Callable[[LeafWriter], str] | None = None) -> None:
        super().__init__(None, common)
        self._hash = hash_function or hash_leaf

    def chunk(self, value: Any) -> bytes:
        """Return a value as bytes without references to earlier values. Raises Refused."""
        self.clear_memo()
        return super().chunk(value)

    def digest(self, value: Any) -> str:
        """Return the digest of the content of a value, and record the objects it refers to. Raises Refused."""
        if self.is_leaf(value):
            owner = memory_owner(value)
            if owner is not value and id(owner) in self.common:
                self.reached.setdefault(self.common[id(owner)][0], owner)
            leaf_digest: str | None = self._leaf(value)
            if leaf_digest:
                return leaf_digest
        try:
            content = inside(value)
        except Exception as error:
            raise Refused(self._why(error)) from None
        return hashlib.sha256(self.chunk(content)).hexdigest()

    def digest_any(self, value: Any) -> str:
        """Return the digest of a value that is the name's own, such as a number. Raises Refused."""
        return hashlib.sha256(self.chunk(value)).hexdigest()

    def _leaf(self, value: Any) -> Any:
        leaf = encoded(value)
        if leaf is None:
            return None
        grad = gradient(value)
        return digest_node(leaf[0], map(self._hash, leaf[1])) + ("" if grad is None else self._leaf(grad))


class UnchangedValues:
    """Values of a namespace that the peer has, and that have not changed since.

    ``digests`` is name → digest of the value when both sides last had the same.
    """

    #: The first token of such values: an even number, above all that a stream gives.
    FIRST = 1 << 40

    def __init__(self, namespace: Mapping[str, Any], digests: Mapping[str, str | None]) -> None:
        self._names: dict[object, str] = {id(namespace[name]): name for name in digests if name in namespace}
        self._namespace = namespace
        self._digests = digests
        self._entries: dict[object, tuple[int, Any] | None] = {}

    def get(self, number: object, default: Any = None) -> Any:
        """Return the token and the value of the object with this id, as ``common`` of a Writer has both."""
        if number not in self._entries:
            self._entries[number] = self._look(number)
        return self._entries[number] or default

    def __contains__(self, number: object) -> bool:
        return self.get(number) is not None

    def _look(self, number: object) -> tuple[int, Any] | None:
        name = self._names.get(number)
        if name is None or digest_value(self._namespace[name]) != self._digests[name]:
            return None
        token = self.FIRST + 2 * list(self._digests).index(name)
        return token + Writer(None).is_leaf(self._namespace[name]), self._namespace[name]

    @property
    def tokens(self) -> dict[int, str]:
        """Return token → name of the requested values that have not changed."""
        return {entry[0]: self._names[number] for number, entry in self._entries.items() if entry}

    @property
    def values(self) -> dict[int, Any]:
        """Token → value of the same."""
        return {entry[0]: entry[1] for entry in self._entries.values() if entry}


def digest_value(value: Any, hash_function: Callable[[LeafWriter], str] | None = None) -> str | None:
    """Return the digest of a value with all its content; None if the value cannot be read."""
    digests = Digests({}, hash_function)
    return digest_or_none(digests.digest if digests.is_leaf(value) else digests.digest_any, value)


def digest_objects(
    tokens: Mapping[int, Any],
    hash_function: Callable[[LeafWriter], str] | None = None,
    subset: AbstractSet[int] | None = None,
) -> dict[int | str, str | None]:
    """Return token → digest of each object that can change in place, or of the ``wanted`` objects."""
    objects = mutable_objects(tokens)
    digests = Digests(objects, hash_function)
    selected = ((token, value) for token, value in objects.values() if subset is None or token in subset)
    return {token: digest_or_none(digests.digest, value) for token, value in selected}


def mutable_objects(tokens: Mapping[int, Any]) -> dict[int, tuple[int, Any]]:
    """Return id → (token, object) of the objects that can change in place, or contain such objects."""
    return {id(value): (token, value) for token, value in tokens.items() if token % 2 or _holds(value)}


def _holds(value: Any) -> bool:
    try:
        return inside(value) is not None
    except Exception:
        return False


def digest_or_none(digest: Callable[[Any], str], value: Any) -> str | None:
    """Return a digest; None if the value cannot be read."""
    try:
        return digest(value)
    except Refused:
        return None
