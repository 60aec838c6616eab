# %%
import pandas as pd
import numpy as np

days = pd.date_range("2024-01-01", periods=60, freq="D", tz="Europe/Berlin")
series = pd.Series(np.arange(60.0), index=days, name="load")
series.head(3)
# %%
series.resample("W").mean().round(1).head()
# %%
series["2024-02"].sum()
# %%
series.rolling(7).mean().dropna().iloc[[0, -1]]
# %%
series.index.freq, series.index.tz
# %%
series.loc["2024-01-05":"2024-01-07"] = np.nan
series.isna().sum()
# %%
filled = series.interpolate()
filled.loc["2024-01-04":"2024-01-08"]
# %%
frame = series.to_frame().assign(weekday=lambda f: f.index.day_name())
frame.groupby("weekday")["load"].count()
# %%
pd.Timestamp("2024-03-31 03:00", tz="Europe/Berlin") - pd.Timestamp("2024-03-31 00:00", tz="Europe/Berlin")
# %%
periods = series.tz_localize(None).to_period("M")
periods.groupby(level=0).size()
