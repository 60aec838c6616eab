# %%
import numpy as np

np.random.seed(42)
# %%
np.random.rand(3).round(4)
# %%
np.random.normal(size=4).round(4)
# %%
rng = np.random.default_rng(7)
# %%
rng.integers(0, 100, 5)
# %%
rng.choice(["red", "green", "blue"], size=6).tolist()
# %%
deck = np.arange(10)
rng.shuffle(deck)
deck
# %%
import random

random.seed(1)
# %%
random.random(), random.choice("abc")
# %%
[random.randint(1, 6) for _ in range(8)]
# %%
walk = np.cumsum(np.random.choice([-1, 1], 1000))
walk[-1], walk.min(), walk.max()
