# %%
import numpy as np
np.random.seed(1)
np.set_printoptions(precision=2, suppress=True)
a = np.arange(12.0).reshape(3, 4)
row = a[1]
other = a
a
# %%
row[:] = -1
a.sum(), other is a
# %%
a
# %%
b = np.random.rand(3)
b
# %%
np.random.rand(2)
# %%
stack = [a, a.T, np.float32(2.5)]
stack[0][0, 0] = 99
a[0, 0]
# %%
mask = a > 3
a[mask] = 0
mask.sum()
# %%
big = np.ones((300, 400))
total = big.sum()
total
# %%
objects = np.array([{"x": 1}, None, "text"], dtype=object)
objects[0]["x"] = 5
objects
# %%
objects[0]
# %%
max = 7
max + 1
# %%
max * 2
# %%
del max
max([1, 2])
