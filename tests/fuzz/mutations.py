"""Damaged inputs, made of valid ones: the same for the same number."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 8, 63, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)

#: Bytes of a value that is repeated 100 times, and of damaged JSON: more than any limit of the parsers.
REPEATED, LARGEST = 400_000, 40_000_000

#: Stands for many values in a tree, which would take much more memory than their text.
MANY = '"many values"'

#: What a value of JSON is replaced with.
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 10**30, 1e308, -0.0, "", "x", "\x1b]0;x\x07", "\u202e", "../../x", "1e999999999",
    "a" * 5000, [], {}, [[]], [None] * 50, {"t": "same", "n": 1}, {"t": "list", "v": []}, {"": {}},
)  # fmt: skip


def damaged(choose: Random, content: bytes, seeds: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """Return bytes with a few changes: flipped, cut, repeated, spliced, replaced by sizes and words."""
    data = bytearray(content)
    for _ in range(choose.choice((1, 1, 1, 2, 3, 6))):
        _CHANGES[choose.randrange(len(_CHANGES))](choose, data, seeds, words)
    return bytes(data)


def _flip(choose: Random, data: bytearray, _seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    if data:
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)


def _size(choose: Random, data: bytearray, _seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    """Replace an aligned number, in both byte orders, or change it a little: sizes and offsets of binary formats."""
    width = choose.choice((1, 2, 4, 4, 8))
    if len(data) < width:
        return
    at = choose.randrange(len(data) - width + 1) // width * width
    order = choose.choice(("little", "little", "big"))
    number = int.from_bytes(data[at : at + width], order)
    number = choose.choice((choose.choice(NUMBERS), -choose.choice(NUMBERS), number + choose.choice((-8, -1, 1, 8))))
    data[at : at + width] = (number % 256**width).to_bytes(width, order)


def _cut(choose: Random, data: bytearray, _seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    at = choose.randrange(len(data) + 1)
    del data[at : at + choose.choice((1, 4, 64, len(data)))]


def _repeat(choose: Random, data: bytearray, _seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    start, count = choose.randrange(len(data) + 1), choose.choice((1, 4, 32, 256))
    piece = bytes(data[start : start + count])
    times = min(choose.choice((2, 10, 1000, 30_000)), 200_000 // max(1, len(piece)))
    data[start:start] = piece * times


def _splice(choose: Random, data: bytearray, seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    other = choose.choice(seeds)
    at, start = choose.randrange(len(data) + 1), choose.randrange(len(other) + 1)
    data[at : at + choose.choice((0, 64))] = other[start : start + choose.choice((8, 64, 1024))]


def _word(choose: Random, data: bytearray, _seeds: list[bytes], words: tuple[bytes, ...]) -> None:
    at = choose.randrange(len(data) + 1)
    word = choose.choice((*words, b"\xff", b"\0", b"\xed\xa0\x80", b"9" * 400, b'"', b"\x1b["))
    data[at : at + choose.choice((0, len(word)))] = word * choose.choice((1, 1, 1, 2000))


def _digits(choose: Random, data: bytearray, _seeds: list[bytes], _words: tuple[bytes, ...]) -> None:
    """Replace a digit by a larger number: sizes of text formats."""
    places = [at for at, byte in enumerate(data[:4000]) if 48 <= byte <= 57]
    if places:
        at = choose.choice(places)
        data[at : at + 1] = str(choose.choice((-1, *NUMBERS, 10**18, 10**40))).encode()


_CHANGES = (_flip, _size, _size, _size, _cut, _repeat, _splice, _word, _digits)


def damaged_json(choose: Random, content: bytes, seeds: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """Return JSON of which some values were replaced, removed or swapped; sometimes damaged bytes."""
    if choose.random() < 0.2:
        return damaged(choose, content, seeds, words)
    tree = json.loads(content)
    for _ in range(choose.choice((1, 1, 2, 4))):
        place = _place(choose, tree)
        if place:
            _replace(choose, *place, tree)
    text = json.dumps(tree)
    text = text.replace(MANY, _many(choose)) if MANY in text else text
    return text[:LARGEST].encode()


def damaged_message(choose: Random, content: bytes, seeds: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """Return a message of values: a leaf of it has damaged bytes, or its JSON is damaged."""
    tree = json.loads(content)
    leaves = [leaf for leaf in tree["leaves"] if leaf.get("v")]
    if not leaves or choose.random() < 0.35:
        return damaged_json(choose, content, seeds, words)
    leaf = choose.choice(leaves)
    plain = base64.b64decode(leaf["v"])
    leaf["v"] = base64.b64encode(damaged(choose, plain, [plain], words)).decode()
    return json.dumps(tree).encode()


def _place(choose: Random, tree: Any) -> tuple[Any, Any] | None:
    """Return a random container of a tree and a random key in it."""
    place = None
    while isinstance(tree, (dict, list)) and tree:
        key = choose.choice(list(tree)) if isinstance(tree, dict) else choose.randrange(len(tree))
        place = (tree, key)
        if choose.random() < 0.15:
            break
        tree = tree[key]
    return place


def _replace(choose: Random, parent: Any, key: Any, tree: Any) -> None:
    kind = choose.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and (other := _place(choose, tree)):
        parent[key] = deepcopy(other[0][other[1]])
    elif kind == 2:
        parent[key] = _nested(choose) if choose.random() < 0.8 else json.loads(MANY)
    elif kind == 3 and isinstance(parent, list):
        is_small = len(json.dumps(parent[key])) < REPEATED
        parent[key:key] = [parent[key]] * choose.choice((1, 100 if is_small else 2))
    elif kind == 4 and isinstance(parent[key], int):
        parent[key] = choose.choice((-1, parent[key] + 1, *NUMBERS))
    else:
        parent[key] = deepcopy(choose.choice(HOSTILE))


def _many(choose: Random) -> str:
    """Return the text of many values that take much more memory than their text."""
    values = ("[]", "{}", '{"a": 1}', "[[[[[]]]]]", "1", "0.5", '"ab"', '"\\ud83d\\ude00a"', "null")
    count = choose.choice((1000, 100_000, 1_000_000, 4_000_000))
    if choose.random() < 0.2:
        entries = (f'"{number}": 1' for number in range(count // 10))
        return "{" + ", ".join(entries) + "}"
    return f"[{', '.join([choose.choice(values)] * count)}]"


def _nested(choose: Random) -> Any:
    value: Any = 1
    key = choose.choice(("", "v", "data", "output"))
    for _ in range(choose.choice((5, 200, 400))):
        value = {key: value} if key else [value]
    return value
