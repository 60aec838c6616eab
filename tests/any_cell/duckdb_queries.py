# %%
import duckdb
import pandas as pd

people = pd.DataFrame({"name": ["Ann", "Bob", "Cy"], "age": [34, 27, 51]})
# %%
duckdb.sql("SELECT name FROM people WHERE age > 30 ORDER BY age").fetchall()
# %%
averages = duckdb.query("SELECT avg(age) AS mean FROM people").df()
averages
# %%
people.loc[3] = ["Di", 19]
duckdb.sql("SELECT count(*) FROM people").fetchone()
# %%
import sqlite3

base = sqlite3.connect("people.db")
people.to_sql("people", base, index=False)
# %%
updated = base.execute("UPDATE people SET age = age + 1").rowcount
base.commit()
updated
# %%
pd.read_sql("SELECT max(age) AS oldest FROM people", base)
# %%
base.execute("SELECT name FROM people WHERE age < ?", (30,)).fetchall()
# %%
base.close()
