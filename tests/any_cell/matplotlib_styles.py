# %%
import matplotlib as mpl
import matplotlib.pyplot as plt

plt.style.use("ggplot")
# %%
plt.rcParams["figure.figsize"] = (4, 2)
plt.rcParams["axes.titlesize"] = 8
# %%
plt.plot([1, 3, 2])
plt.title("small");
# %%
mpl.rcParams["figure.figsize"], plt.rcParams["axes.facecolor"]
# %%
with plt.style.context("dark_background"):
    plt.bar(["a", "b"], [1, 2])
# %%
with mpl.rc_context({"lines.linewidth": 5}):
    width = mpl.rcParams["lines.linewidth"]
width, mpl.rcParams["lines.linewidth"] == 5
# %%
mpl.rcdefaults()
mpl.rcParams["figure.figsize"]
# %%
colors = plt.cm.viridis([0.0, 0.5, 1.0])
colors.round(2)
# %%
cycle = mpl.cycler(color=["red", "green"])
plt.rc("axes", prop_cycle=cycle)
# %%
[line.get_color() for line in plt.plot([1, 2], [[1, 2], [3, 4]])]
