# %%
import numpy as np

grid = np.arange(24).reshape(4, 6)
grid
# %%
grid[1:3, ::2]
# %%
mask = grid % 5 == 0
grid[mask] = -1
grid
# %%
rows, columns = np.where(grid < 0)
list(zip(rows.tolist(), columns.tolist()))
# %%
corner = grid[:2, :2]
corner += 100
grid[0]
# %%
picked = grid[[0, 2], [1, 3]]
picked.base is None, np.shares_memory(corner, grid)
# %%
np.take_along_axis(grid, grid.argsort(axis=1), axis=1)[:2]
