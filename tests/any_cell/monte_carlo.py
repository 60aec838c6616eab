# %%
import numpy as np
import matplotlib.pyplot as plt

np.random.seed(123)
# %%
def estimate(n):
    x, y = np.random.rand(2, n)
    return 4 * np.mean(x * x + y * y < 1)
# %%
estimates = [estimate(n) for n in (10, 100, 1000)]
np.round(estimates, 3)
# %%
samples = np.random.exponential(2.0, 500)
samples.mean().round(3)
# %%
plt.hist(samples, bins=20)
plt.axvline(samples.mean(), color="k")
plt.show()
# %%
means = [np.random.choice(samples, 50).mean() for _ in range(200)]
np.percentile(means, [2.5, 97.5]).round(3)
# %%
class Walker:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.at = 0

    def step(self):
        self.at += self.rng.choice([-1, 1])
        return self.at
# %%
walkers = [Walker(seed) for seed in range(3)]
[[walker.step() for _ in range(4)] for walker in walkers]
# %%
[int(walker.step()) for walker in walkers]
