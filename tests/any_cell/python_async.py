# %%
import asyncio

async def double(x, delay=0):
    await asyncio.sleep(delay)
    return 2 * x
# %%
await double(4)
# %%
await asyncio.gather(*(double(n) for n in range(4)))
# %%
queue = []

async def produce(n):
    for number in range(n):
        queue.append(number)
        yield number
# %%
[number async for number in produce(3)]
# %%
queue
# %%
async def slow():
    await asyncio.sleep(30)

try:
    await asyncio.wait_for(slow(), 0.01)
except asyncio.TimeoutError:
    print("too slow")
# %%
task = asyncio.ensure_future(double(5))
result = await task
result
# %%
lock = asyncio.Lock()
async with lock:
    print("held", lock.locked())
# %%
async for number in produce(1):
    print(number)
