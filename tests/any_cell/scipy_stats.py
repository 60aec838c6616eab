# %%
import numpy as np
from scipy import sparse, spatial, stats

normal = stats.norm(loc=10, scale=2)
# %%
normal.cdf(12).round(4), normal.ppf([0.025, 0.975]).round(3)
# %%
sample = normal.rvs(100, random_state=3)
stats.ttest_1samp(sample, 10)
# %%
stats.describe(sample.round(2))
# %%
density = stats.gaussian_kde(sample)
# %%
density([10.0]).round(2)
# %%
links = sparse.csr_matrix(np.eye(4))
links
# %%
links[0, 3] = 5
links.toarray()
# %%
tree = spatial.KDTree(np.arange(10).reshape(5, 2))
# %%
tree.query([3.2, 3.9])
# %%
class Triangle(stats.rv_continuous):
    def _pdf(self, x):
        return 2 * x

triangle = Triangle(a=0, b=1, name="triangle")
# %%
round(triangle.mean(), 4), round(triangle.cdf(0.5), 4)
