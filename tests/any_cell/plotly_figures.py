# %%
import plotly.graph_objects as go
import plotly.io as pio

figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[4, 1, 2], name="line"))
# %%
figure.update_layout(title="Three points", template="plotly_white")
figure.layout.title.text
# %%
figure.add_bar(x=[1, 2], y=[3, 3])
len(figure.data)
# %%
pio.templates.default = "plotly_dark"
# %%
go.Figure(go.Bar(y=[1])).layout.template.layout.paper_bgcolor
# %%
for trace in figure.data:
    trace.opacity = 0.5
[trace.opacity for trace in figure.data]
# %%
figure.to_dict()["data"][1]["type"]
# %%
pio.templates.default = "plotly"
figure.layout.template.layout.paper_bgcolor
