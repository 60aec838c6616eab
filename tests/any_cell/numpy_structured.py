# %%
import numpy as np

people = np.array([("Ann", 34, 61.5), ("Bob", 27, 80.0)], dtype=[("name", "U10"), ("age", "i4"), ("kg", "f8")])
people
# %%
people["age"] += 1
people[people["age"] > 30]["name"]
# %%
people.sort(order="age")
people[0]
# %%
table = people.view(np.recarray)
table.kg.mean()
# %%
masked = np.ma.masked_greater(np.arange(6), 3)
masked
# %%
masked.mean(), masked.mask.sum()
# %%
dates = np.arange("2024-01", "2024-04", dtype="datetime64[M]")
dates
# %%
np.busday_count("2024-01-01", "2024-02-01")
