# %%
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
# %%
data = load_iris(as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, random_state=0)
X_train.shape, X_test.shape
# %%
def squared(frame):
    return frame**2
# %%
model = make_pipeline(FunctionTransformer(squared), StandardScaler(), LogisticRegression(max_iter=500))
model.fit(X_train, y_train);
# %%
model.score(X_test, y_test)
# %%
search = GridSearchCV(model, {"logisticregression__C": [0.1, 1, 10]}, cv=3)
search.fit(X_train, y_train)
search.best_params_
# %%
np.round(search.cv_results_["mean_test_score"], 3)
# %%
search.best_estimator_.named_steps["standardscaler"].mean_.round(1)
# %%
cross_val_score(model, data.data, data.target, cv=3).round(3)
# %%
data.target_names
