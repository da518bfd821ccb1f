# %% [markdown]
# # Which tasks help each other?
#
# Run it whole with `python examples/which_tasks_help.py`, or cell by cell in an editor that knows
# `# %%`. `OUT`, `ROWS` and `ROUNDS` in the environment change the folder of the figure and make the
# run smaller.

# %%
import os
from pathlib import Path

import numpy as np
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline

from mtgbm import MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.diagnostics import negative_transfer
from mtgbm.plotting import TaskAffinityDisplay
from mtgbm.task_selection import select_tasks

OUT = Path(os.environ.get("OUT", "out"))
ROWS = int(os.environ.get("ROWS", "12000"))
ROUNDS = int(os.environ.get("ROUNDS", "60"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# Flights are in order of time: models learn from the earlier ones and are scored on the later.

# %%
X, Y = load_flights(return_X_y=True)
rows = np.linspace(0, len(X) - 1, ROWS).astype(int)
earlier, later = np.split(rows, [int(0.7 * ROWS)])
X_earlier, Y_earlier = X.iloc[earlier], Y.iloc[earlier]

model = make_pipeline(
    RiskTableEncoder(random_state=0),
    MultiTaskLGBMClassifier(n_estimators=ROUNDS, learning_rate=0.05, random_state=0),
)
model.fit(X_earlier, Y_earlier)

# %% [markdown]
# ## Affinity: which tasks want the same of the trees

# %%
path = OUT / "affinity_of_flights.png"
TaskAffinityDisplay.from_estimator(model).figure_.savefig(path, dpi=150)
print(f"plot: {path}\n")

# %% [markdown]
# ## Negative transfer: each task beside a model of its own

# %%
print(negative_transfer(model, X_earlier, Y_earlier, X.iloc[later], Y.iloc[later]), "\n")

# %% [markdown]
# ## Selection: which tasks make the prediction of long arrival delays better

# %%
folds = TimeSeriesSplit(3)
print(select_tasks(model, X_earlier, Y_earlier, main_task="arr_late_60", cv=folds))
