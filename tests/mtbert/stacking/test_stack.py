"""The classifier with trees on its net."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from mtbert import MultimodalTextTabularClassifier
from mtbert.fitting import Fit
from mtbert.net import TrainingNet
from mtbert.stacking import Stack
from mtbert.stacking.nets import CrossFittedNets

FEW_TREES = {"n_estimators": 15, "learning_rate": 0.2, "n_jobs": 1, "min_child_samples": 5}
WAYS = {
    "blend": {"folds": 2},
    "trees": {"folds": 2, "join": "trees"},
    "held out": {"folds": 0},
    "second net": {"folds": 1},
    "mean": {"join": "mean"},
    "all features": {
        "folds": 2,
        "features": ["net_scores", "net_embedding", "text_scores", "text_topics", "columns"],
        "n_components": 3,
        "n_topics": 4,
    },
    "columns alone": {"folds": 2, "features": ["columns"]},
}


@pytest.fixture
def make_stacked(make_model):
    def make(way="blend", **parameters):
        options = {"trees": FEW_TREES} | WAYS[way]
        return make_model(stacking="gbdt", stacking_options=options, epochs=2, **parameters)

    return make


@pytest.mark.parametrize("way", WAYS)
def test_every_way_learns_and_survives_files(make_stacked, make_reviews, tmp_path, way):
    X, y = make_reviews(90, n_classes=3)
    X_new, y_new = make_reviews(45, n_classes=3, seed=1)
    labels = np.array(["b", "c", "a"])
    model = make_stacked(way).fit(X, labels[y])
    p = model.predict_proba(X_new)
    assert_allclose(p.sum(axis=1), 1)
    assert model.classes_.tolist() == ["a", "b", "c"]
    if way != "columns alone":
        assert model.score(X_new, labels[y_new]) > 0.9
    model.save(tmp_path / "model")
    restored = MultimodalTextTabularClassifier.load((tmp_path / "model").rename(tmp_path / "moved"))
    for copied in (restored, pickle.loads(pickle.dumps(model))):
        assert_array_equal(copied.predict_proba(X_new), p)
        assert copied.stack_.losses_ == model.stack_.losses_


def test_trees_know_in_which_column_a_word_stands(make_model):
    rng = np.random.default_rng(0)
    words = [rng.permutation(["warm", "thin"]) for _ in range(80)]
    X = pd.DataFrame(words, columns=["title", "review"])
    y = (X["title"] == "warm").to_numpy()
    options = {
        "join": "mean",
        "features": ["text_scores"],
        "text_model": {"ngram_range": (1, 1)},  # the order of the words tells nothing
        "trees": FEW_TREES,
    }
    model = make_model(epochs=1, stacking="gbdt", stacking_options=options)
    model.set_params(text_columns=["title", "review"]).fit(X, y)
    stack = model.stack_
    assert [terms.columns for terms in stack.terms_] == [
        ("title", "review"),
        ("title",),
        ("review",),
    ]
    together, of_title, of_review = (
        scores.transform(terms.transform(X))[:, 0]
        for scores, terms in zip(stack.text_scores_, stack.terms_, strict=True)
    )
    assert np.ptp(together) < 1e-12
    assert roc_auc_score(y, of_title) == roc_auc_score(y, of_review) == 1
    trees = stack.trees_.transform(np.column_stack([together, of_title, of_review]))
    assert roc_auc_score(y, trees[:, 0]) == 1


@pytest.mark.parametrize("way", ["blend", "trees", "held out", "second net", "mean"])
def test_several_tasks_with_missing_labels(make_stacked, make_reviews, tmp_path, way):
    X, y = make_reviews(120)
    Y = pd.DataFrame({"good": y, "bad": np.where(np.arange(120) % 3, 1.0 - y, np.nan)})
    model = make_stacked(way, validation_fraction=0.3).fit(X, Y)
    p = model.predict_proba(X)
    assert p.shape == (120, 2)
    assert roc_auc_score(y, p[:, 0]) > 0.95
    assert roc_auc_score(1 - y, p[:, 1]) > 0.95
    assert model.predict(X).shape == (120, 2)
    model.save(tmp_path / "model")
    restored = MultimodalTextTabularClassifier.load(tmp_path / "model")
    assert_array_equal(restored.predict_proba(X), p)


def test_the_net_is_the_one_without_trees(make_stacked, make_model, make_reviews):
    X, y = make_reviews(60)
    stacked, plain = make_stacked().fit(X, y), make_model(epochs=2).fit(X, y)
    assert plain.stack_ is None
    others = plain.network_.state_dict()
    for name, tensor in stacked.network_.state_dict().items():
        assert torch.equal(tensor, others[name])
    assert_array_equal(stacked.transform(X), plain.transform(X))
    assert stacked.history_ == plain.history_
    assert (stacked.predict_proba(X) != plain.predict_proba(X)).any()


def test_trees_bring_what_the_net_does_not_see(make_stacked, make_model, make_reviews):
    """The net reads text only, and the text knows half of the truth."""
    X, word = make_reviews(300)
    cheap = np.random.default_rng(0).integers(0, 2, 300)
    X = X.assign(price=np.where(cheap, 10.0, 30.0))
    y = word & cheap
    train, test = slice(0, 200), slice(200, 300)
    scores = [
        roc_auc_score(y[test], model.fit(X[train], y[train]).predict_proba(X[test])[:, 1])
        for model in (
            make_model(architecture="lstm", network_options=None, epochs=2),
            make_stacked(architecture="lstm", network_options=None),
        )
    ]
    assert scores[0] < 0.9
    assert scores[1] > 0.97


def test_rows_are_dealt_once_and_nets_differ(make_stacked, make_reviews, monkeypatch):
    X, y = make_reviews(60)
    X["number"] = np.arange(60)
    learned = []
    read = Fit._read_training

    def spy(self, table, start, seed):
        learned.append((seed, set(table.X["number"])))
        return read(self, table, start, seed)

    monkeypatch.setattr(Fit, "_read_training", spy)
    make_stacked().fit(X, y)
    seeds, (everything, first, second) = zip(*learned, strict=True)
    assert len(set(seeds)) == 3
    assert everything == set(range(60)) == first | second
    assert not first & second
    assert len(first) == 30


def test_a_second_net_does_not_see_a_share(make_stacked, make_model, make_reviews, monkeypatch):
    X, y = make_reviews(60)
    X["number"] = np.arange(60)
    learned, joined = [], []
    read, join = Fit._read_training, Stack._join

    def spy(self, table, start, seed):
        learned.append(set(table.X["number"]))
        return read(self, table, start, seed)

    def spy_too(self, net_scores, tree_scores, table):
        joined.append(set(table.X["number"]))
        assert len(net_scores) == len(tree_scores) == len(table.labels)
        join(self, net_scores, tree_scores, table)

    monkeypatch.setattr(Fit, "_read_training", spy)
    monkeypatch.setattr(Stack, "_join", spy_too)
    model = make_stacked("second net", validation_fraction=0.2).fit(X, y)
    everything, others = learned
    assert everything == set(range(60))
    assert len(others) == 48
    assert joined == [everything - others]
    # The net that predicts is the one of all rows.
    alone = make_model(epochs=2).fit(X, y).network_.state_dict()
    for name, tensor in model.network_.state_dict().items():
        assert torch.equal(tensor, alone[name])


@pytest.mark.parametrize("way", ["blend", "trees", "held out", "second net"])
def test_noise_has_no_skill(make_stacked, make_reviews, way):
    """Categories of one row and words of one row give away every label that was learned from."""
    X, _ = make_reviews(200)
    X["review"] = [f"word{i} {text}" for i, text in enumerate(X["review"])]
    X["shop"] = pd.Series([f"shop {i // 2}" for i in range(200)], dtype="category")
    X["age"] = pd.Series([f"id {i}" for i in range(200)], dtype="category")
    y = np.random.default_rng(3).integers(0, 2, 200)
    model = make_stacked(way, text_columns="review", learning_rate=0.05).fit(X, y)
    assert model.roles_.categorical == ("age", "shop")
    assert min(model.stack_.losses_.values()) > 0.67  # that of knowing nothing is .693
    strange = X.assign(review=X["review"].to_numpy()[::-1], age="new", shop="new")
    assert np.abs(model.predict_proba(strange) - 0.5).max() < 0.35


def test_scores_of_rows_do_not_depend_on_their_own_labels(make_stacked, make_reviews, monkeypatch):
    """The labels of one fold are turned; the net and the words that score it cannot know."""
    X, y = make_reviews(60)
    fold_of = np.arange(60) // 2 % 2
    monkeypatch.setattr("mtbert.stacking.stack.deal_folds", lambda *arguments: fold_of)
    kept = []
    fit = CrossFittedNets.fit
    monkeypatch.setattr(CrossFittedNets, "fit", lambda *args: kept.append(fit(*args)) or kept[-1])
    for labels in (y, np.where(fold_of == 0, 1 - y, y)):
        make_stacked().fit(X, labels)
    first, second = (nets.scores_ for nets in kept)
    assert_array_equal(first[fold_of == 0], second[fold_of == 0])
    assert (first[fold_of == 1] != second[fold_of == 1]).all()


def test_fits_repeat(make_stacked, make_reviews, in_library):
    X, y = make_reviews(60)
    model = make_stacked().fit(X, y)
    p = model.predict_proba(X)
    assert_array_equal(clone(model).fit(X, y).predict_proba(X), p)
    table = in_library["polars"](X)
    assert_array_equal(clone(model).fit(table, y).predict_proba(table), p)


def test_weights(make_stacked, make_reviews):
    """Rows of weight 0 are as good as absent, in every part."""
    X, y = make_reviews(90)
    weights = np.r_[np.ones(60), np.zeros(30)]
    absent = make_stacked().fit(X[:60], y[:60])
    weightless = make_stacked().fit(X, np.r_[y[:60], 1 - y[60:]], sample_weight=weights)
    assert_array_equal(weightless.predict_proba(X), absent.predict_proba(X))
    noise = np.random.default_rng(0).permutation(y)
    heavy = make_stacked(class_weight={0: 1, 1: 50}).fit(X, noise)
    assert heavy.predict(X).mean() > 0.7


def test_validation_rows(make_stacked, make_reviews):
    X, y = make_reviews(90)
    X_val, y_val = make_reviews(30, seed=1)
    given = make_stacked("held out").fit(X, y, X_val=X_val, y_val=y_val)
    turned = make_stacked("held out").fit(X, y, X_val=X_val, y_val=1 - y_val)
    assert given.stack_.blend_.factors_.sum() > 0.9
    assert turned.stack_.blend_.factors_.sum() < 0.4  # they are drawn to 1
    held = make_stacked("held out", early_stopping_patience=1).fit(X, y)
    assert "valid_logloss" in held.history_[0]
    stopped = make_stacked(early_stopping_patience=1).fit(X, y)
    assert "valid_logloss" in stopped.history_[0]


def test_the_mean_needs_no_rows_of_its_own(make_stacked, make_model, make_reviews):
    X, y = make_reviews(90)
    plain, stacked = make_model(epochs=2).fit(X, y), make_stacked("mean").fit(X, y)
    for name, tensor in stacked.network_.state_dict().items():
        assert torch.equal(tensor, plain.network_.state_dict()[name])
    assert stacked.stack_.losses_ == {}
    net, joint = (logit(model.predict_proba(X)[:, 1]) for model in (plain, stacked))
    rows = stacked._reader.transform(X)
    trees = stacked.stack_.trees_.transform(stacked.stack_._features(X, rows))[:, 0]
    assert_allclose(joint, (net + trees) / 2, rtol=1e-4, atol=1e-4)
    seen = make_stacked("mean").fit(X, y, X_val=X[:40], y_val=1 - y[:40])
    assert_array_equal(seen.predict_proba(X), stacked.predict_proba(X))
    assert seen.stack_.losses_["blend"] > 0.7


def test_a_fit_that_was_killed_goes_on(make_stacked, make_reviews, monkeypatch, tmp_path):
    X, y = make_reviews(60)
    expected = make_stacked().fit(X, y).predict_proba(X)
    model = make_stacked(checkpoint_path=tmp_path / "fit", checkpoint_interval=1)
    train, learned = TrainingNet.train, []

    def die_in_the_second_fold(net, validation):
        learned.append(net)
        if len(learned) == 3:
            net.callbacks.append(("death", Death()))
        train(net, validation)

    monkeypatch.setattr(TrainingNet, "train", die_in_the_second_fold)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fit", "fit.net1", "fit.net2"]
    steps = []
    monkeypatch.setattr(TrainingNet, "train_step", counting(steps, TrainingNet.train_step))
    assert_array_equal(model.fit(X, y).predict_proba(X), expected)
    assert 0 < len(steps) < 4  # the rest of the last net, whose two epochs have four


def counting(calls, method):
    def counted(self, *arguments):
        calls.append(self)
        return method(self, *arguments)

    return counted


class Death(Callback):
    """Ends everything after the second step."""

    def on_batch_end(self, net, **kwargs):
        if net.n_steps == 2:
            raise KeyboardInterrupt


def test_grid_search(make_stacked, make_reviews):
    X, y = make_reviews(60)
    grid = {"stacking": [None, "gbdt"]}
    search = GridSearchCV(make_stacked(), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.predict_proba(X).shape == (60, 2)


def test_stages_are_shown(make_stacked, make_reviews, capfd):
    X, y = make_reviews(48)
    make_stacked().fit(X, y)
    assert capfd.readouterr() == ("", "")
    make_stacked(verbose=1).fit(X, y)
    shown = capfd.readouterr().err
    for text in ("net 1 of 2", "net 2 of 2", "stacking: trees"):
        assert text in shown


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError("training began")

    monkeypatch.setattr(TrainingNet, "train", refuse)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"stacking": "gbtd"}, ValueError, "did you mean 'gbdt'"),
        ({"stacking": 3}, ValueError, "unknown stacking 3"),
        ({"stacking_options": {"folds": 13}}, ValueError, "the class 'b' has only 12"),
        ({"stacking_options": {"fold": 2}}, ValueError, "did you mean 'folds'"),
        ({"warm_start": True}, ValueError, "warm_start goes on with the net alone"),
    ],
)
def test_bad_parameters(make_model, make_reviews, parameters, error, message):
    X, _ = make_reviews(48)
    y = np.where(np.arange(48) % 4, "a", "b")
    model = make_model(**{"stacking": "gbdt"} | parameters)
    with pytest.raises(error, match=message):
        model.fit(X, y)


@pytest.mark.usefixtures("no_training")
def test_partial_fit_is_refused(make_stacked, make_reviews):
    X, y = make_reviews(48)
    with pytest.raises(ValueError, match=r"partial_fit goes on.* to None or 'auto', or fit anew"):
        make_stacked().partial_fit(X, y)


# "auto" -----------------------------------------------------------------------------------------


@pytest.fixture
def make_auto(make_model):
    def make(**parameters):
        options = {"trees": FEW_TREES}
        return make_model(
            **{"stacking": "auto", "stacking_options": options, "epochs": 2} | parameters
        )

    return make


def test_auto_is_the_default_and_trains_a_second_net(make_auto, make_reviews):
    assert MultimodalTextTabularClassifier().stacking == "auto"
    X, y = make_reviews(90)
    model, stacked = make_auto().fit(X, y), make_auto(stacking="gbdt").fit(X, y)
    assert model.stack_.options.folds == 1
    assert_array_equal(model.predict_proba(X), stacked.predict_proba(X))


@pytest.mark.parametrize(
    "parameters", [{"architecture": "lstm"}, {"architecture": "bert"}, {"warm_start": True}]
)
def test_auto_is_the_net_alone(make_auto, make_reviews, parameters):
    X, y = make_reviews(60)
    assert make_auto(epochs=1, **parameters).fit(X, y).stack_ is None


@pytest.mark.parametrize("how", ["given", "held out"])
def test_auto_takes_validation_rows_if_there_are_some(make_auto, make_reviews, how):
    X, y = make_reviews(60)
    X_val, y_val = make_reviews(30, seed=1)
    if how == "given":
        model = make_auto(epochs=1).fit(X, y, X_val=X_val, y_val=y_val)
    else:
        model = make_auto(epochs=1, early_stopping_patience=1).fit(X, y)
    assert model.stack_.options.folds == 0
    assert sorted(model.stack_.losses_) == ["blend", "net", "trees"]


@pytest.mark.parametrize(("rarest", "is_stacked"), [(4, False), (5, True)])
def test_auto_needs_five_rows_of_each_class(make_auto, make_reviews, rarest, is_stacked):
    X, _ = make_reviews(60)
    y = np.arange(60) < rarest
    model = make_auto(epochs=1).fit(X, y)
    assert (model.stack_ is not None) == is_stacked


def test_a_rare_class_that_was_held_out(make_auto, make_reviews, monkeypatch):
    """Trees that lack it cannot learn; the net can."""
    monkeypatch.setattr("mtbert.stacking.options.MANY_ROWS", 60)
    X, _ = make_reviews(60)
    rare = pd.DataFrame({"even": np.arange(60) % 2, "rare": np.arange(60) < 5}, dtype=float)
    fit = make_auto(epochs=1, validation_fraction=0.9)
    assert fit.fit(X, rare).stack_ is None
    with pytest.raises(ValueError, match="has only"):
        fit.set_params(stacking="gbdt").fit(X, rare)


def test_auto_begins_with_the_net_in_partial_fit(make_auto, make_reviews):
    X, y = make_reviews(60)
    model = make_auto(epochs=1).partial_fit(X, y)
    assert model.stack_ is None
    assert model.fit(X, y).stack_ is not None


def test_partial_fit_goes_on_with_the_net_and_leaves_the_trees(make_auto, make_reviews):
    X, y = make_reviews(60)
    X_new, y_new = make_reviews(60, seed=1)
    model, alone = make_auto().fit(X, y), make_auto(stacking=None).fit(X, y)
    stack, before = model.stack_, model.predict_proba(X_new)
    model.partial_fit(X_new, y_new)
    alone.partial_fit(X_new, y_new)
    assert model.stack_ is stack
    assert np.abs(model.predict_proba(X_new) - before).max() > 1e-3
    for name, weights in alone.network_.state_dict().items():
        assert_array_equal(model.network_.state_dict()[name], weights)


# What is refused --------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_training")
def test_trees_without_anything_to_see(make_stacked, make_reviews):
    X, y = make_reviews(48)
    with pytest.raises(ValueError, match="X has only text; add 'text_scores'"):
        make_stacked("columns alone").fit(X[["review"]], y)


@pytest.mark.parametrize("name", ["trees.mtgbm", "terms.json", "stack.safetensors"])
def test_a_missing_file(make_stacked, make_reviews, tmp_path, name):
    X, y = make_reviews(48)
    make_stacked().fit(X, y).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {name}; give a folder written by save"):
        MultimodalTextTabularClassifier.load(tmp_path)


def test_files_of_two_models(make_stacked, make_reviews, tmp_path):
    X, y = make_reviews(48)
    make_stacked().fit(X, y).save(tmp_path)
    terms = tmp_path / "terms.json"
    written = terms.read_text()
    terms.write_text(written.replace('"very"', '"very", "more"'))
    with pytest.raises(ValueError, match=r"terms\.json names .* of different models"):
        MultimodalTextTabularClassifier.load(tmp_path)
    terms.write_text("[]")
    with pytest.raises(ValueError, match="has the terms of 0 texts, and the model 1"):
        MultimodalTextTabularClassifier.load(tmp_path)
    terms.write_text(written)
    (tmp_path / "stack.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged or of another model"):
        MultimodalTextTabularClassifier.load(tmp_path)
