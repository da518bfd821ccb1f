"""What a task with few labels gains from tasks with many.

    python examples/partial_labels.py
    python examples/partial_labels.py --task arr_late_60

From the 40,000 flights that come with mtgbm all but a share of one task's labels are dropped; the
other tasks keep theirs. The shared model learns from all flights. The dedicated LightGBM model can
only learn from the flights that still have the label. Both are scored on the same later flights.
"""

import argparse

import joblib
import lightgbm
import numpy as np

from mtgbm import MultiTaskLGBMClassifier, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.metrics import roc_auc

SHARES = (1.0, 0.3, 0.1, 0.03)


def main():
    options = parse_arguments()
    X, Y = load_flights(return_X_y=True)
    chosen = np.linspace(0, len(X) - 1, options.rows).astype(int)
    X, Y = X.iloc[chosen], Y.iloc[chosen]
    end = int(0.7 * len(X))
    later, truth = X[end:], Y[options.task][end:]

    print(f"AUC of {options.task} on the last 30 % of {len(X)} flights, {options.rounds} rounds")
    print(f"{'labels kept':>12} {'number':>7} {'shared':>7} {'dedicated':>10}")
    for share in SHARES:
        labels = drop_labels(Y[:end], options.task, share)
        probabilities = (
            predict_shared(X[:end], labels, later, options),
            predict_dedicated(X[:end], labels[options.task], later, options),
        )
        shared, dedicated = (roc_auc(truth, column)[0] for column in probabilities)
        number = labels[options.task].count()
        print(f"{share:12.0%} {number:7d} {shared:7.4f} {dedicated:10.4f}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", default="dep_late_60", help="the task that loses labels")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rows", type=int, default=40_000, help="flights, spread over the year")
    return parser.parse_args()


def drop_labels(labels, task, share):
    """A copy in which `task` keeps a random `share` of its labels."""
    lost = np.random.default_rng(0).random(len(labels)) >= share
    return labels.assign(**{task: labels[task].mask(lost)})


def predict_shared(X, labels, later, options):
    encoder = RiskTableEncoder(random_state=0).set_output(transform="pandas")
    model = MultiTaskLGBMClassifier(n_estimators=options.rounds, learning_rate=0.05, random_state=0)
    model.fit(encoder.fit_transform(X, labels), labels)
    probabilities = model.predict_proba(encoder.transform(later))
    return probabilities[:, model.task_names_.index(options.task)]


def predict_dedicated(X, labels, later, options):
    known = labels.notna()
    encoder = RiskTableEncoder(random_state=0).set_output(transform="pandas")
    model = lightgbm.LGBMClassifier(
        n_estimators=options.rounds, learning_rate=0.05, n_jobs=joblib.cpu_count(), verbose=-1
    )
    model.fit(encoder.fit_transform(X[known], labels[known]), labels[known])
    return model.predict_proba(encoder.transform(later))[:, 1]


if __name__ == "__main__":
    main()
