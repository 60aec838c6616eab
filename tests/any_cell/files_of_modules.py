# %%
import sys, os

with open("shapes_of_mine.py", "w") as file:
    file.write("SIDES = {'square': 4}\ndef sides(name):\n    return SIDES[name]\n")
# %%
import shapes_of_mine

shapes_of_mine.sides("square")
# %%
shapes_of_mine.SIDES["triangle"] = 3
# %%
shapes_of_mine.sides("triangle")
# %%
from importlib import reload

reload(shapes_of_mine)
sorted(shapes_of_mine.SIDES)
# %%
os.remove("shapes_of_mine.py")
# %%
import math as m, os.path as p

m.floor(2.7), p.basename("a/b")
# %%
sys.path.append("/a/folder/of/mine")
# %%
sys.path[-1]
# %%
sys.path.remove("/a/folder/of/mine")
# %%
m.tau_of_mine = 6.28
# %%
import math

math.tau_of_mine
# %%
del m.tau_of_mine
hasattr(math, "tau_of_mine")
