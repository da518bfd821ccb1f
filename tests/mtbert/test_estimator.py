"""MultimodalTextTabularClassifier: it learns, repeats, goes on, and keeps the contract of mtgbm."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from mtbert import MultimodalTextTabularClassifier
from mtbert.callbacks import SCHEDULES
from mtbert.modules import ARCHITECTURES
from mtbert.net import TrainingNet
from mtgbm.metrics import roc_auc

TINY_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TINY_CNN = {
    "text__embedding_dim": 8,
    "text__n_filters": 4,
    "text__kernel_widths": (1, 2),
    "text__dropout": 0.0,
}


def equal_weights(first, second):
    found, expected = (model.network_.state_dict() for model in (first, second))
    assert list(found) == list(expected)
    return all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns(make_model, make_reviews, architecture):
    X, y = make_reviews(128)
    X_test, y_test = make_reviews(64, seed=1)
    model = make_model(architecture=architecture, epochs=12).fit(X, y)
    assert roc_auc_score(y_test, model.predict_proba(X_test)[:, 1]) > 0.95
    assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]
    assert model.transform(X_test).shape == (64, model.network_.output_dim)


def test_binary_contract(make_model, make_reviews):
    X, y = make_reviews()
    model = make_model().fit(X, np.where(y, "yes", "no"))
    p = model.predict_proba(X)
    assert p.shape == (96, 2)
    assert p.dtype == np.float64
    assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert model.classes_.tolist() == ["no", "yes"]
    assert_array_equal(model.predict(X), model.classes_[(p[:, 1] > 0.5).astype(int)])
    assert model.score(X, np.where(y, "yes", "no")) == np.mean(
        model.predict(X) == np.where(y, "yes", "no")
    )
    assert model.roles_.text == ("review",)
    assert model.roles_.categorical == ("shop",)
    assert model.n_features_in_ == 4


def test_several_classes_in_the_given_order(make_model, make_reviews):
    X, numbers = make_reviews(120, n_classes=3)
    y = np.array(["small", "large", "medium"])[numbers]
    model = make_model(classes=["small", "medium", "large"], epochs=8).fit(X, y)
    assert model.classes_.tolist() == ["small", "medium", "large"]
    p = model.predict_proba(X)
    assert p.shape == (120, 3)
    assert model.score(X, y) > 0.9
    assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])


def test_several_labels_with_missing_ones(make_model, make_reviews):
    X, y = make_reviews(128)
    Y = pd.DataFrame({"good": y.astype(float), "bad": 1.0 - y})
    hidden = Y.copy()
    hidden.loc[::3, "bad"] = np.nan
    hidden.loc[1::5, "good"] = np.nan
    model = make_model(epochs=8).fit(X, hidden)
    p = model.predict_proba(X)
    assert p.shape == (128, 2)
    assert model.classes_.tolist() == [[0, 1], [0, 1]]
    assert model.task_names_ == ["good", "bad"]
    assert (roc_auc(Y, p) > 0.95).all()
    assert_array_equal(model.predict(X), p > 0.5)


def test_hidden_labels_do_not_matter(make_model, make_reviews):
    """What a weightless row says is as good as unsaid: the fit is the same, bit by bit."""
    X, y = make_reviews()
    weight = np.where(np.arange(len(y)) % 4, 1.0, 0.0)
    flipped = np.where(weight == 0, 1 - y, y)
    first = make_model().fit(X, y, sample_weight=weight)
    second = make_model().fit(X, flipped, sample_weight=weight)
    without = make_model().fit(X[weight > 0], y[weight > 0])
    assert equal_weights(first, second)
    assert equal_weights(first, without)


def test_weights_pull_the_scores(make_model, make_reviews):
    X, y = make_reviews()
    X = X.assign(review="the same words", shop="north", price=1.0, age=30)
    plain, heavy = (
        make_model(class_weight=w, epochs=10, text_columns="review")
        .fit(X, y)
        .predict_proba(X)[:, 1]
        .mean()
        for w in (None, {0: 1.0, 1: 9.0})
    )
    assert abs(plain - 0.5) < 0.1
    assert heavy > 0.75


@pytest.mark.parametrize("architecture", ["multimodal_cnn", "multimodal_bert"])
def test_two_fits_are_equal_bit_by_bit(make_model, make_reviews, architecture):
    X, y = make_reviews(64)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = make_model(architecture=architecture, epochs=2).fit(X, y)
    assert torch.equal(torch.get_rng_state(), state)  # the user's generator is left alone
    torch.manual_seed(6)
    second = make_model(architecture=architecture, epochs=2).fit(X, y)
    assert equal_weights(first, second)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    third = make_model(architecture=architecture, epochs=2, random_state=1).fit(X, y)
    assert not equal_weights(first, third)


def test_a_rows_score_does_not_depend_on_its_batch(make_model, make_reviews):
    X, y = make_reviews(64)
    X.loc[3, "review"] = "lovely " * 200  # several chunks
    model = make_model(architecture="multimodal_bert", epochs=1).fit(X, y)
    together = model.predict_proba(X)
    alone = np.vstack([model.predict_proba(X[i : i + 1]) for i in range(12)])
    assert_allclose(together[:12], alone, atol=1e-6)


@pytest.mark.parametrize("shared_encoder", [True, False])
def test_two_text_columns(make_model, make_reviews, shared_encoder):
    X, y = make_reviews(64)
    X["title"] = [f"about number {i}" for i in range(64)]
    X.loc[::4, "title"] = None
    model = make_model(shared_encoder=shared_encoder, epochs=2).fit(X, y)
    assert model.roles_.text == ("review", "title")
    assert len(model.network_.text_encoders) == (1 if shared_encoder else 2)
    assert model.predict_proba(X).shape == (64, 2)


def test_polars_gives_the_same_as_pandas(make_model, make_reviews, in_library):
    X, y = make_reviews(64)
    first = make_model(epochs=2).fit(X, y)
    table = in_library["polars"](X)
    second = make_model(epochs=2).fit(table, y)
    assert equal_weights(first, second)
    assert_array_equal(first.predict_proba(X), second.predict_proba(table))


def test_steps_of_one_column(make_model, make_reviews):
    X, y = make_reviews(64)
    X["review"] = X["review"].str.upper()
    steps = {"review": ["text_normalizer", "tokenizer"]}
    model = make_model(text_steps=steps, epochs=1).fit(X, y)
    assert list(model._reader.text_fields.pipelines_["review"].named_steps) == steps["review"]


def test_early_stopping_keeps_the_best_weights(make_model, make_reviews):
    X, y = make_reviews(96)
    X_val, y_val = make_reviews(48, seed=1)
    y_val = np.where(np.arange(48) % 5, y_val, 1 - y_val)  # to be too sure is punished
    model = make_model(epochs=30, early_stopping_patience=2).fit(X, y, X_val=X_val, y_val=y_val)
    scores = [epoch["valid_logloss"] for epoch in model.history_]
    assert len(scores) < 30
    assert model.best_epoch_ == int(np.argmin(scores)) + 1 == len(scores) - 2
    p = np.clip(model.predict_proba(X_val)[np.arange(48), y_val], 1e-300, 1)
    assert_allclose(-np.log(p).mean(), min(scores), rtol=1e-4)


def test_rows_are_held_out_for_early_stopping(make_model, make_reviews):
    X, y = make_reviews(96)
    model = make_model(epochs=3, early_stopping_patience=2, eval_metric="auc").fit(X, y)
    assert all(0 <= epoch["valid_auc"] <= 1 for epoch in model.history_)


def test_validation_rows_without_early_stopping_only_are_scored(make_model, make_reviews):
    X, y = make_reviews(64)
    watched = make_model(epochs=2).fit(X, y, X_val=X[:20], y_val=y[:20])
    plain = make_model(epochs=2).fit(X, y)
    assert equal_weights(watched, plain)
    assert [epoch["epoch"] for epoch in watched.history_] == [1, 2]
    assert "valid_logloss" in watched.history_[0]
    assert "valid_logloss" not in plain.history_[0]


def test_encoder_learning_rate_is_that_of_bert_alone(make_model, make_reviews):
    X, y = make_reviews(48)
    rates = {"learning_rate": 0.05, "weight_decay": 0.0, "epochs": 1}
    slow = make_model(architecture="multimodal_bert", encoder_learning_rate=1e-12, **rates)
    start = make_model(
        architecture="multimodal_bert",
        encoder_learning_rate=1e-12,
        **rates | {"learning_rate": 1e-12},
    )
    moved, stayed = (m.fit(X, y).network_.state_dict() for m in (slow, start))
    in_encoder = [name for name in moved if name.startswith("text_encoders.0.model.")]
    assert in_encoder
    assert all(torch.allclose(moved[name], stayed[name], atol=1e-8) for name in in_encoder)
    assert not all(torch.allclose(moved[name], stayed[name], atol=1e-3) for name in moved)


def test_warm_start_goes_on(make_model, make_reviews):
    X, y = make_reviews(96)
    model = make_model(epochs=1, warm_start=True, learning_rate=0.005).fit(X, y)
    first = model.history_[0]["train_loss"]
    reader = model._reader
    model.fit(X, y)
    assert model.history_[0]["train_loss"] < first
    assert model._reader is reader
    cold = clone(model).set_params(warm_start=False).fit(X, y)
    assert cold.history_[0]["train_loss"] == first


def test_partial_fit_learns_from_parts_and_keeps_all_classes(make_model, make_reviews):
    X, y = make_reviews(120, n_classes=3)
    first, second = (y != 2), np.ones(120, bool)
    model = make_model(epochs=6).partial_fit(X[first], y[first], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (120, 3)
    assert model.score(X, y) < 0.8
    for _ in range(2):
        model.partial_fit(X[second], y[second])
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="was not seen in the training labels"):
        model.partial_fit(X, y + 1)


def test_fits_that_go_on_draw_other_batches(make_model, make_reviews):
    """With hardly a step, the loss differs by what dropout leaves out."""
    X, y = make_reviews(64)
    model = make_model(epochs=2, learning_rate=1e-12)
    losses = [model.partial_fit(X, y).history_[0]["train_loss"] for _ in range(3)]
    assert len(set(losses)) == 3
    assert model.n_epochs_ == 6
    assert model.fit(X, y).n_epochs_ == 2


def test_a_fit_that_fails_leaves_the_model_alone(make_model, make_reviews):
    X, y = make_reviews(64)
    model = make_model(epochs=1, warm_start=True).fit(X, y)
    expected = model.predict_proba(X)
    with pytest.raises(FloatingPointError):
        model.set_params(learning_rate=1e30, epochs=3, gradient_clip=None).fit(X, y)
    assert_array_equal(model.predict_proba(X), expected)


class Captured(Exception):
    """Carries the net out of the fit."""


@pytest.mark.parametrize(
    ("parameters", "n_rows", "rate"),
    [
        ({}, 8, 0.5e-4),
        ({"batch_size": 8, "accumulate": 16}, 8, 2e-4),
        ({"batch_size": 32}, 32, 1e-4),
        ({"encoder_learning_rate": 3e-5}, 8, 3e-5),
    ],
)
def test_automatic_batches_and_the_rate_of_bert(
    make_model, make_reviews, monkeypatch, parameters, n_rows, rate
):
    def capture(net, validation):
        raise Captured(net)

    monkeypatch.setattr(TrainingNet, "train", capture)
    X, y = make_reviews(64)
    automatic = {"batch_size": "auto", "encoder_learning_rate": "auto"}
    model = make_model(architecture="multimodal_bert", **automatic | parameters)
    with pytest.raises(Captured) as captured:
        model.fit(X, y)
    net = captured.value.args[0]
    assert net.batches.batch_size == n_rows
    assert min(group["lr"] for group in net.parameter_groups) == pytest.approx(rate)


def test_parameters_reach_the_loop(make_model, make_reviews, monkeypatch):
    def capture(net, validation):
        raise Captured(net)

    monkeypatch.setattr(TrainingNet, "train", capture)
    X, y = make_reviews(64)
    model = make_model(
        architecture="multimodal_bert",
        encoder=TINY_BERT | {"num_hidden_layers": 2},
        batch_size=8,
        accumulate=2,
        epochs=5,
        learning_rate=0.5,
        encoder_learning_rate=0.25,
        layer_decay=0.1,
        weight_decay=0.07,
        warmup_share=0.25,
        schedule="cosine",
        gradient_clip=3.0,
        precision="bf16",
        early_stopping_patience=2,
        eval_metric="auc",
        validation_fraction=0.25,
    )
    with pytest.raises(Captured) as captured:
        model.fit(X, y)
    net = captured.value.args[0]
    callbacks = dict(net.callbacks)
    course = callbacks["scheduler"].lr_lambda
    stopping = callbacks["early_stopping"]
    assert (len(net.batches), net.batches.batch_size, net.max_epochs) == (3, 8, 5)
    assert (course.n_steps, course.n_warmup, course.decay) == (15, 4, SCHEDULES["cosine"])
    assert callbacks["clipping"].gradient_clip_value == 3.0
    assert (stopping.patience, stopping.key, stopping.sign) == (2, "valid_auc", 1)
    assert net.precision == "bf16"
    rates = {group["lr"] for group in net.parameter_groups}
    assert_allclose(sorted(rates), [0.0025, 0.025, 0.25, 0.5])
    assert {group["weight_decay"] for group in net.parameter_groups} == {0.0, 0.07}


def test_accumulated_batches_are_one_large_batch(make_model, make_reviews):
    X, y = make_reviews(64)
    parts = ("head", "fusion", "tabular")
    quiet = TINY_CNN | {f"{part}__dropout": 0.0 for part in parts}
    small, large = (
        make_model(batch_size=size, accumulate=k, network_options=quiet, epochs=3).fit(X, y)
        for size, k in ((16, 4), (64, 1))
    )
    losses = [[epoch["train_loss"] for epoch in model.history_] for model in (small, large)]
    assert_allclose(*losses, rtol=1e-4)


def test_missing_text_is_an_empty_message(make_model, make_reviews):
    X, y = make_reviews(64)
    model = make_model(epochs=1).fit(X, y)
    empty = X[:3].assign(review=["", None, np.nan])
    p = model.predict_proba(empty.assign(price=1.0, age=30, shop="north"))
    assert_allclose(p, p[:1].repeat(3, axis=0), atol=1e-7)


def test_unseen_categories_and_missing_numbers_at_predict(make_model, make_reviews):
    X, y = make_reviews(64)
    model = make_model(epochs=1).fit(X, y)
    strange = X[:2].assign(shop="overseas", price=np.nan, age=np.nan)
    assert np.isfinite(model.predict_proba(strange)).all()


def test_bf16_is_close_to_fp32(make_model, make_reviews):
    X, y = make_reviews(64)
    full, half = (make_model(precision=p, epochs=3).fit(X, y) for p in ("fp32", "bf16"))
    assert not equal_weights(full, half)
    assert_allclose(full.predict_proba(X), half.predict_proba(X), atol=0.1)


def test_clone_and_parameters(make_model, make_reviews):
    X, y = make_reviews(48)
    model = make_model(epochs=1)
    copied = clone(model.fit(X, y))
    assert copied.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(X)
    assert model.set_params(architecture="lstm").architecture == "lstm"


def test_grid_search_over_architectures_and_rates(make_model, make_reviews):
    X, y = make_reviews(64)
    model = make_model(
        network_options=None,
        encoder=TINY_BERT,
        epochs=4,
        batch_size=8,
    )
    grid = {"architecture": ["multimodal_cnn", "multimodal_bert"], "learning_rate": [1e-6, 0.01]}
    search = GridSearchCV(model, grid, cv=2, scoring="roc_auc", error_score="raise").fit(X, y)
    assert search.best_params_["learning_rate"] == 0.01
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_estimator_.predict_proba(X).shape == (64, 2)


def test_in_a_pipeline_and_before_another_model(make_model, make_reviews):
    X, y = make_reviews(64)
    add = FunctionTransformer(lambda X: X.assign(length=X["review"].str.len()))
    pipeline = Pipeline([("add", add), ("model", make_model(epochs=2))]).fit(X, y)
    assert pipeline["model"].roles_.numeric == ("price", "age", "length")
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").shape == (2,)
    embedded = Pipeline([("embed", make_model(epochs=6)), ("fit", LogisticRegression())])
    assert embedded.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("architecture", ["multimodal_cnn", "multimodal_bert"])
def test_pickle_and_joblib(make_model, make_reviews, tmp_path, architecture):
    X, y = make_reviews(48)
    model = make_model(architecture=architecture, epochs=1).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for copied in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    copied.set_params(warm_start=True).fit(X, y)
    assert not equal_weights(copied, model)


def test_progress_can_be_silenced(make_model, make_reviews, capfd):
    X, y = make_reviews(48)
    make_model(epochs=1).fit(X, y)
    assert capfd.readouterr() == ("", "")
    make_model(epochs=1, verbose=1).fit(X, y)
    assert "train_loss" in capfd.readouterr().err


def test_the_class_is_public():
    assert MultimodalTextTabularClassifier().get_params()["architecture"] == "multimodal_bert"
