"""Writes version_1.mtgbm and version_1.csv: a model of format 1, rows and their scores.

Run it once, with an mtgbm that writes format 1, and never again: the point of the files is that
later versions read what this one wrote. A copy of it makes those of the next format.

    python tests/mtgbm/io/files/make_version_1.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.io.native import save_model
from mtgbm.weighting import FixedWeighting

FOLDER = Path(__file__).parent


def make_tables():
    """A table with a category and missing cells; a binary task, labelled in part, and a ternary."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "distance": rng.normal(size=240).round(3),
            "hour of day": rng.integers(0, 24, 240).astype(float),
            "carrier": pd.Categorical(rng.choice(["AA", "DL", "Ünited"], 240)),
        }
    )
    X.loc[::7, "hour of day"] = np.nan
    late = (X["distance"] + X["carrier"].eq("DL") > 0.5).astype(float).where(X.index % 5 > 0)
    gate = pd.cut(X["distance"].add(X["hour of day"].fillna(0) / 12), 3, labels=False)
    return X, pd.DataFrame({"late": late, "gate": gate})


def main():
    X, Y = make_tables()
    model = MultiTaskLGBMClassifier(
        n_estimators=6,
        num_leaves=5,
        max_bin=15,
        objective={"gate": "multiclass"},
        weighting=FixedWeighting(sub_weight=0.5),
        early_stopping_rounds=2,
        track_training_score=True,
        best_round_per_task=True,
        random_state=0,
        n_jobs=1,
    ).fit(X, Y)
    save_model(model, FOLDER / "version_1.mtgbm")
    rows = X.head(30)
    scores = pd.DataFrame(model.raw_predict(rows)).add_prefix("score_")
    rows.join(scores).to_csv(FOLDER / "version_1.csv", index=False)


if __name__ == "__main__":
    main()
