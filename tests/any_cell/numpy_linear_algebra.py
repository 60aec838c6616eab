# %%
import numpy as np
from numpy.linalg import LinAlgError, eig, inv, norm, solve

np.set_printoptions(precision=3, suppress=True)
# %%
matrix = np.array([[4.0, 1.0], [2.0, 3.0]])
values, vectors = eig(matrix)
values
# %%
solve(matrix, [1, 2])
# %%
inv(matrix) @ matrix
# %%
try:
    inv(np.ones((2, 2)))
except LinAlgError as error:
    print("no inverse:", error)
# %%
u, s, vt = np.linalg.svd(np.arange(6).reshape(2, 3))
s
# %%
norm(u @ np.diag(s) @ vt[:2] - np.arange(6).reshape(2, 3)) < 1e-9
# %%
np.array([1.23456789, 1e-9])
