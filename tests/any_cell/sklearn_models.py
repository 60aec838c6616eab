# %%
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
X, y = make_classification(n_samples=80, n_features=5, random_state=0)
X.shape
# %%
model = make_pipeline(StandardScaler(), LogisticRegression())
kept = model
# %%
model.fit(X, y)
# %%
round(model.score(X, y), 3), kept is model
# %%
kept.predict(X[:5])
# %%
from sklearn.model_selection import cross_val_score
scores = cross_val_score(model, X, y, cv=3)
scores.round(3)
# %%
scaler = model.named_steps["standardscaler"]
scaler.mean_.round(3)
# %%
scaler.with_mean = False
model[0].with_mean
# %%
models = {"lr": model, "raw": LogisticRegression(C=0.1).fit(X, y)}
{name: m.predict(X[:3]).tolist() for name, m in models.items()}
# %%
models["raw"].coef_.shape
