# %%
import pandas as pd

sales = pd.DataFrame(
    {
        "shop": ["a", "a", "b", "b", "c"],
        "item": ["tea", "cake", "tea", "tea", "cake"],
        "price": [2.0, 3.5, 2.2, 2.1, 3.0],
    }
)
sales
# %%
groups = sales.groupby("shop")
groups["price"].mean()
# %%
groups.agg(low=("price", "min"), high=("price", "max"))
# %%
def spread(prices):
    return prices.max() - prices.min()
# %%
groups["price"].apply(spread)
# %%
for shop, part in groups:
    print(shop, len(part))
# %%
sales["share"] = sales.groupby("shop")["price"].transform(lambda p: p / p.sum())
sales
# %%
sales.pivot_table(index="shop", columns="item", values="price", aggfunc="mean", fill_value=0)
# %%
sales.query("price > 2.1 and shop != 'c'")
# %%
limit = 2.15
sales.query("price > @limit").shape
