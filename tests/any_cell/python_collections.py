# %%
from collections import ChainMap, OrderedDict, deque, namedtuple
import heapq, bisect

recent = deque(maxlen=3)
# %%
for number in range(5):
    recent.append(number)
recent
# %%
recent.rotate(1)
recent
# %%
heap = [5, 1, 4]
heapq.heapify(heap)
heapq.heappop(heap), heap
# %%
ordered = [1, 3, 5]
bisect.insort(ordered, 4)
ordered
# %%
Row = namedtuple("Row", "id name")
rows = [Row(1, "a"), Row(2, "b")]
rows[0]
# %%
{row.id: row for row in rows}
# %%
defaults, own = {"color": "red", "size": 1}, {"size": 9}
merged = ChainMap(own, defaults)
merged["size"], merged["color"]
# %%
own["color"] = "blue"
merged["color"]
# %%
nested = {"a": {"b": [1, 2]}}
inner = nested["a"]["b"]
inner.append(3)
# %%
nested, inner is nested["a"]["b"]
# %%
matrix = [[0] * 2] * 2
matrix[0][0] = 1
matrix
# %%
matrix[0] is matrix[1]
# %%
a, *rest, z = range(5)
rest, {1, 2} | {3}, frozenset("ab") == {"a", "b"}
