# %%
%matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
plt.rcParams["figure.figsize"] = (3, 2)
plt.rcParams["lines.linewidth"] = 3
x = np.linspace(0, 1, 5)
# %%
fig, ax = plt.subplots()
line, = ax.plot(x, x**2, label="square")
# %%
ax.set_title("Squares")
ax.legend()
fig
# %%
ax.get_title(), line.get_linewidth(), len(ax.lines)
# %%
plt.style.use("ggplot")
plt.rcParams["axes.grid"]
# %%
plt.plot(x, np.sin(x))
plt.xlabel("x")
plt.show()
# %%
def draw(k):
    fig, ax = plt.subplots()
    ax.bar(range(k), range(k))
    return ax.get_ylim()

limits = draw(3)
# %%
limits
# %%
line.set_color("red")
line.get_color(), ax.lines[0].get_color()
# %%
from pylab import *
# %%
plot([1, 2, 3])
show()
