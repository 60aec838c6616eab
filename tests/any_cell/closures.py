# %%
import functools


def counter():
    n = 0

    def step():
        nonlocal n
        n += 1
        return n

    def read():
        return n

    return step, read


step, read = counter()
step()
# %%
step(), step()
# %%
read()
# %%
@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


fib(30)
# %%
factor = 3
scale = lambda x: x * factor
scale(2)
# %%
factor = 10
scale(2)
# %%
def outer(x, acc=[]):
    acc.append(x)
    return list(acc)


outer(1), outer(2)
# %%
outer(3)
# %%
compose = functools.partial(outer, 7)
compose()
# %%
def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


even(10)
# %%
odd(7), even(7)
# %%
def logged(f):
    @functools.wraps(f)
    def inner(*args):
        print("call", f.__name__)
        return f(*args)
    return inner

@logged
def area(w, h):
    return w * h

area(2, 3)
# %%
area(4, 5), area.__name__
# %%
1 / 0
# %%
def fails():
    raise ValueError("no")
# %%
fails()
# %%
def fibonacci(n):
    a, b = 1, 1
    for _ in range(n):
        yield a
        a, b = b, a + b


numbers = fibonacci(6)
# %%
list(numbers)
# %%
list(numbers), sum(fibonacci(6))
# %%
fib(30), fib.cache_parameters()
# %%
import re

address = re.compile(r"(\w+)@(\w+)")
# %%
address.search("me@here").group(1), address.search("me@here").span()
# %%
import sqlite3

db = sqlite3.connect("pets.db")
db.execute("create table pets (name text, age int)")
db.executemany("insert into pets values (?, ?)", [("Rex", 3), ("Tom", 5)])
db.commit()
# %%
db.execute("select name from pets where age > 4").fetchall()
# %%
from concurrent.futures import ThreadPoolExecutor


def square(number):
    return number * number


with ThreadPoolExecutor(3) as threads:
    squares = list(threads.map(square, range(4)))
del threads
squares
# %%
squares.append(square(4))
squares
