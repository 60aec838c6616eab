# %%
import pandas as pd

sizes = pd.Series(["M", "S", "L", "S"], dtype=pd.CategoricalDtype(["S", "M", "L"], ordered=True))
sizes
# %%
sizes.sort_values().tolist(), sizes.min()
# %%
sizes > "S"
# %%
frame = pd.DataFrame({"size": sizes, "n": [1, 2, 3, 4]})
frame.groupby("size", observed=False)["n"].sum()
# %%
frame["size"].cat.codes.tolist()
# %%
frame.dtypes
# %%
frame.info()
# %%
bins = pd.cut(pd.Series([1, 5, 9, 12]), [0, 4, 8, 16], labels=["low", "mid", "high"])
bins.value_counts(sort=False)
# %%
pd.get_dummies(frame["size"], prefix="is").sum()
# %%
frame["when"] = pd.to_datetime(["2024-01-01"] * 4)
frame["flag"] = pd.array([True, None, False, True], dtype="boolean")
frame
