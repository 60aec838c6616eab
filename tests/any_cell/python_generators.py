# %%
def count(start):
    while True:
        yield start
        start += 1
# %%
numbers = count(10)
# %%
[next(generator) for generator in (count(10), count(20))]
# %%
from itertools import chain, count as counter, cycle, groupby, islice

list(islice(count(13), 3))
# %%
colors = cycle(["r", "g"])
[next(colors) for _ in range(3)]
# %%
next(colors)
# %%
squares = (n * n for n in range(5))
next(squares)
# %%
list(squares), list(squares)
# %%
def average():
    total = n = 0
    value = None
    while True:
        value = yield value
        total, n = total + value, n + 1
        value = total / n
# %%
mean = average()
next(mean)
[mean.send(x) for x in (2, 4, 6)]
# %%
{key: len(list(group)) for key, group in groupby("aabccc")}
