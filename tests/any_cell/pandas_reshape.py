# %%
import pandas as pd

wide = pd.DataFrame({"city": ["Rome", "Oslo"], "2022": [1.0, 2.0], "2023": [1.5, 2.5]})
long = wide.melt(id_vars="city", var_name="year", value_name="growth")
long
# %%
long["year"] = long["year"].astype(int)
long.dtypes
# %%
stacked = long.set_index(["city", "year"]).sort_index()
stacked
# %%
stacked.loc["Oslo"]
# %%
stacked.unstack("year")
# %%
stacked.xs(2022, level="year")
# %%
totals = stacked.groupby(level="city").sum()
stacked["total"] = stacked.index.get_level_values("city").map(totals["growth"])
stacked
# %%
stacked.columns = pd.MultiIndex.from_product([["value"], stacked.columns])
stacked
# %%
stacked.describe().round(2)
