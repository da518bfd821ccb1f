# %% [markdown]
# # Figures of a model of several tasks
#
# Run it whole with `python examples/plots.py`, or cell by cell in an editor that knows `# %%`.
# The figures go to the folder out; `OUT`, `ROWS` and `ROUNDS` in the environment change that
# folder and make the run smaller.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mtgbm import MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.metrics import roc_auc, task_report
from mtgbm.plotting import (
    MultiTaskCalibrationDisplay,
    MultiTaskPrecisionRecallDisplay,
    MultiTaskRocDisplay,
    TaskAffinityDisplay,
    TaskImportanceDisplay,
    TrainingCurvesDisplay,
    TreeDisplay,
    WeightEvolutionDisplay,
)

OUT = Path(os.environ.get("OUT", "out"))
ROWS = int(os.environ.get("ROWS", "40000"))
ROUNDS = int(os.environ.get("ROUNDS", "150"))
OUT.mkdir(parents=True, exist_ok=True)


def save(figure, name):
    path = OUT / f"{name}.png"
    figure.savefig(path, dpi=150)
    print(f"plot: {path}")


# %% [markdown]
# ## A model
#
# Flights are in order of time: the model learns from the earlier ones.

# %%
X, Y = load_flights(return_X_y=True)
rows = np.linspace(0, len(X) - 1, ROWS).astype(int)
earlier, later = np.split(rows, [int(0.7 * ROWS)])

encoder = RiskTableEncoder(random_state=0).set_output(transform="pandas")
X_earlier = encoder.fit_transform(X.iloc[earlier], Y.iloc[earlier])
X_later, Y_later = encoder.transform(X.iloc[later]), Y.iloc[later]

model = MultiTaskLGBMClassifier(
    n_estimators=ROUNDS, learning_rate=0.05, track_training_score=True, random_state=0
)
model.fit(X_earlier, Y.iloc[earlier], X_val=X_later, y_val=Y_later)
print(task_report(Y_later, model.predict_proba(X_later)))

# %% [markdown]
# ## Ranking: ROC and precision-recall, side by side

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(15, 5), layout="constrained")
MultiTaskRocDisplay.from_estimator(model, X_later, Y_later, ax=left)
MultiTaskPrecisionRecallDisplay.from_estimator(model, X_later, Y_later, ax=right)
save(figure, "ranking")

# %% [markdown]
# ## Learning: log loss of every task, on the rows learned from and on later ones
#
# Where the solid line turns up, the task has had enough rounds. Tasks differ in that.

# %%
save(TrainingCurvesDisplay.from_estimator(model).figure_, "learning")

# %% [markdown]
# ## Importance: trees are shared, what they are good for differs by task

# %%
save(TaskImportanceDisplay.from_estimator(model, "gain", max_features=15).figure_, "importance")

# %% [markdown]
# ## Calibration: do flights given 30 % come late in 30 of 100 cases?

# %%
calibration = MultiTaskCalibrationDisplay.from_estimator(model, X_later, Y_later, n_bins=8)
save(calibration.figure_, "calibration")

# %% [markdown]
# ## A tree: one structure, a value for every task in each leaf
#
# Where the drawing is cut, a frame shows the mean of the leaves below. `to_dot` writes the whole
# tree for Graphviz.

# %%
tree = TreeDisplay.from_estimator(model, tree_index=0, max_depth=3)
save(tree.figure_, "tree")
(OUT / "tree.dot").write_text(tree.to_dot())

# %% [markdown]
# ## Weights: how much each task has to say about the trees, round by round

# %%
save(WeightEvolutionDisplay.from_estimator(model).figure_, "weights")

# %% [markdown]
# ## Affinity: which tasks want the same of the trees
#
# Any other matrix, the correlations of labels say, is drawn by
# `TaskAffinityDisplay(matrix, task_names).plot()`.

# %%
save(TaskAffinityDisplay.from_estimator(model).figure_, "affinity")

# %% [markdown]
# ## Rounds: AUC after each of them, from one pass over the trees

# %%
curves = np.array([roc_auc(Y_later, proba) for proba in model.staged_predict_proba(X_later)])
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
ax.plot(np.arange(1, len(curves) + 1), curves, label=model.task_names_)
ax.set(xlabel="Boosting round", ylabel="AUC on later flights")
ax.legend(fontsize="small")
save(figure, "rounds")
