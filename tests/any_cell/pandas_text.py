# %%
import pandas as pd

names = pd.Series([" Ada Lovelace", "alan turing ", None, "Grace Hopper"])
clean = names.str.strip().str.title()
clean
# %%
clean.str.split(" ", expand=True)
# %%
clean.str.extract(r"(?P<first>\w+) (?P<last>\w+)")
# %%
clean.fillna("?", inplace=False).str.len().tolist()
# %%
counts = clean.dropna().str.lower().str.replace(" ", "").apply(list).explode().value_counts()
counts.head(3)
# %%
lookup = dict(zip(clean.dropna(), range(3)))
lookup
# %%
clean.map(lookup)
# %%
clean.str.contains("a", case=False, na=False).sum()
