# %%
6 * 7
# %%
_ + 1
# %%
print(_)
# %%
word = "one"
word.upper()
# %%
_.lower(), __
# %%
Out[1] if 1 in Out else sorted(Out)[:0]
# %%
len(In) > 3
# %%
word;
# %%
_ = "taken"
# %%
_
# %%
del _
# %%
"again"
# %%
_
