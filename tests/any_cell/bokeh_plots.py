# %%
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

source = ColumnDataSource({"x": [1, 2, 3], "y": [3, 1, 2]})
# %%
plot = figure(width=300, height=200, title="points")
plot.scatter("x", "y", source=source, size=8)
plot.title.text
# %%
source.data["y"] = [9, 9, 9]
plot.renderers[0].data_source.data["y"]
# %%
plot.renderers[0].data_source is source
# %%
source.stream({"x": [4], "y": [1]})
len(source.data["x"])
# %%
plot.xaxis.axis_label = "time"
plot.xaxis[0].axis_label
