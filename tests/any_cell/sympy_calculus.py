# %%
from sympy import *

x, t = symbols("x t")
f = Function("f")
# %%
limit(sin(x) / x, x, 0)
# %%
series(exp(x), x, 0, 5)
# %%
equation = Eq(f(t).diff(t), -2 * f(t))
equation
# %%
answer = dsolve(equation, f(t))
answer
# %%
answer.rhs.subs(t, 0)
# %%
summation(1 / x**2, (x, 1, oo))
# %%
piece = Piecewise((0, x < 0), (x, True))
piece
# %%
[piece.subs(x, value) for value in (-1, 2)]
# %%
N(pi, 20)
# %%
a, b = symbols("a b", real=True)
simplify((a + I * b) * (a - I * b))
