"""Arrays, frames and tensors: their nodes, the memory that they share, and their digests."""

from __future__ import annotations

import hashlib
import json
import sys

from ..values import codec, families  # noqa: F401 (families fills a table of codec)
from ..values.envelope import byte_view
from .base import TENSOR_KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..values.codec import LeafWriter

#: Types of libraries that are leaves; objects of all further types are pickled.
LEAF_KINDS = {
    "ndarray", "memmap", "DataFrame", "Series", "Tensor", "Parameter",
    "Table", "RecordBatch", "ChunkedArray", "Int64Index", "MultiIndex", "CategoricalIndex",
}  # fmt: skip


def digest_received(node: dict[str, Any], leaves: list[dict[str, Any]]) -> str | None:
    """Return the digest of a received leaf, as ``Digests`` computes it; None if the leaf must be read first."""
    if node.keys() & {"view", "memory", "part", "grad"}:
        return None
    node_leaves = leaves[node["first"] : node["first"] + node["count"]]
    hashes = (
        leaf["sha256"] if "sha256" in leaf else hashlib.sha256(codec.decode_leaf_text(leaf["v"])).hexdigest()
        for leaf in node_leaves
    )
    return digest_node(node["node"], hashes)


def digest_node(node: Any, hashes: Iterable[str]) -> str:
    """Return the digest of a leaf, from the node and the hashes of the bytes."""
    content = {name: item for name, item in node.items() if name != codec.LAYOUT}
    return hashlib.sha256("\n".join([json.dumps(content, sort_keys=True), *hashes]).encode()).hexdigest()


def hash_leaf(write: LeafWriter) -> str:
    """Return the SHA-256 of the bytes that a leaf writes."""
    content = hashlib.sha256()
    write(lambda piece: content.update(byte_view(piece)))
    return content.hexdigest()


def encode_leaf(value: Any) -> tuple[Any, list[LeafWriter], set[str]] | None:
    """Return the node of a leaf, the writers of its bytes, and the required modules; None without a native form."""
    encoder = codec.Encoder()
    try:
        node = encoder.value("", value)
    except codec.CannotTravel:
        return None
    if type(value).__name__ == "ndarray" and not value.flags.writeable:
        node["readonly"] = True
    return node, encoder.leaves, encoder.modules


def gradient(value: Any) -> Any:
    """Return the gradient of a leaf tensor; None for any other value. Reading any other gradient warns."""
    return value.grad if type(value).__name__ in TENSOR_KINDS and getattr(value, "is_leaf", False) else None


def memory_owner(value: Any) -> Any:
    """Return the array that owns the memory of an array, or the array itself; None for any other value."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    while type(value.base) is numpy.ndarray:
        value = value.base
    return value


def memory_span(value: Any) -> tuple[Any, int, int] | None:
    """Return the memory of a tensor, with the first and the end element; None for any other value."""
    return codec.families["torch"]().memory_span(value) if type(value).__name__ in TENSOR_KINDS else None
