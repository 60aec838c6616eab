# %%
from enum import Enum, Flag, auto


class Planet(Enum):
    EARTH = (5.9e24, 6.3e6)
    HOME = (5.9e24, 6.3e6)
    MARS = (6.4e23, 3.4e6)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius

    @property
    def gravity(self):
        return round(6.67e-11 * self.mass / self.radius**2, 1)
# %%
Planet.EARTH.gravity, Planet.HOME is Planet.EARTH, list(Planet)
# %%
for name, planet in Planet.__members__.items():
    print(name, planet.name, planet.mass)
# %%
class Access(Flag):
    READ = auto()
    WRITE = auto()
    BOTH = READ | WRITE


granted = Access.READ
# %%
granted |= Access.WRITE
granted, granted is Access.BOTH
# %%
visits = {planet: 0 for planet in Planet}
visits[Planet.HOME] += 1
# %%
visits[Planet.EARTH] += 1
visits
# %%
Planet.MARS.visited = False
# %%
Planet((6.4e23, 3.4e6)).visited
# %%
names = map(str.lower, Planet.__members__)
letters, again = zip("ab", "cd"), iter([1, 2, 3])
# %%
list(names), list(letters), list(again)
# %%
list(names), list(letters), list(again)
