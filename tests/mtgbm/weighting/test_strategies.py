"""What holds for every strategy: valid weights on any labels, the scikit-learn contract, files."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mtgbm import load_model
from mtgbm.datasets import load_flights
from mtgbm.engine.boosting import LabelledTable
from mtgbm.weighting import (
    NAMED_WEIGHTINGS,
    AdaptiveWeighting,
    AffinityWeighting,
    FixedWeighting,
    FocusWeighting,
    InverseDistanceWeighting,
    UncertaintyWeighting,
)


@pytest.fixture(scope="module")
def fit(make_model):
    """Fits a model on two thirds of the rows, with the others as validation rows."""

    def build(data, weighting, **params):
        (X, Y), n = data, 2 * len(data[0]) // 3
        model = make_model(weighting=weighting, n_estimators=14, **params)
        return model.fit(X[:n], Y[:n], X_val=X[n:], y_val=Y[n:])

    return build


def check_weights(model):
    weights = model.weight_evolution_
    assert weights.shape == (len(model.forest_.trees), model.n_tasks_)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.any(axis=1).all()


# Labels of all kinds


@pytest.mark.parametrize("criterion", ["gain_sum", "gradient_sum"])
def test_missing_labels(fit, make_data, strategy, criterion):
    data = make_data(n_tasks=4, missing=0.5)
    model = fit(data, strategy, split_criterion=criterion, main_task=2)
    check_weights(model)
    assert len(model.forest_.trees) == 14


def test_tasks_that_share_no_row(fit, make_data, strategy):
    X, Y = make_data(n_tasks=2)
    Y[::2, 0] = np.nan
    Y[1::2, 1] = np.nan
    check_weights(fit((X, Y), strategy))


def test_multiclass_tasks_and_sketched_outputs(fit, make_data, strategy):
    X, Y = make_data()
    Y[:, 1] += Y[:, 2]
    kinds = ["binary", "multiclass", "binary"]
    if isinstance(strategy, FixedWeighting):
        strategy = FixedWeighting()
    model = fit((X, Y), strategy, objective=kinds, sketch_outputs=2)
    check_weights(model)
    assert_allclose(model.predict_proba(X)[1].sum(axis=1), 1.0)


def test_one_task(fit, make_data, strategy):
    X, Y = make_data()
    model = fit((X, Y[:, 0]), strategy)
    check_weights(model)
    alone = fit((X, Y[:, 0]), "fixed")
    assert_allclose(model.predict_proba(X), alone.predict_proba(X))


@pytest.mark.filterwarnings("ignore:task 'task_1' has a single class")
def test_a_task_of_one_class(fit, make_data, strategy):
    X, Y = make_data()
    Y[:, 1] = 1.0
    check_weights(fit((X, Y), strategy))


# The contract


def test_clones_are_equal(strategy):
    assert clone(strategy).get_params() == strategy.get_params()
    assert repr(clone(strategy)) == repr(strategy)


def test_a_fit_leaves_the_object_alone_and_can_be_repeated(fit, make_data, strategy):
    before = dict(vars(strategy))
    data = make_data()
    first, second = (fit(data, strategy, subsample=0.7, subsample_freq=2) for _ in range(2))
    assert vars(strategy) == before
    assert_array_equal(first.weight_evolution_, second.weight_evolution_)
    assert_array_equal(first.raw_predict(data[0]), second.raw_predict(data[0]))


def test_a_warm_start_goes_on(make_model, make_data, strategy):
    (X, Y), (X_val, y_val) = make_data(), make_data(seed=1)
    model = make_model(weighting=strategy, n_estimators=5, warm_start=True)
    model.fit(X, Y, X_val=X_val, y_val=y_val)
    early = model.weight_evolution_
    model.set_params(n_estimators=12).fit(X, Y, X_val=X_val, y_val=y_val)
    check_weights(model)
    assert_array_equal(model.weight_evolution_[:5], early)


def test_a_model_file_keeps_the_strategy(fit, make_data, strategy, tmp_path):
    data = make_data()
    model = fit(data, strategy)
    model.save_model(tmp_path / "model.mtgbm")
    loaded = load_model(tmp_path / "model.mtgbm")
    assert type(loaded.weighting) is type(strategy)
    assert loaded.weighting.get_params() == strategy.get_params()
    again = fit(data, loaded.weighting)
    assert_array_equal(again.weight_evolution_, model.weight_evolution_)


@pytest.mark.parametrize(
    ("weighting", "grid"),
    [
        (AdaptiveWeighting(), {"method": ["sqrt", "delta"], "learning_rate": [0.1, 1.0]}),
        (AffinityWeighting(), {"affinity": ["leaf_cosine", "gradient_cosine"]}),
        (FocusWeighting(), {"strength": [10.0, 100.0], "order": ["random", "round_robin"]}),
        (UncertaintyWeighting(), {"update_frequency": [1, 5]}),
        (InverseDistanceWeighting(), {"learning_rate": [0.1, 0.5]}),
    ],
)
def test_parameters_can_be_searched(make_model, make_data, weighting, grid):
    X, Y = make_data()
    search = GridSearchCV(
        make_model(weighting=weighting, n_estimators=4),
        {f"weighting__{name}": values for name, values in grid.items()},
        cv=2,
        error_score="raise",
    ).fit(X, Y)
    chosen = search.best_estimator_.weighting
    assert {f"weighting__{name}": getattr(chosen, name) for name in grid} == search.best_params_


# Going on after an interruption


def rounds_by_hand(make_round, stump, n_rounds):
    """Rounds in which everything that a weighting looks at moves at random."""
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (200, 3))
    held = LabelledTable(None, rng.integers(0, 2, (20, 3)).astype(np.int16))
    scores, trees = [], []
    for number in range(n_rounds):
        round = make_round(
            labels,
            rng.uniform(0.05, 0.95, (200, 3)),
            number=number,
            scores=scores[:number],
            validation=held,
            validation_raw=rng.normal(size=(20, 3)),
        )
        round.forest.trees += trees
        yield round
        scores.append(rng.uniform(0.5, 1, 3) / (number + 1))
        trees.append(stump(rng.normal(size=(2, 3)), rng.uniform(1, 2, (2, 3))))


@pytest.mark.parametrize("stop", [1, 7, 12])
def test_the_state_is_json_and_goes_on_bit_for_bit(make_round, stump, strategy, stop):
    straight, stopped = clone(strategy), clone(strategy)
    for number, round in enumerate(rounds_by_hand(make_round, stump, 25)):
        if number == 0:
            straight.start(round)
            round.rng = np.random.default_rng(0)  # the same children again
            stopped.start(round)
        if number == stop:
            text = json.dumps(stopped.get_state(), allow_nan=False)
            stopped = clone(strategy)
            round.rng = np.random.default_rng(99)
            stopped.start(round)
            stopped.set_state(json.loads(text))
        assert_array_equal(stopped.weights(round), straight.weights(round))


# Which task is which does not count


@pytest.mark.parametrize(
    "weighting",
    [
        AdaptiveWeighting(),
        AdaptiveWeighting("sqrt"),
        InverseDistanceWeighting(),
        AffinityWeighting("gradient_cosine"),
        UncertaintyWeighting(),
    ],
)
@given(st.permutations(range(4)), st.integers(0, 10**6))
@settings(max_examples=20)
def test_tasks_in_another_order_have_their_weights(make_round, begin, weighting, order, seed):
    rng = np.random.default_rng(seed)
    labels, probabilities = rng.integers(-1, 2, (30, 4)), rng.uniform(0.05, 0.95, (30, 4))
    weights = begin(clone(weighting), make_round(labels, probabilities))
    moved = make_round(labels[:, order], probabilities[:, order], main_task=order.index(0))
    assert_allclose(begin(clone(weighting), moved), weights[order], atol=1e-9)


@pytest.mark.parametrize(
    "weighting",
    [
        AdaptiveWeighting(),
        InverseDistanceWeighting(),
        AffinityWeighting("gradient_cosine"),
        UncertaintyWeighting(),
    ],
)
@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_rows_in_another_order_give_the_same_weights(make_round, begin, weighting, seed):
    rng = np.random.default_rng(seed)
    labels, probabilities = rng.integers(-1, 2, (30, 3)), rng.uniform(0.05, 0.95, (30, 3))
    order = rng.permutation(30)
    weights = begin(clone(weighting), make_round(labels, probabilities))
    moved = begin(clone(weighting), make_round(labels[order], probabilities[order]))
    assert_allclose(moved, weights, atol=1e-9)


# Names and bad input


@pytest.mark.parametrize("name", NAMED_WEIGHTINGS)
def test_a_name_is_its_class_with_defaults(make_model, make_data, name):
    X, Y = make_data()
    settings = {"distillation": "self", "early_stopping_rounds": 12} if "kd" in name.lower() else {}
    by_object = make_model(weighting=NAMED_WEIGHTINGS[name](), n_estimators=12, **settings).fit(
        X, Y
    )
    settings.pop("distillation", None)  # which these names bring with them
    by_name = make_model(weighting=name, n_estimators=12, **settings).fit(X, Y)
    assert_array_equal(by_name.weight_evolution_, by_object.weight_evolution_)
    assert_array_equal(by_name.raw_predict(X), by_object.raw_predict(X))


def test_none_is_fixed(make_model, make_data):
    X, Y = make_data()
    none, fixed = (make_model(weighting=weighting).fit(X, Y) for weighting in (None, "fixed"))
    assert_array_equal(none.raw_predict(X), fixed.raw_predict(X))
    assert_array_equal(none.weight_evolution_, np.ones((8, 3)))


@pytest.mark.parametrize(
    ("weighting", "error", "text"),
    [
        ("adaptve", ValueError, "unknown weighting 'adaptve'; did you mean 'adaptive'? Expected"),
        ("uncertanty", ValueError, "did you mean 'uncertainty'?"),
        (AdaptiveWeighting("delt"), ValueError, "unknown method 'delt'; did you mean 'delta'?"),
        (AdaptiveWeighting(learning_rate=0), ValueError, "learning_rate must be above 0, got 0."),
        (AdaptiveWeighting(update_frequency=0), ValueError, "update_frequency must be at least 1"),
        (AdaptiveWeighting(update_frequency=1.5), TypeError, "update_frequency must be an integer"),
        (AdaptiveWeighting(sample_rows=0), ValueError, "sample_rows must be at least 1, got 0."),
        (AdaptiveWeighting(sub_weight=[1, 2, 3]), ValueError, "sub_weight has 3 values but there"),
        (AdaptiveWeighting(main_weight=-1), ValueError, "task weights must be finite, not negati"),
        (InverseDistanceWeighting(-1.0), ValueError, "learning_rate must be above 0, got -1.0."),
        (InverseDistanceWeighting(sample_rows="a"), TypeError, "sample_rows must be an integer"),
        (AffinityWeighting("cosine"), ValueError, "unknown affinity 'cosine'; did you mean 'leaf"),
        (
            AffinityWeighting(learning_rate=1.5),
            ValueError,
            "must be above 0 and at most 1, got 1.5",
        ),
        (AffinityWeighting(strength=0.5), ValueError, "strength must be at least 1, got 0.5."),
        (AffinityWeighting(sample_rows=0), ValueError, "sample_rows must be at least 1, got 0."),
        (
            AffinityWeighting("lookahead", update_frequency=2),
            ValueError,
            "update_frequency must be at least 3, got 2.",
        ),
        (
            AffinityWeighting("lookahead"),
            ValueError,
            "AffinityWeighting watches validation scores, but there are no validation rows; give",
        ),
        (
            FocusWeighting("validation_loss"),
            ValueError,
            "FocusWeighting watches validation scores, but there are no validation rows; give",
        ),
        (FocusWeighting("rnd"), ValueError, "unknown order 'rnd'; "),
        (FocusWeighting(strength=0), ValueError, "strength must be at least 1, got 0."),
        (FocusWeighting(share=0.0), ValueError, "share must be above 0 and at most 1, got 0.0."),
        (FocusWeighting(share=1.5), ValueError, "share must be above 0 and at most 1, got 1.5."),
        (UncertaintyWeighting(0), ValueError, "update_frequency must be at least 1, got 0."),
        (UncertaintyWeighting(sample_rows=0.5), TypeError, "sample_rows must be an integer, got"),
    ],
)
def test_bad_input(make_model, make_data, monkeypatch, weighting, error, text):
    monkeypatch.setattr(
        "mtgbm.engine.boosting.Boosting.run", lambda *args: pytest.fail("training began")
    )
    X, Y = make_data()
    with pytest.raises(error, match=re.escape(text)):
        make_model(weighting=weighting).fit(X, Y)


@pytest.mark.parametrize(
    "weighting", [AffinityWeighting("lookahead"), FocusWeighting("validation_loss")]
)
def test_losses_are_not_compared_with_other_scores(make_model, make_data, weighting):
    X, Y = make_data()
    model = make_model(weighting=weighting, eval_metric="auc", early_stopping_rounds=3)
    name = type(weighting).__name__
    with pytest.raises(ValueError, match=f"{name} compares validation log losses, but eval_metric"):
        model.fit(X, Y)


# Real data


@pytest.fixture(scope="module")
def flights():
    """3000 flights; tasks: late at arrival, late at departure, a coin, early at arrival."""
    table = load_flights()
    rows = np.random.default_rng(0).permutation(len(table.data))[:3000]
    X = table.data.iloc[rows].select_dtypes("number")
    late = table.target.iloc[rows][["arr_late_15", "dep_late_15"]]
    coin = np.random.default_rng(1).integers(0, 2, len(rows)).astype(float)
    return X, late.assign(coin=coin, early=1 - late["arr_late_15"]).to_numpy()


def test_flights_fixed(fit, flights):
    model = fit(flights, FixedWeighting(sub_weight=0.3))
    assert_array_equal(model.weight_evolution_, np.tile([1, 0.3, 0.3, 0.3], (14, 1)))


@pytest.mark.parametrize("method", ["standard", "sqrt"])
def test_flights_adaptive_favours_what_is_unlike(fit, flights, method):
    """Even if it is a coin."""
    main, departure, coin, early = fit(
        flights, AdaptiveWeighting(method, update_frequency=4)
    ).weight_evolution_[-1]
    assert main < departure < min(coin, early)
    assert_allclose(main + departure + coin + early, 4)


def test_flights_inverse_distance_hardly_discriminates(fit, flights):
    _, departure, coin, early = fit(flights, InverseDistanceWeighting()).weight_evolution_[-1]
    assert departure > coin > 0.7 * departure
    assert early > 0.7 * departure


@pytest.mark.parametrize(("affinity", "noise"), [("leaf_cosine", 0.3), ("gradient_cosine", 0.06)])
def test_flights_affinity_drops_the_coin(fit, flights, affinity, noise):
    weighting = AffinityWeighting(affinity, update_frequency=4)
    main, departure, coin, early = fit(flights, weighting).weight_evolution_[-1]
    assert main == 1.0
    assert departure > 0.6
    assert coin < noise
    assert early == 0.0


def test_flights_uncertainty_favours_small_losses(fit, flights):
    weighting = UncertaintyWeighting(update_frequency=13)
    model = fit(flights, weighting, track_training_score=True)
    losses = np.array(list(model.evals_result_["training"].values()))[:, -2]
    expected = (1 / losses) / (1 / losses).mean()
    assert_allclose(model.weight_evolution_[-1], expected, rtol=1e-6)
    assert expected.argmin() == 2  # the coin has the largest loss


@pytest.mark.parametrize("order", ["random", "round_robin"])
def test_flights_focus(fit, flights, order):
    weights = fit(flights, FocusWeighting(order, share=0.5)).weight_evolution_
    assert_array_equal(weights[::2], np.ones((7, 4)))
    assert_allclose(weights[1::2].max(axis=1), 200 / 53)


def test_flights_focus_on_what_improves_least(fit, flights):
    model = fit(flights, FocusWeighting("validation_loss", share=1.0))
    assert (model.weight_evolution_[1:].argmax(axis=1) == 2).mean() > 0.8  # the coin never does
