# %%
from __future__ import annotations
from dataclasses import dataclass, field, replace
from enum import Enum, auto
# %%
class Color(Enum):
    RED = auto()
    GREEN = auto()
# %%
@dataclass(order=True)
class Card:
    rank: int
    color: Color = field(default=Color.RED, compare=False)
    tags: list[str] = field(default_factory=list, compare=False)
# %%
cards = [Card(3), Card(1, Color.GREEN)]
sorted(cards)
# %%
cards[0].tags.append("worn")
cards[0]
# %%
other = replace(cards[1], rank=9)
other > cards[0], other.color is Color.GREEN
# %%
class Deck(list):
    def best(self):
        return max(self)

deck = Deck(cards)
# %%
deck.best(), deck[0] is cards[0]
# %%
from typing import NamedTuple

class Point(NamedTuple):
    x: float
    y: float = 0.0
# %%
Point(1)._replace(y=2), Point.__annotations__.keys()
# %%
Color["RED"], list(Color), Color(2) is Color.GREEN
