# %%
import pandas as pd

left = pd.DataFrame({"key": [1, 2, 3], "name": ["x", "y", "z"]})
right = pd.DataFrame({"key": [2, 3, 4], "score": [0.5, 0.7, 0.9]})
# %%
both = left.merge(right, on="key", how="outer", indicator=True)
both
# %%
both["_merge"].value_counts()
# %%
both.dropna(inplace=True)
both
# %%
pd.concat([left, left.assign(name=left["name"].str.upper())], keys=["old", "new"])
# %%
indexed = left.set_index("key")
indexed.loc[2, "name"] = "changed"
left.loc[left["key"] == 2, "name"].item(), indexed.loc[2, "name"]
# %%
alias = indexed
alias.loc[9] = "added"
len(indexed), alias is indexed
# %%
indexed.rename(columns={"name": "label"}, inplace=True)
indexed.columns.tolist()
# %%
del right["score"]
right
