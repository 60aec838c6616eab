# %%
import numpy as np

np.seterr(all="ignore")
# %%
np.array([1.0, 0.0]) / 0
# %%
@np.vectorize
def clip(x, low=0, high=5):
    return min(max(x, low), high)
# %%
clip(np.arange(-2, 8))
# %%
clip(np.arange(3), high=1)
# %%
np.add.reduce(np.arange(5)), np.multiply.accumulate(np.arange(1, 6))
# %%
def hypot(a, b):
    return (a * a + b * b) ** 0.5
# %%
np.frompyfunc(hypot, 2, 1)([3, 5], [4, 12])
# %%
polynomial = np.poly1d([1, -3, 2])
print(polynomial)
# %%
polynomial.roots, polynomial(3)
# %%
total = np.zeros(3)
np.add.at(total, [0, 0, 2], 1)
total
