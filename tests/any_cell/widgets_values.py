# %%
import ipywidgets as widgets
from ipywidgets import interact, interactive

slider = widgets.FloatSlider(min=0, max=1, value=0.25)
text = widgets.Text("hello")
# %%
slider.value, text.value
# %%
link = widgets.link((slider, "value"), (widgets.FloatText(), "value"))
slider.value = 0.5
# %%
link.target[0].value
# %%
pair = widgets.HBox([slider, text])
pair.children[0] is slider
# %%
def scaled(factor=1.0, word="a"):
    print(word * int(factor))
    return factor
# %%
form = interactive(scaled, factor=(0, 4), word="xy")
[type(child).__name__ for child in form.children[:2]]
# %%
form.kwargs, form.result
# %%
output = widgets.Output()
with output:
    print("inside")
# %%
len(output.outputs)
# %%
tabs = widgets.Tab([text, slider], titles=["t", "s"])
tabs.selected_index = 1
tabs.titles
# %%
progress = widgets.IntProgress(max=3)
for step in range(3):
    progress.value += 1
progress.value
# %%
interact(scaled, factor=2.0, word="z")
