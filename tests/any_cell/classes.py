# %%
from dataclasses import dataclass, field
from enum import Enum


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list = field(default_factory=list)

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


p = Point(3, 4)
q = p
p.norm()
# %%
p.tags.append(Color.RED)
q.tags, isinstance(p, Point)
# %%
p.tags[0] is Color.RED
# %%
class Account:
    made = 0

    def __init__(self, owner):
        self.owner = owner
        self.balance = 0
        self.history = []
        Account.made += 1

    def deposit(self, amount):
        self.balance += amount
        self.history.append(amount)
        return self

ann, bob = Account("ann"), Account("bob")
Account.made
# %%
ann.deposit(5).deposit(7)
ann.balance
# %%
ann.history, bob.history, Account.made
# %%
def describe(self):
    return f"{self.owner}: {self.balance}"

Account.__str__ = describe
str(ann)
# %%
print(ann)
carol = Account("carol")
isinstance(carol, Account), Account.made
# %%
class Saver(Account):
    @property
    def rate(self):
        return 0.1 * self.balance

    @classmethod
    def of(cls, name):
        return cls(name)

s = Saver.of("dan")
s.deposit(10)
s.rate
# %%
tree = {"root": s, "leaves": [ann, bob]}
tree["self"] = tree
tree["root"].deposit(1)
tree["self"]["root"].balance
# %%
s.balance, Account.made
