"""modality_ablation: what a model loses without its text, its numbers, its categories."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, roc_auc_score

from mtbert import MultimodalTextTabularClassifier
from mtbert.explanation import modality_ablation
from mtgbm.metrics import make_task_scorer, roc_auc


@pytest.fixture(scope="module")
def rows():
    """Text tells label "said", a category tells label "sold"; the price tells nothing."""
    rng = np.random.default_rng(0)
    said, sold = rng.integers(0, 2, (2, 160))
    X = pd.DataFrame(
        {
            "review": [f"{['dull', 'lovely'][k]} coat, it fits {i}" for i, k in enumerate(said)],
            "title": rng.choice(["a coat", "this coat", "my coat"], 160),
            "price": rng.normal(20, 5, 160).round(2),
            "shop": np.array(["north", "south"])[sold],
        },
        index=np.arange(160)[::-1],
    )
    return X, pd.DataFrame({"said": said, "sold": sold}, index=X.index).astype(float)


TINY_CNN = {"text__embedding_dim": 8, "text__n_filters": 4, "text__kernel_widths": (1, 2)}


def fitted(X, y, **parameters):
    parameters = {"network_options": TINY_CNN, "text_columns": ["review", "title"]} | parameters
    return MultimodalTextTabularClassifier(
        architecture="multimodal_cnn",
        epochs=12,
        batch_size=24,
        learning_rate=0.03,
        random_state=0,
        **parameters,
    ).fit(X, y)


@pytest.fixture(scope="module")
def model(rows):
    X, Y = rows
    hidden = np.random.default_rng(1).random(Y.shape) < 0.2
    return fitted(X[:120], Y.mask(hidden)[:120])


def by_name(result):
    return dict(zip(result.modalities, result.importances_mean, strict=True))


def test_what_tells_the_label_is_missed(model, rows):
    X, Y = (table[120:] for table in rows)
    scoring = {task: make_task_scorer("roc_auc", task=task) for task in Y.columns}
    results = model.modality_ablation(X, Y, scoring=scoring)
    said, sold = by_name(results["said"]), by_name(results["sold"])
    assert list(said) == ["review", "title", "text", "numeric", "categorical", "table"]
    assert results["said"].score > 0.95
    assert results["sold"].score > 0.95
    assert min(said["review"], said["text"]) > 0.3
    assert max(abs(said[name]) for name in ("title", "numeric", "categorical", "table")) < 0.1
    assert min(sold["categorical"], sold["table"]) > 0.3
    assert max(abs(sold[name]) for name in ("review", "title", "text", "numeric")) < 0.1


def test_missing_is_what_it_says(model, rows):
    X, Y = (table[120:] for table in rows)
    scorer = make_task_scorer("log_loss")
    result = model.modality_ablation(X, Y, scoring=scorer)
    emptied = {
        "review": X.assign(review=None),
        "title": X.assign(title=None),
        "text": X.assign(review=None, title=None),
        "numeric": X.assign(price=np.nan),
        "categorical": X.assign(shop=None),
        "table": X.assign(price=np.nan, shop=None),
    }
    assert result.score == scorer(model, X, Y)
    for name, drop in by_name(result).items():
        assert drop == pytest.approx(result.score - scorer(model, emptied[name], Y), abs=1e-9)
    assert result.importances.shape == (6, 1)


def test_the_default_is_the_metric_of_the_fit(model, rows):
    X, Y = (table[120:] for table in rows)
    result = model.modality_ablation(X, Y.mask(Y.index.to_numpy()[:, None] % 3 == [0, 0]))
    assert result.scoring == "neg_logloss"
    known = Y.index.to_numpy() % 3 > 0
    losses = [
        log_loss(Y.loc[known, task], p)
        for task, p in zip(Y, model.predict_proba(X[known]).T, strict=True)
    ]
    assert result.score == pytest.approx(-np.mean(losses), rel=1e-6)
    ranking = MultimodalTextTabularClassifier(**model.get_params() | {"eval_metric": "auc"})
    ranking.__dict__.update(
        {k: v for k, v in model.__dict__.items() if k.endswith("_") or k[0] == "_"}
    )
    assert ranking.modality_ablation(X, Y).score == pytest.approx(
        roc_auc(Y, model.predict_proba(X), average="mean")
    )


@pytest.mark.parametrize("labels", [["no", "yes"], ["s", "m", "l"]])
def test_default_of_one_task_in_any_order_of_classes(rows, labels):
    X, Y = rows
    y = np.array(labels)[(Y["said"] + Y["sold"] * (len(labels) - 2)).astype(int)]
    model = fitted(X[:120], y[:120], classes=labels)
    p = model.predict_proba(X[120:])
    chosen = p[np.arange(40), [labels.index(label) for label in y[120:]]]
    result = model.modality_ablation(X[120:], y[120:])
    assert result.score == pytest.approx(np.log(chosen).mean(), rel=1e-6)


class Spy:
    """A scorer that keeps the tables it is given."""

    def __init__(self):
        self.tables = []

    def __call__(self, estimator, X, y):
        self.tables.append(X)
        return 0.0


def test_permuted_rows_stay_together(model, rows):
    """Each table has the rows of a modality in another order, and all else as it was."""
    X, Y = rows
    spy = Spy()
    numbers = np.arange(160)
    X = X.assign(title=numbers.astype(str), price=numbers / 1, shop=numbers.astype(str))
    result = model.modality_ablation(
        X, Y, scoring=spy, method="permute", n_repeats=3, random_state=0
    )
    assert result.importances.shape == (6, 3)
    assert len(spy.tables) == 1 + 6 * 3
    for (name, columns), number in zip(result.modalities.items(), range(6), strict=True):
        for table in spy.tables[1 + 3 * number : 4 + 3 * number]:
            for column in X.columns:
                moved = (table[column].to_numpy() != X[column].to_numpy()).mean() > 0.5
                assert moved == (column in columns), (name, column)
                assert sorted(table[column]) == sorted(X[column])
            if name == "table":
                assert_array_equal(table["price"].astype(int).astype(str), table["shop"])


def test_permutations_repeat_with_the_seed(model, rows):
    X, Y = (table[120:] for table in rows)
    first, same, other = (
        model.modality_ablation(X, Y, method="permute", n_repeats=2, random_state=seed).importances
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("method", ["missing", "permute"])
def test_polars(model, rows, in_library, method):
    X, Y = (table[120:] for table in rows)
    expected, found = (
        model.modality_ablation(table, Y.to_numpy(), method=method, random_state=0)
        for table in (X, in_library["polars"](X))
    )
    assert_allclose(found.importances, expected.importances, atol=1e-7)


def test_what_the_network_does_not_read_is_left_out(make_model, make_reviews):
    X, y = make_reviews()
    model = make_model(architecture="lstm", network_options={"text__hidden_dim": 4}).fit(X, y)
    assert model.modality_ablation(X, y).modalities == {"review": ["review"]}


def test_a_text_column_that_is_called_like_a_group(make_model, make_reviews):
    X, y = make_reviews()
    X = X.rename(columns={"review": "table"})
    result = make_model(epochs=1).fit(X, y).modality_ablation(X, y)
    assert result.modalities["text column table"] == ["table"]
    assert result.modalities["table"] == ["price", "age", "shop"]


def test_several_scores_by_name(model, rows):
    X, Y = rows
    one = fitted(X[:120], Y["said"][:120])
    X, y = X[120:], Y["said"][120:]
    results = one.modality_ablation(X, y, scoring=["roc_auc", "neg_log_loss"])
    assert list(results) == ["roc_auc", "neg_log_loss"]
    assert results["roc_auc"].score == roc_auc_score(y, one.predict_proba(X)[:, 1])
    single = one.modality_ablation(X, y, scoring="roc_auc")
    assert single.scoring == "roc_auc"
    assert_array_equal(single.importances, results["roc_auc"].importances)


def test_as_a_table(model, rows):
    X, Y = (table[120:] for table in rows)
    result = model.modality_ablation(X, Y, method="permute", n_repeats=2, random_state=0)
    frame = result.to_frame()
    assert frame.index.tolist() == list(result.modalities)
    assert_allclose(frame["importances_mean"] + frame["score"], result.score)
    assert_allclose(frame["importances_std"], result.importances.std(axis=1))
    header, whole, *lines = str(result).splitlines()
    assert header.split() == ["without", "drop", "of", "neg_logloss", "std", "score", "columns"]
    assert whole.split() == ["nothing", f"{result.score:.4f}"]
    assert lines[-1].split()[0] == "table"
    assert lines[-1].endswith("price, shop")


def test_bad_input(model, make_model, rows):
    X, Y = rows
    with pytest.raises(NotFittedError):
        modality_ablation(make_model(), X, Y)
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame"):
        model.modality_ablation(X.to_numpy(), Y)
    with pytest.raises(ValueError, match="unknown method 'permuted'; did you mean 'permute'"):
        model.modality_ablation(X, Y, method="permuted")
    with pytest.raises(ValueError, match="n_repeats must be at least 1, got 0"):
        model.modality_ablation(X, Y, n_repeats=0)
    with pytest.raises(ValueError, match="roc_aug"):
        model.modality_ablation(X, Y, scoring="roc_aug")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.modality_ablation(X, Y[:5])
