# %%
import os
import pandas as pd
os.mkdir("scratch")
frame = pd.DataFrame({"x": range(5), "y": list("abcde")})
# %%
frame.to_csv("rows.csv", index=False)
# %%
print(open("rows.csv").read())
# %%
again = pd.read_csv("rows.csv")
again.equals(frame)
# %%
again.to_json("rows.json", orient="records")
os.path.getsize("rows.json")
# %%
!wc -l rows.csv
# %%
import json
with open("rows.json") as file:
    rows = json.load(file)
rows[-1]
# %%
os.remove("rows.csv"), os.remove("rows.json")
os.path.exists("rows.csv")
# %%
os.rmdir("scratch")
