"""model.explain: words and raw columns of a row, for every architecture and kind of labels."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError

from mtbert import MultimodalTextTabularClassifier
from mtbert.explanation import Attribution, AttributionWarning

TEXT_ONLY = ("bert", "lstm")


def size_of(attribution):
    texts = [np.abs(text.values).sum() for text in attribution.texts.values()]
    return sum(texts) + sum(map(abs, attribution.columns.values()))


def assert_same(first, second, rtol=1e-4):
    assert first.target == second.target
    assert_allclose(first.score, second.score, rtol=rtol, atol=1e-5)
    assert list(first.texts) == list(second.texts)
    for name, text in first.texts.items():
        assert text.words == second.texts[name].words
        assert_allclose(text.values, second.texts[name].values, rtol=rtol, atol=1e-5)
    assert first.columns.keys() == second.columns.keys()
    for name, value in first.columns.items():
        assert_allclose(value, second.columns[name], rtol=rtol, atol=1e-5)


def test_words_and_columns_explain_the_score(make_model, make_two_texts, architecture):
    X, y = make_two_texts(24)
    model = make_model(
        architecture=architecture,
        epochs=2,
        max_sen_len=9,
        categorical_columns="shop",
        text_columns=["review", "title"],
    ).fit(X, y)
    rows = X[:3]
    found = model.explain(rows, target=1, n_steps=32)
    assert_allclose(
        [attribution.probability for attribution in found],
        model.predict_proba(rows)[:, 1],
        rtol=1e-4,
    )
    assert found[0].texts["review"].chunks.max() >= 1
    for attribution, review in zip(found, rows["review"], strict=True):
        assert abs(attribution.gap) < 0.02 * size_of(attribution)
        assert attribution.texts["review"].text == review
        assert "it's" in attribution.texts["review"].words or "it's" not in review
        columns = [] if architecture in TEXT_ONLY else ["price", "age", "shop"]
        assert sorted(attribution.columns) == sorted(columns)
    empty = found[0].texts["title"]
    assert (empty.text, empty.words, empty.total) == ("", [], 0)


def test_the_telling_word_is_found(make_model, make_reviews):
    X, y = make_reviews(128)
    model = make_model(epochs=10).fit(X, y)
    for attribution, label in zip(model.explain(X[:20]), y, strict=False):
        review = attribution.texts["review"]
        assert attribution.target == label
        assert review.words[review.values.argmax()] == ["lovely", "dull"][label]


def test_a_row_about_which_nothing_is_known_has_nothing_to_explain(make_model, make_reviews):
    X, y = make_reviews()
    model = make_model().fit(X, y)
    unknown = pd.DataFrame(
        {"review": [None], "price": X["price"].mean(), "age": X["age"].mean(), "shop": "east"}
    )
    (attribution,) = model.explain(unknown)
    assert_allclose(attribution.score, attribution.baseline_score, rtol=1e-5)
    assert size_of(attribution) < 1e-5
    (missing,) = model.explain(unknown.assign(price=np.nan))
    assert missing.columns["price"] != 0  # that it is missing is marked
    assert missing.columns["age"] == pytest.approx(0, abs=1e-6)
    (known,) = model.explain(unknown.assign(shop="north"))
    assert abs(known.columns["shop"]) > 1e-4


@pytest.mark.filterwarnings("ignore::mtbert.explanation.AttributionWarning")
@pytest.mark.parametrize(
    ("encoding", "scaling"), [("both", "quantile"), ("risk", "standard"), ("embedding", "quantile")]
)
def test_each_column_counts_what_the_net_makes_of_it(make_model, make_reviews, encoding, scaling):
    """Only one column differs from the baseline row, so it alone explains the score."""
    X, y = make_reviews(60, n_classes=3)
    X = X.assign(town=np.array(["a", "b", "c"])[y])
    model = make_model(
        category_encoding=encoding, scaling=scaling, numeric_columns=["price", "age"]
    ).fit(X, y)
    unknown = {"review": None, "price": X.price.mean(), "age": X.age.mean()}
    changed = {"price": np.nan, "age": 80, "shop": "north", "town": "c"}
    rows = [unknown | {"shop": "?", "town": "?"} | {name: changed[name]} for name in changed]
    for name, attribution in zip(
        changed, model.explain(pd.DataFrame(rows), n_steps=100), strict=True
    ):
        others = [value for column, value in attribution.columns.items() if column != name]
        assert_allclose(others, 0, atol=1e-6)
        difference = attribution.score - attribution.baseline_score
        assert attribution.columns[name] == pytest.approx(difference, rel=0.02, abs=2e-3)
        assert abs(difference) > 1e-4


def test_classes_and_their_order(make_model, make_reviews):
    X, numbers = make_reviews(60, n_classes=3)
    y = np.array(["small", "large", "medium"])[numbers]
    model = make_model(classes=["small", "medium", "large"]).fit(X, y)
    p = model.predict_proba(X[:4])
    for column, label in enumerate(model.classes_):
        scores = [attribution.score for attribution in model.explain(X[:4], target=label)]
        assert_allclose(scores, logit(p[:, column]), rtol=1e-3, atol=1e-4)
    assert_array_equal([found.target for found in model.explain(X[:4])], model.predict(X[:4]))


def test_two_classes_mirror_each_other(make_model, make_reviews):
    X, y = make_reviews()
    model = make_model().fit(X, np.where(y, "yes", "no"))
    (yes,), (no,) = (model.explain(X[:1], target=label) for label in ("yes", "no"))
    assert yes.score == -no.score
    assert_array_equal(yes.texts["review"].values, -no.texts["review"].values)
    assert yes.columns == {name: -value for name, value in no.columns.items()}


def test_several_tasks(make_model, make_reviews):
    X, y = make_reviews()
    Y = pd.DataFrame({"good": y.astype(float), "bad": 1.0 - y})
    Y.loc[::3, "bad"] = np.nan
    model = make_model().fit(X, Y)
    p = model.predict_proba(X[:3])
    for position, task in enumerate(Y.columns):
        by_name, by_position = (model.explain(X[:3], target=t) for t in (task, position))
        assert_allclose(expit([a.score for a in by_name]), p[:, position], rtol=1e-4)
        for first, second in zip(by_name, by_position, strict=True):
            assert_same(first, second)
            assert first.target == task
    with pytest.raises(
        ValueError, match="several tasks; say by target which to explain: good, bad"
    ):
        model.explain(X[:3])
    with pytest.raises(ValueError, match="unknown target 'god'; did you mean 'good'"):
        model.explain(X[:3], target="god")


def test_rows_do_not_depend_on_each_other(make_model, make_two_texts):
    X, y = make_two_texts()
    model = make_model(architecture="multimodal_cross_attn", max_sen_len=9).fit(X, y)
    for together, number in zip(model.explain(X[:5], n_steps=8), range(5), strict=True):
        (alone,) = model.explain(X[number : number + 1], n_steps=8)
        assert_same(together, alone)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frame_of_any_library(make_model, make_reviews, in_library, library):
    X, y = make_reviews()
    model = make_model().fit(X, y)
    (expected,) = model.explain(X[:1])
    (found,) = model.explain(in_library[library](X)[:1])
    assert_same(found, expected)


def test_as_a_table(make_model, make_two_texts):
    X, y = make_two_texts()
    (attribution,) = make_model(text_columns=["review", "title"]).fit(X, y).explain(X[1:2])
    frame = attribution.to_frame()
    assert frame.columns.tolist() == ["kind", "column", "item", "start", "end", "value"]
    assert frame["value"].sum() == pytest.approx(attribution.total)
    words = frame[frame.column == "title"]
    assert words["item"].tolist() == X.loc[1, "title"].split()
    assert [X.loc[1, "title"][a:b] for a, b in zip(words.start, words.end, strict=True)] == words[
        "item"
    ].tolist()
    columns = frame[frame.kind == "column"].set_index("column")
    assert columns.loc["age", "item"] == X.loc[1, "age"]
    assert columns["start"].isna().all()
    assert repr(attribution).startswith("Attribution(target=")
    assert len(repr(attribution)) < 100


def test_as_a_table_without_pandas(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'mtgbm\[data\]'"):
        Attribution("yes", 0.0, 0.0, {}, {}, {}).to_frame()


def test_a_saved_model_explains_the_same(make_model, make_reviews, tmp_path):
    X, y = make_reviews()
    model = make_model().fit(X, y)
    model.save(tmp_path)
    restored = MultimodalTextTabularClassifier.load(tmp_path)
    assert_same(restored.explain(X[:1])[0], model.explain(X[:1])[0], rtol=0)


def test_of_a_stack_the_network_is_explained(make_model, make_reviews):
    """Trees or not, the network is the same if no rows are held out for them."""
    X, y = make_reviews(60)
    plain = make_model().fit(X, y)
    stacked = make_model(stacking="gbdt", stacking_options={"join": "mean"}).fit(X, y)
    assert (stacked.predict_proba(X) != plain.predict_proba(X)).any()
    for found, expected in zip(stacked.explain(X[:3]), plain.explain(X[:3]), strict=True):
        assert_same(found, expected, rtol=1e-6)


def test_a_network_that_learned_by_adapters(make_model, make_two_texts):
    X, y = make_two_texts(24)
    model = make_model(
        architecture="multimodal_bert",
        network_options={"text__lora_rank": 4},
        text_columns=["review", "title"],
        epochs=2,
    ).fit(X, y)
    found = model.explain(X[:3], target=1, n_steps=32)
    p = model.predict_proba(X[:3])[:, 1]
    assert_allclose([attribution.probability for attribution in found], p, rtol=1e-4)
    for attribution in found:
        assert abs(attribution.gap) < 0.02 * size_of(attribution)


def test_an_encoder_for_each_column(make_model, make_two_texts):
    """Each title and review is cut into words by its own tokenizer."""
    X, y = make_two_texts(24)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = make_model(
        architecture="multimodal_bert",
        encoder={"review": {**small, "intermediate_size": 8}, "title": "tiny"},
        shared_encoder=False,
        text_columns=["review", "title"],
        max_sen_len=None,
        epochs=2,
    ).fit(X, y)
    found = model.explain(X[1:4], target=1, n_steps=32)
    p = model.predict_proba(X[1:4])[:, 1]
    assert_allclose([attribution.probability for attribution in found], p, rtol=1e-4)
    for attribution, title in zip(found, X.loc[1:3, "title"], strict=True):
        assert abs(attribution.gap) < 0.02 * size_of(attribution)
        assert attribution.texts["title"].words == title.split()
        assert attribution.texts["review"].total != 0


def test_too_few_steps_warn(make_model, make_reviews):
    X, y = make_reviews()
    model = make_model(architecture="multimodal_gate_fusion", epochs=12).fit(X, y)
    with pytest.warns(AttributionWarning, match="raise n_steps"):
        model.explain(X[:5], n_steps=1)


def test_bad_input(make_model, make_reviews):
    X, y = make_reviews()
    with pytest.raises(NotFittedError):
        make_model().explain(X)
    model = make_model().fit(X, y)
    with pytest.raises(TypeError, match="must be a pandas or polars DataFrame, got ndarray"):
        model.explain(X.to_numpy())
    with pytest.raises(ValueError, match=r"unknown target 'yes'; the classes are \[0, 1\]"):
        model.explain(X, target="yes")
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        model.explain(X, n_steps=0)
    with pytest.raises(ValueError, match="price"):
        model.explain(X.drop(columns="price"))
