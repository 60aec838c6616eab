# %%
import altair as alt
import pandas as pd

cars = pd.DataFrame({"power": [90, 120, 150], "mass": [900, 1200, 1500], "origin": ["EU", "US", "JP"]})
# %%
chart = alt.Chart(cars).mark_point().encode(x="power:Q", y="mass:Q", color="origin:N")
chart.to_dict()["mark"]
# %%
wide = chart.properties(width=400)
wide.width, chart.width is alt.Undefined
# %%
lines = alt.Chart(cars).mark_line().encode(x="power", y="mass")
layered = chart + lines
len(layered.layer)
# %%
brush = alt.selection_interval(name="brush")
chosen = chart.add_params(brush)
chosen.to_dict()["params"][0]["name"]
# %%
alt.data_transformers.disable_max_rows()
# %%
alt.data_transformers.options.get("max_rows", 5000)
# %%
(chart | lines).to_dict().keys() >= {"hconcat"}
