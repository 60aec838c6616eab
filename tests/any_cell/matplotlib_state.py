# %%
import matplotlib.pyplot as plt

figure = plt.figure(num="kept", figsize=(2, 2))
axes = plt.gca()
# %%
plt.get_fignums(), plt.gca() is axes
# %%
figure, axes = plt.subplots()
axes.scatter([1, 2], [3, 4], c=[0, 1])
plt.close()
# %%
axes.collections[0].get_offsets().tolist()
# %%
axes.annotate("here", (1, 3))
axes.texts[0].get_text()
# %%
figure.suptitle("one figure, several cells")
figure
# %%
other = axes.twinx()
other.set_ylabel("right")
len(figure.axes)
# %%
figure.savefig("figure.svg")
# %%
import pathlib

place = pathlib.Path("figure.svg")
place.read_text()[:5], place.unlink()
# %%
twin, ax = plt.subplot_mosaic("ab")
sorted(ax)
# %%
plt.close("all")
plt.get_fignums()
