# %%
import numpy as np
import xarray as xr

air = xr.DataArray(
    np.arange(12.0).reshape(3, 4), dims=("time", "city"), coords={"time": [1, 2, 3], "city": list("abcd")}, name="air"
)
air.mean("time")
# %%
air.sel(city="b", time=2).item()
# %%
air.loc[{"city": "a"}] = 0
air.sel(city="a").values
# %%
data = xr.Dataset({"air": air, "rain": air * 2})
data["rain"].attrs["units"] = "mm"
# %%
data["rain"].attrs, list(data)
# %%
data.groupby("time").mean(...)["air"].values
# %%
with xr.set_options(keep_attrs=True):
    kept = (data["rain"] + 1).attrs
kept
# %%
data.to_dataframe().head(2)
# %%
stacked = data.to_array()
stacked.dims
