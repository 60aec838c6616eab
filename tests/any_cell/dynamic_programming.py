# %%
memo = {}

def edits(a, b):
    if (a, b) not in memo:
        if not a or not b:
            memo[a, b] = len(a) + len(b)
        else:
            same = a[0] == b[0]
            memo[a, b] = min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (not same))
    return memo[a, b]
# %%
edits("kitten", "sitting")
# %%
len(memo)
# %%
def knapsack(items, room):
    best = [0] * (room + 1)
    for value, weight in items:
        for space in range(room, weight - 1, -1):
            best[space] = max(best[space], best[space - weight] + value)
    return best[room]
# %%
knapsack([(60, 10), (100, 20), (120, 30)], 50)
# %%
import sys

sys.setrecursionlimit(3000)
# %%
def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)
# %%
depth(2000)
# %%
def hanoi(n, a="A", b="B", c="C", moves=[]):
    if n:
        hanoi(n - 1, a, c, b)
        moves.append(a + c)
        hanoi(n - 1, b, a, c)
    return moves
# %%
len(hanoi(3))
# %%
len(hanoi(3))
