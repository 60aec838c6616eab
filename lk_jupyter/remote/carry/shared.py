"""Arrays, frames and tensors: their nodes, the memory that they share, and their digests."""

from __future__ import annotations

import hashlib
import json
import sys

from ..values import codec, families  # noqa: F401 (families fills a table of codec)
from .base import TENSOR_KINDS

#: Kinds of libraries that are leaves; the others are pickled as they are.
LEAF_KINDS = {
    "ndarray", "memmap", "recarray", "matrix", "DataFrame", "Series", "Tensor", "Parameter",
    "Table", "RecordBatch", "ChunkedArray", "Int64Index", "MultiIndex", "CategoricalIndex",
}  # fmt: skip


def digest_of(node, leaves):
    """Return the digest of a leaf that came, as ``Digests`` makes it; None for a leaf that must be read first."""
    if node.keys() & {"view", "memory", "part", "grad"}:
        return None
    mine = leaves[node["first"] : node["first"] + node["count"]]
    hashes = (
        leaf["sha256"] if "sha256" in leaf else hashlib.sha256(codec.from_text(leaf["v"])).hexdigest() for leaf in mine
    )
    return digest_node(node["node"], hashes)


def digest_node(node, hashes):
    """Return the digest of a leaf: of its node, and of the hashes of its bytes."""
    content = {name: of for name, of in node.items() if name != codec.LAYOUT}
    return hashlib.sha256("\n".join([json.dumps(content, sort_keys=True), *hashes]).encode()).hexdigest()


def hash_leaf(write):
    """Return the SHA-256 of the bytes that a leaf writes."""
    content = hashlib.sha256()
    write(lambda piece: content.update(memoryview(piece).cast("B") if memoryview(piece).nbytes else b""))
    return content.hexdigest()


def encoded(value):
    """Return the node of a leaf, what writes its bytes, and the modules to read it; None for what has no form."""
    encoder = codec.Encoder()
    try:
        return encoder.value("", value), encoder.leaves, encoder.modules
    except codec.CannotTravel:
        return None


def grad_of(value):
    """Return the gradient of a tensor; None for all else. Only the one of a leaf can be read without a warning."""
    return value.grad if type(value).__name__ in TENSOR_KINDS and getattr(value, "is_leaf", False) else None


def owner_of(value):
    """Return the array whose memory an array shows, itself where that is its own; None for what is no array."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    while type(value.base) is numpy.ndarray:
        value = value.base
    return value


def memory_of(value):
    """Return the memory that a tensor shows, with the first and the end of the elements there; None for others."""
    return codec.families["torch"]().memory_of(value) if type(value).__name__ in TENSOR_KINDS else None
