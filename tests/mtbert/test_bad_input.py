"""Each mistake is an error before any training, and says what to do."""

import importlib

import numpy as np
import pandas as pd
import pytest

from mtbert.net import TrainingNet


@pytest.fixture
def trained():
    """Asked for by a test that trains a net."""


@pytest.fixture(autouse=True)
def _no_training(monkeypatch, request):
    """Any other test may not get as far as the net."""

    def refuse(self, validation):
        raise AssertionError("training began")

    if "trained" not in request.fixturenames:
        monkeypatch.setattr(TrainingNet, "train", refuse)


def check(fit, error, message):
    with pytest.raises(error, match=message):
        fit()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"architecture": "multimodal_ccn"}, ValueError, "mean 'multimodal_cnn'"),
        ({"text_steps": ["text_normaliser", "tokenizer"]}, ValueError, "mean 'text_normalizer'"),
        ({"text_steps": ["text_normalizer"]}, ValueError, "must end with 'tokenizer'"),
        ({"text_steps": {"reviews": ["tokenizer"]}}, ValueError, "mean 'review'"),
        ({"eval_metric": "acc"}, ValueError, "unknown eval_metric 'acc'"),
        ({"schedule": "linea"}, ValueError, "mean 'linear'"),
        ({"scaling": "minmax"}, ValueError, "unknown scaling 'minmax'"),
        ({"category_encoding": "none"}, ValueError, "unknown category_encoding"),
        ({"precision": "int8"}, ValueError, "unknown precision 'int8'"),
        ({"precision": "fp16"}, ValueError, "needs a GPU"),
        ({"device": "gpu"}, ValueError, "device='gpu' cannot be used"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"epochs": 2.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": "aut"}, ValueError, "mean 'auto'"),
        ({"encoder_learning_rate": "slow"}, ValueError, "unknown encoder_learning_rate 'slow'"),
        ({"accumulate": True}, TypeError, "accumulate must be an integer"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate must be finite"),
        ({"warmup_share": 1.0}, ValueError, "warmup_share must be at least 0 and below 1"),
        ({"gradient_clip": 0}, ValueError, "gradient_clip must be above 0"),
        ({"early_stopping_patience": 0}, ValueError, "early_stopping_patience must be at least 1"),
        ({"max_total_chunks": 0}, ValueError, "max_total_chunks must be at least 1"),
        ({"network_options": ["text__pooling"]}, TypeError, "network_options must be a dict"),
        ({"network_options": {"text__poolin": "cls"}}, ValueError, "mean 'text__pooling'"),
        ({"class_weight": [1, 2, 3]}, ValueError, "3 values, expected one for each of the 2"),
        ({"classes": [1, 2]}, ValueError, "y holds 0 too"),
        ({"text_columns": "reveiw"}, ValueError, "mean 'review'"),
        ({"text_columns": "price"}, ValueError, "text column 'price' holds numbers"),
    ],
)
def test_bad_parameters(make_model, make_reviews, parameters, error, message):
    X, y = make_reviews(24)
    check(lambda: make_model(**parameters).fit(X, y), error, message)


def test_a_chunk_longer_than_the_encoder_numbers(make_model, make_reviews):
    X, y = make_reviews(24)
    model = make_model(architecture="multimodal_bert", max_sen_len=65)
    check(lambda: model.fit(X, y), ValueError, "65 tokens, but the encoder numbers 64")


def test_an_encoder_folder_without_weights(make_model, make_reviews, tmp_path):
    X, y = make_reviews(24)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    model = make_model(architecture="bert", encoder=tmp_path)
    check(lambda: model.fit(X, y), FileNotFoundError, "holds no weights")


def test_x_is_no_table(make_model, make_reviews):
    X, y = make_reviews(24)
    for bad in (X.to_numpy(), X.to_dict("list"), X["review"].tolist()):
        check(lambda bad=bad: make_model().fit(bad, y), TypeError, "must be a pandas or polars")


def test_tables_without_rows_or_with_doubled_names(make_model, make_reviews):
    X, y = make_reviews(24)
    check(lambda: make_model().fit(X[:0], y[:0]), ValueError, "at least one row")
    doubled = X.set_axis(["review", "price", "price", "shop"], axis=1)
    check(lambda: make_model().fit(doubled, y), ValueError, r"share a name: \['price'\]")


def test_no_text(make_model, make_reviews):
    X, y = make_reviews(24)
    check(lambda: make_model().fit(X[["price", "shop"]], y), ValueError, "no text column among")
    empty = X.assign(review=[None, "", "  "] * 8)
    model = make_model(text_columns="review")
    check(lambda: model.fit(empty, y), ValueError, "'review' has no text in any row")


def test_cells_that_are_no_text(make_model, make_reviews):
    X, y = make_reviews(24)
    mixed = X.assign(review=["text", 3.0] * 12)
    model = make_model(text_columns="review")
    check(lambda: model.fit(mixed, y), TypeError, "text column 'review': Row 1 must be text")


def test_labels(make_model, make_reviews):
    X, y = make_reviews(24)
    check(lambda: make_model().fit(X, None), ValueError, "requires y to be passed")
    check(lambda: make_model().fit(X, y[:-1]), ValueError, "inconsistent numbers of samples")
    check(lambda: make_model().fit(X, np.zeros(24)), ValueError, "got 1 class")
    check(lambda: make_model().fit(X[:1], y[:1]), ValueError, "got 1 class")
    check(lambda: make_model().fit(X, np.full(24, np.nan)), ValueError, "got 0 class")
    check(lambda: make_model().fit(X, y + 0.5), ValueError, "Unknown label type")
    empty = np.column_stack([y, np.full(24, np.nan)])
    check(lambda: make_model().fit(X, empty), ValueError, "'task_1' has no label")


def test_weights(make_model, make_reviews):
    X, y = make_reviews(24)
    check(lambda: make_model().fit(X, y, sample_weight=-y), ValueError, "not be negative")
    check(lambda: make_model().fit(X, y, sample_weight=0 * y), ValueError, "weights are zero")
    check(lambda: make_model().fit(X, y, sample_weight=y[:3]), ValueError, "one per row")


def test_validation_rows(make_model, make_reviews):
    X, y = make_reviews(24)
    check(lambda: make_model().fit(X, y, X_val=X), ValueError, "X_val and y_val belong together")
    check(lambda: make_model().fit(X, y, X_val=X.to_numpy(), y_val=y), TypeError, "X_val must be a")
    check(lambda: make_model().fit(X, y, X_val=X[["review"]], y_val=y), ValueError, "feature names")
    one = y == 0
    model = make_model(eval_metric="auc")
    check(lambda: model.fit(X, y, X_val=X[one], y_val=y[one]), ValueError, "'auc' has no value")


@pytest.mark.usefixtures("trained")
def test_predict_sees_other_columns(make_model, make_reviews):
    X, y = make_reviews(24)
    model = make_model(epochs=1).fit(X, y)
    check(lambda: model.predict(X.drop(columns="price")), ValueError, "seen at fit time.*missing")
    check(lambda: model.predict(X.assign(more=1)), ValueError, "unseen at fit time")
    check(lambda: model.predict(X.to_numpy()), TypeError, "must be a pandas or polars")
    check(lambda: model.predict(X[:0]), ValueError, "at least one row")


@pytest.mark.usefixtures("trained")
def test_warm_start_with_another_network(make_model, make_reviews):
    X, y = make_reviews(24)
    model = make_model(epochs=1, warm_start=True).fit(X, y)
    model.set_params(architecture="lstm", network_options=None)
    message = "architecture='multimodal_cnn', but training is to go on with architecture='lstm'"
    check(lambda: model.fit(X, y), ValueError, message)


@pytest.mark.usefixtures("trained")
def test_a_loss_that_explodes(make_model, make_reviews):
    X, y = make_reviews(64)
    model = make_model(learning_rate=1e30, gradient_clip=None)
    check(lambda: model.fit(X, y), FloatingPointError, "lower learning_rate")


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "skorch"])
def test_a_package_is_missing(make_model, make_reviews, monkeypatch, package):
    X, y = make_reviews(24)
    there = importlib.import_module

    def import_module(name, *arguments):
        if name == package:
            raise ImportError(name)
        return there(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", import_module)
    message = rf"needs the package {package}: pip install 'mtgbm\[text\]'"
    check(lambda: make_model().fit(X, y), ImportError, message)


@pytest.mark.usefixtures("trained")
def test_one_class_of_several_tasks_is_a_warning(make_model, make_reviews):
    X, y = make_reviews(24)
    Y = pd.DataFrame({"a": y, "b": 1})
    with pytest.warns(UserWarning, match="task 'b' has a single class"):
        make_model(epochs=1).fit(X, Y)
