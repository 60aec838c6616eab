# %%
import collections
items = [1, 2]
alias = items
nested = {"items": items, "deep": {"items": items}}
queue = collections.deque([1, 2], maxlen=3)
counts = collections.Counter("hello")
groups = collections.defaultdict(list)
seen = {1}
raw = bytearray(b"abc")
# %%
items.append(3)
nested["deep"]["items"] is alias
# %%
alias
# %%
queue.append(3)
queue.append(4)
counts.update("hh")
groups["a"].append(1)
seen |= {2, 3}
raw += b"d"
len(queue), counts["h"], seen, raw
# %%
queue, groups, sorted(seen)
# %%
items, old = ["new"], items
items is alias, old is alias
# %%
nested["items"] is old
# %%
matrix = [[0] * 3 for _ in range(3)]
first = matrix[0]
for i in range(3):
    matrix[i][i] = 1
first
# %%
matrix.sort(reverse=True)
first is matrix[0], matrix
# %%
del alias
sorted(name for name in ("alias", "old") if name in globals())
# %%
cfg = dict(a=1)
cfg |= {"b": 2}
cfg.pop("a")
cfg
# %%
cfg
