# %%
%matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
x = np.linspace(0, 2 * np.pi, 50)
# %%
fig, axes = plt.subplots(1, 2, figsize=(6, 2), sharey=True)
axes[0].plot(x, np.sin(x), label="sin")
axes[1].plot(x, np.cos(x), "--", label="cos")
for ax in axes:
    ax.legend()
# %%
axes[0].set_title("changed later")
fig
# %%
for power in (1, 2):
    plt.figure(figsize=(3, 1))
    plt.plot(x, x**power)
    plt.show()
# %%
def draw(ax, phase):
    ax.plot(x, np.sin(x + phase))
    return ax.get_ylim()
# %%
fig, ax = plt.subplots()
limits = draw(ax, 1)
plt.close(fig)
# %%
[round(limit, 3) for limit in limits]
# %%
fig.axes[0] is ax, len(ax.lines)
