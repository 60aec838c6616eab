# %%
import numpy as np
from scipy import integrate, interpolate, optimize
# %%
def rosen(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
# %%
best = optimize.minimize(rosen, [0, 0], method="Nelder-Mead")
best.x.round(3), best.success
# %%
best
# %%
optimize.brentq(lambda x: x**3 - 2, 0, 2)
# %%
area, error = integrate.quad(np.sin, 0, np.pi)
round(area, 6)
# %%
curve = interpolate.interp1d([0, 1, 2], [0, 1, 4], kind="quadratic")
# %%
curve(1.5), curve([0.5, 1.5]).round(2)
# %%
def decay(t, y, rate=0.5):
    return -rate * y

solution = integrate.solve_ivp(decay, (0, 4), [1.0], t_eval=[0, 2, 4])
# %%
solution.y.round(3)
# %%
popt, pcov = optimize.curve_fit(lambda x, a, b: a * x + b, np.arange(5), 3 * np.arange(5) + 1)
popt.round(6)
