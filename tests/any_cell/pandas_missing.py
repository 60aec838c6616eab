# %%
import numpy as np
import pandas as pd

frame = pd.DataFrame({"a": [1, np.nan, 3], "b": ["x", None, "z"], "c": pd.array([1, pd.NA, 3], dtype="Int64")})
frame
# %%
frame.isna().sum()
# %%
frame.fillna({"a": 0, "b": "none"})
# %%
frame["a"] = frame["a"].ffill()
frame["c"] = frame["c"].fillna(int(frame["c"].mean()))
frame
# %%
frame.replace({"b": {"x": "X"}}, inplace=True)
frame.loc[1, "b"] = "y"
frame
# %%
pd.set_option("display.max_columns", 3)
pd.set_option("display.precision", 2)
# %%
pd.DataFrame(np.linspace(0, 1, 10).reshape(2, 5), columns=list("abcde"))
# %%
pd.reset_option("all")
# %%
frame.eval("d = a * 2", inplace=True)
frame["d"].tolist()
