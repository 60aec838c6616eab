# %%
import numpy as np
import pandas as pd
import seaborn as sns

sns.set_theme(style="whitegrid", palette="pastel")
# %%
tips = pd.DataFrame({"bill": np.arange(1.0, 21.0), "tip": np.arange(20) % 5, "day": ["Sat", "Sun"] * 10})
sns.scatterplot(data=tips, x="bill", y="tip", hue="day");
# %%
axes = sns.boxplot(data=tips, x="day", y="bill")
axes.get_xlabel(), axes.get_ylabel()
# %%
grid = sns.FacetGrid(tips, col="day")
grid.map(sns.histplot, "tip")
# %%
grid.axes.shape
# %%
sns.color_palette()[:2]
# %%
import matplotlib.pyplot as plt

plt.rcParams["axes.grid"]
# %%
sns.heatmap(tips.corr(numeric_only=True), annot=True)
plt.show()
# %%
sns.set_context("talk")
sns.plotting_context()["font.size"]
