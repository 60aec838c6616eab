# %%
from pathlib import Path
folder = Path("notes")
folder.mkdir(exist_ok=True)
# %%
for name in ("b", "a"):
    (folder / f"{name}.txt").write_text(f"note {name}\n")
sorted(path.name for path in folder.iterdir())
# %%
with open("notes/a.txt", "a") as file:
    file.write("more\n")
# %%
for line in open("notes/a.txt"):
    print(line.rstrip())
# %%
file.closed, file.name
# %%
import json
(folder / "data.json").write_text(json.dumps({"x": [1, 2]}))
json.loads((folder / "data.json").read_text())["x"]
# %%
!cat notes/b.txt
# %%
import glob
sorted(glob.glob("notes/*"))
# %%
import shutil
shutil.rmtree(folder)
folder.exists()
# %%
import io, csv
rows = list(csv.DictReader(io.StringIO("a,b\n1,2\n3,4\n")))
rows
# %%
text = io.StringIO("line 1\nline 2\n")
text.readline()
# %%
text.readline()
