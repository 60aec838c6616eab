# %%
import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

rng = np.random.default_rng(0)
data = pd.DataFrame({"x": rng.normal(size=50), "group": ["a", "b"] * 25})
data["y"] = 2 * data["x"] + (data["group"] == "b") + rng.normal(scale=0.1, size=50)
# %%
model = smf.ols("y ~ x + group", data)
results = model.fit()
# %%
results.params.round(3)
# %%
print(results.summary().tables[1])
# %%
results.predict(pd.DataFrame({"x": [0.0, 1.0], "group": ["a", "b"]})).round(2)
# %%
results.f_test("x = 2").pvalue > 0.001
# %%
logit = sm.Logit((data["y"] > 0).astype(int), sm.add_constant(data["x"] + rng.normal(size=50))).fit(disp=0)
logit.params.round(2)
# %%
logit.mle_retvals["converged"]
# %%
results.resid.abs().max() < 1, results.model is model
