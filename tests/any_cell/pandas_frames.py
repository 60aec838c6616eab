# %%
import numpy as np
import pandas as pd
pd.set_option("display.precision", 3)
rng = np.random.default_rng(0)
df = pd.DataFrame({"city": list("abcab"), "t": rng.normal(size=5), "n": [1, 2, 3, 4, 5]})
same = df
df
# %%
df["double"] = df.n * 2
df.head(2)
# %%
low = 2
high = 5
df.query("n > @low and n < @high")
# %%
by_city = df.groupby("city").t.mean()
by_city
# %%
del df["double"]
df.loc[0, "n"] = 100
same is df, same.columns.tolist()
# %%
dates = pd.date_range("2026-01-01", periods=4, tz="Europe/Berlin")
series = pd.Series([1.5, None, 3, 4], index=dates, name="v")
series.interpolate()
# %%
def summary(frame, column="n"):
    return frame[column].agg(["min", "max"])

summary(df)
# %%
df.n.max()
# %%
rng.normal(size=2).round(6)
