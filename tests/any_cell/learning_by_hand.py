# %%
import numpy as np
rng = np.random.default_rng(7)
X = rng.normal(size=(40, 3))
w_true = np.array([1.0, -2.0, 0.5])
y = X @ w_true + 0.01 * rng.normal(size=40)
# %%
class Linear:
    def __init__(self, size):
        self.w = np.zeros(size)
        self.losses = []

    def step(self, X, y, lr=0.1):
        error = X @ self.w - y
        self.losses.append(float((error**2).mean()))
        self.w -= lr * X.T @ error / len(y)

    def __repr__(self):
        return f"Linear({self.w.round(2).tolist()})"


model = Linear(3)
weights = model.w
# %%
for _ in range(50):
    model.step(X, y)
model
# %%
weights is model.w, len(model.losses)
# %%
weights.round(1)
# %%
history = {"loss": model.losses, "model": model}
model.step(X, y, lr=0.01)
len(history["loss"])
# %%
batch = rng.permutation(40)[:4]
batch
# %%
X_small = X[batch]
X_small.shape, X_small.base is None
# %%
rng.integers(10, size=3)
