# %%
from contextlib import contextmanager, redirect_stdout, suppress
import io

events = []

@contextmanager
def noted(name):
    events.append(f"in {name}")
    try:
        yield name.upper()
    finally:
        events.append(f"out {name}")
# %%
with noted("a") as upper:
    print(upper)
events
# %%
class Resource:
    is_open = False

    def __enter__(self):
        self.is_open = True
        return self

    def __exit__(self, *_):
        self.is_open = False
# %%
resource = Resource()
with resource:
    during = resource.is_open
during, resource.is_open
# %%
stream = io.StringIO()
with redirect_stdout(stream):
    print("caught")
stream.getvalue()
# %%
stream.write("more")
stream.getvalue()
# %%
with suppress(ZeroDivisionError):
    1 / 0
print("goes on")
# %%
from contextlib import ExitStack

stack = ExitStack()
stack.callback(events.append, "closed")
# %%
stack.close()
events[-1]
