# %%
from IPython.display import HTML, JSON, Code, Image, Latex, Markdown, SVG, display

HTML("<b>bold</b>")
# %%
Markdown("# Title")
# %%
display({"a": 1}, [1, 2], "text")
# %%
class Money:
    def __init__(self, amount):
        self.amount = amount

    def _repr_html_(self):
        return f"<i>{self.amount} EUR</i>"

    def __repr__(self):
        return f"Money({self.amount})"
# %%
Money(5)
# %%
purse = [Money(1), Money(2)]
purse
# %%
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>')
# %%
display(Latex("$x^2$"), Code("x = 1", language="python"))
# %%
class Both:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "plain", "text/markdown": "*marked*"}, {"text/markdown": {"isolated": True}}

Both()
# %%
handles = [display(number, display_id=True) for number in range(2)]
# %%
for handle in handles:
    handle.update("new")
# %%
JSON({"rows": [1, 2]})
# %%
class Loud:
    def _ipython_display_(self):
        print("shown by itself")

Loud()
