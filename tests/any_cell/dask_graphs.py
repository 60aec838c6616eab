# %%
import dask
import dask.array as da
from dask import delayed

dask.config.set(scheduler="synchronous");
# %%
@delayed
def increment(x):
    return x + 1
# %%
total = delayed(sum)([increment(i) for i in range(4)])
total.compute()
# %%
grid = da.ones((100, 100), chunks=(50, 50))
grid.sum().compute()
# %%
grid.chunks, (grid + grid.T).mean().compute()
# %%
dask.config.get("scheduler")
# %%
later = grid * 3
later[0, 0].compute()
# %%
dask.compute(later.min(), later.max())
