# %%
import functools
import time

calls = []

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls.append(function.__name__)
        return function(*args, **kwargs)

    return wrapper
# %%
@logged
def add(a, b=1):
    "Add two numbers."
    return a + b
# %%
add(1), add(2, b=3)
# %%
calls, add.__name__, add.__doc__
# %%
@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
# %%
fib(30), fib.cache_info().currsize
# %%
fib(31), fib.cache_info().misses
# %%
def counted(function):
    def wrapper(*args):
        wrapper.count += 1
        return function(*args)

    wrapper.count = 0
    return wrapper
# %%
square = counted(lambda x: x * x)
square(3), square(4)
# %%
square(5), square.count
# %%
@functools.singledispatch
def describe(value):
    return "something"

@describe.register
def _(value: int):
    return "a whole number"
# %%
@describe.register(list)
def _(value):
    return f"{len(value)} items"
# %%
describe(1), describe([1, 2]), describe("x")
