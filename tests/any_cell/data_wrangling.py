# %%
import csv
import io
import pandas as pd
text = "name,score\nann,3\nbob,5\ncy,\n"
rows = list(csv.DictReader(io.StringIO(text)))
rows[0]
# %%
frame = pd.read_csv(io.StringIO(text))
frame
# %%
frame.isna().sum()
# %%
frame["score"] = frame.score.fillna(0)
frame
# %%
lookup = frame.set_index("name").score.to_dict()
lookup
# %%
def grade(score, limits={"good": 4}):
    return "good" if score >= limits["good"] else "try again"


frame["grade"] = frame.score.map(grade)
frame
# %%
wide = frame.pivot_table(index="grade", values="score", aggfunc="mean")
wide
# %%
pd.options.display.max_rows = 4
long = pd.DataFrame({"i": range(10)})
long
# %%
long.tail(10)
# %%
merged = frame.merge(pd.DataFrame({"name": ["ann"], "age": [30]}), how="left")
merged
# %%
styled = frame.score.cumsum()
styled.iloc[-1]
# %%
cat = pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"], ordered=True)
cat.codes
# %%
cat.max()
