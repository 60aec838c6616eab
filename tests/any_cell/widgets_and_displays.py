# %%
import ipywidgets as widgets
level = widgets.IntSlider(value=4, max=20, description="level")
seen = []
level.observe(lambda change: seen.append(change["new"]), "value")
# %%
level.value = 9
level.value, seen
# %%
button = widgets.Button(description="go")
button.on_click(lambda _: print("clicked", level.value))
choice = widgets.Dropdown(options=["a", "b"], value="b")
box = widgets.VBox([button, choice])
len(box.children)
# %%
button.click()
choice.value, choice.index, box.children[1] is choice
# %%
from IPython.display import HTML, Markdown, clear_output, display
for number in range(3):
    clear_output(wait=True)
    print("step", number)
# %%
handle = display("first", display_id="the-place")
# %%
handle.update(Markdown("*second*"))
# %%
class Circle:
    def __init__(self, r):
        self.r = r
get_ipython().display_formatter.formatters["text/plain"].for_type(Circle, lambda it, p, cycle: p.text(f"({it.r})"))
Circle(2)
# %%
[Circle(3)]
# %%
import os
os.listdir()
# %%
%%capture kept
print("hidden")
display(HTML("<b>x</b>"))
# %%
kept.show()
# %%
names = !printf 'a\nb\n'
names.n, type(names).__name__
# %%
level.value + 1
# %%
_ + 1
# %%
print, len, int, [str, {3, 1}]
# %%
%config InlineBackend.figure_format = 'retina'
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 1))
axes.plot([1, 2])
# %%
figure
# %%
from ipywidgets import interact
doubled = interact(lambda x: 2 * x, x=4)
# %%
doubled.widget.children[0].value = 5
