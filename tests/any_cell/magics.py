# %%
import math
%timeit -n 1 -r 1 math.sqrt(2)
# %%
%%time
total = sum(range(1000))
# %%
total
# %%
%who_ls int
# %%
%%writefile helper_of_a_cell.py
def greet(name):
    return f"hello {name}"
# %%
import helper_of_a_cell
helper_of_a_cell.greet("Ada")
# %%
from helper_of_a_cell import greet
import os
os.remove("helper_of_a_cell.py")
greet("Bob")
# %%
%env MY_COLOUR=green
# %%
os.environ["MY_COLOUR"]
# %%
%%bash
for each in 1 2 3; do echo $each; done
# %%
place = %pwd
is_there = os.path.isdir(place)
del place
# %%
%precision 3
math.pi
# %%
math.e
# %%
%precision
# %%
%%capture caught
print("caught")
# %%
print(caught.stdout.strip())
# %%
greet?
# %%
%pinfo math.sqrt
# %%
%xmode Minimal
# %%
1 / 0
# %%
%xmode Context
