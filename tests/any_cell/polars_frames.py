# %%
import polars as pl

frame = pl.DataFrame({"name": ["a", "b", "a"], "n": [1, 2, 3]})
frame
# %%
frame.group_by("name", maintain_order=True).agg(pl.col("n").sum())
# %%
double = pl.col("n") * 2
frame.with_columns(double.alias("twice"))
# %%
frame = frame.with_columns(pl.lit(True).alias("ok"))
frame.columns
# %%
query = frame.lazy().filter(pl.col("n") > 1)
query.collect()
# %%
series = pl.Series("s", [1.5, None, 2.5])
series.mean(), series.null_count()
# %%
pl.Config.set_tbl_rows(2)
# %%
pl.DataFrame({"x": range(5)})
# %%
pl.Config.restore_defaults()
# %%
frame.join(pl.DataFrame({"name": ["a"], "word": ["alpha"]}), on="name", how="left")
