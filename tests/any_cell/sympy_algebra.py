# %%
import sympy as sp
from sympy import Eq, Symbol, expand, factor, solve, symbols

sp.init_printing(use_unicode=True)
x, y = symbols("x y")
# %%
expand((x + y) ** 3)
# %%
factor(x**2 - 1)
# %%
solution = solve(Eq(x**2, 2), x)
solution
# %%
n = Symbol("n", integer=True, positive=True)
(-1) ** (2 * n), n.is_positive
# %%
derivative = sp.diff(sp.sin(x) * sp.exp(x), x)
derivative
# %%
sp.integrate(derivative, x)
# %%
matrix = sp.Matrix([[1, x], [y, 2]])
matrix.det()
# %%
f = sp.lambdify(x, derivative)
# %%
round(f(0.0), 3)
# %%
print(sp.latex(matrix.inv()))
# %%
x == symbols("x"), derivative.free_symbols
