# %%
class Countdown:
    def __init__(self, start):
        self.now = start

    def __iter__(self):
        return self

    def __next__(self):
        if self.now <= 0:
            raise StopIteration
        self.now -= 1
        return self.now + 1
# %%
timer = Countdown(4)
next(timer)
# %%
list(timer)
# %%
letters = iter("abc")
next(letters)
# %%
next(letters)
# %%
pairs = zip([1, 2, 3], "xyz")
next(pairs)
# %%
dict(pairs)
# %%
numbered = enumerate(["p", "q"], start=1)
next(numbered)
# %%
list(numbered), list(numbered)
# %%
upper = map(str.upper, ["a", "b"])
next(upper)
# %%
list(upper)
# %%
keys = {"k": 1, "l": 2}
items = iter(keys.items())
next(items)
# %%
next(items)
# %%
reversed_words = reversed(["x", "y"])
next(reversed_words)
# %%
next(reversed_words)
