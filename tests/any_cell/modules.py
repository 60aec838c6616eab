# %%
import math
import json as j
from pathlib import Path
from collections import OrderedDict
# %%
math.sqrt(16), j.dumps({"a": 1})
# %%
import datetime as dt
day = dt.date(2026, 11, 26)
day
# %%
dt.timedelta(days=1) + day
# %%
here = Path("data") / "x.csv"
here.name, OrderedDict(a=1)
# %%
import random
random.seed(3)
random.random()
# %%
random.randint(1, 100)
# %%
import warnings
warnings.simplefilter("ignore")
# %%
warnings.warn("silent")
# %%
import os
os.environ["MODEL_MODE"] = "test"
# %%
os.environ["MODEL_MODE"]
# %%
import decimal
decimal.getcontext().prec = 5
decimal.Decimal(1) / 3
# %%
decimal.Decimal(2) / 3
# %%
import re
pattern = re.compile(r"(\w+)@(\w+)")
pattern.findall("me@here you@there")
# %%
import itertools
pairs = list(itertools.combinations("abc", 2))
pairs
# %%
squares = (n * n for n in range(3))
total = 5
# %%
total
# %%
import xml.etree.ElementTree
from random import shuffle
# %%
xml.etree.ElementTree.fromstring("<a/>").tag
