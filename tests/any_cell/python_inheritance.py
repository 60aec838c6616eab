# %%
from abc import ABC, abstractmethod

class Shape(ABC):
    made = 0

    def __init__(self):
        type(self).made += 1
        Shape.made += type(self) is not Shape

    @abstractmethod
    def area(self): ...
    @property
    def label(self):
        return f"{type(self).__name__} of {self.area():.1f}"
# %%
class Square(Shape):
    __slots__ = ("side",)

    def __init__(self, side):
        super().__init__()
        self.side = side

    def area(self):
        return self.side**2

    def __add__(self, other):
        return Square((self.area() + other.area()) ** 0.5)
# %%
one = Square(3)
one.label, Shape.made
# %%
(one + Square(4)).side
# %%
Shape.made
# %%
Shape()
# %%
def grow(self, by):
    self.side *= by
    return self

Square.grow = grow
# %%
one.grow(2).side, one.area()
# %%
class Typed:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, owner=None):
        return self if obj is None else obj.__dict__[self.name]

    def __set__(self, obj, value):
        if not isinstance(value, int):
            raise TypeError(f"{self.name} is a whole number")
        obj.__dict__[self.name] = value

class Box:
    width = Typed()
# %%
box = Box()
box.width = 3
box.width
# %%
box.width = "wide"
# %%
isinstance(one, Shape), Square.__mro__[1].__name__
