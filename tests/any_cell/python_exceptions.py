# %%
class Refused(ValueError):
    def __init__(self, why, code=1):
        super().__init__(why)
        self.code = code
# %%
def check(x):
    if x < 0:
        raise Refused("negative", code=7)
    return x
# %%
check(-1)
# %%
try:
    check(-2)
except Refused as error:
    caught = error
# %%
caught, caught.code
# %%
try:
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("outer") from error
except RuntimeError as error:
    print(repr(error.__cause__))
# %%
state = []
try:
    state.append("begun")
    1 / 0
finally:
    state.append("ended")
# %%
state
# %%
import warnings

warnings.warn("careful")
# %%
warnings.simplefilter("ignore")
# %%
warnings.warn("not seen")
# %%
assert state == [], f"state is {state}"
# %%
int("x")
# %%
undefined_name
