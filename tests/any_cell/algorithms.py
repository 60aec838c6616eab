# %%
import heapq
from typing import NamedTuple


class Edge(NamedTuple):
    to: str
    cost: int


graph = {"a": [Edge("b", 1), Edge("c", 4)], "b": [Edge("c", 2)], "c": []}
# %%
def shortest(graph, start):
    best = {start: 0}
    waiting = [(0, start)]
    while waiting:
        cost, node = heapq.heappop(waiting)
        for edge in graph[node]:
            if cost + edge.cost < best.get(edge.to, 1e9):
                best[edge.to] = cost + edge.cost
                heapq.heappush(waiting, (best[edge.to], edge.to))
    return best


best = shortest(graph, "a")
best
# %%
graph["c"].append(Edge("a", 1))
shortest(graph, "b")
# %%
class Node:
    def __init__(self, value):
        self.value, self.next = value, None


class Stack:
    def __init__(self):
        self.head = None
        self.size = 0

    def push(self, value):
        node = Node(value)
        node.next, self.head = self.head, node
        self.size += 1

    def __iter__(self):
        node = self.head
        while node:
            yield node.value
            node = node.next


stack = Stack()
# %%
for value in "abc":
    stack.push(value)
list(stack)
# %%
head = stack.head
stack.push("d")
stack.head.next is head, stack.size
# %%
memo = {}


def ways(n):
    if n not in memo:
        memo[n] = 1 if n < 2 else ways(n - 1) + ways(n - 2)
    return memo[n]


ways(20)
# %%
len(memo)
# %%
ways(25), len(memo)
# %%
try:
    stack.pop()
except AttributeError as error:
    problem = str(error)
problem
# %%
import time
started = time.perf_counter() > 0
started
