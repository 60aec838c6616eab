# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colors

image = np.hypot(*np.mgrid[-3:3:40j, -3:3:40j])
# %%
plt.imshow(image, cmap="magma")
plt.colorbar();
# %%
fig, ax = plt.subplots()
mesh = ax.pcolormesh(image, norm=colors.LogNorm())
mesh.get_clim()
# %%
contours = plt.contour(image, levels=[1, 2, 3])
plt.clabel(contours)
# %%
contours.levels
# %%
fig = plt.figure(figsize=(3, 3))
solid = fig.add_subplot(projection="3d")
solid.plot_surface(*np.mgrid[0:2:5j, 0:2:5j], image[:5, :5])
# %%
type(solid).__name__, fig.get_size_inches()
# %%
plt.imsave("dot.png", image)
plt.imread("dot.png").shape
# %%
import os

os.remove("dot.png")
# %%
n, edges, patches = plt.hist(image.ravel(), bins=5)
n.tolist()
