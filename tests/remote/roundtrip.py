"""Values there and back, and what it takes for two of them to be the same."""

from __future__ import annotations

import collections
import decimal
import json
import math
import types

from hypothesis import HealthCheck, settings

from lk_jupyter.remote.values import codec, families  # noqa: F401 (families fills a table of codec)

#: For made-up values of each kind; many more by hand: LK_EXAMPLES=500.
EXAMPLES = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def there_and_back(*values, pickle=False):
    """Encode and decode values as one message; return the value, or several as a list."""
    encoder = codec.Encoder(pickle)
    nodes = [encoder.value(f"x{at}", value) for at, value in enumerate(values)]
    leaves = []
    for write in encoder.leaves:
        leaves.append(bytearray())
        write(leaves[-1].extend)
    message = json.loads(json.dumps(nodes, allow_nan=False))
    decoder = codec.Decoder(leaves.__getitem__)
    back = [decoder.value(node) for node in message]
    return back if len(back) > 1 else back[0]


def same(one, other):  # noqa: C901, PLR0911 (one row for each kind)
    """Whether two plain values are of the same types and equal, nan and the sign of zero included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    if isinstance(one, dict):
        rest = not isinstance(one, collections.defaultdict) or one.default_factory is other.default_factory
        return rest and same(list(one.items()), list(other.items()))
    if isinstance(one, slice):
        return same([one.start, one.stop, one.step], [other.start, other.stop, other.step])
    if isinstance(one, types.SimpleNamespace):
        return same(vars(one), vars(other))
    if isinstance(one, collections.deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    return bool(one == other) and repr(one) == repr(other)
