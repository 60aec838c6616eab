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
next(numbers), next(numbers)
# %%
next(numbers)
# %%
list(numbers)
# %%
fib.cache_info()
# %%
import re

found = re.search(r"(\w+)@(\w+)", "me@here")
# %%
found.group(1), found.span()
# %%
import sqlite3

db = sqlite3.connect(":memory:")
cursor = db.cursor()
cursor.execute("create table pets (name text, age int)")
cursor.executemany("insert into pets values (?, ?)", [("Rex", 3), ("Tom", 5)])
db.commit()
# %%
cursor.execute("select name from pets where age > 4").fetchall()
# %%
import threading

lock, count = threading.Lock(), 0


def work():
    global count
    with lock:
        count += 1


threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
del threads
count
# %%
work()
count
