"""treelite reads the LightGBM text of our models and predicts the same probabilities.

Permitted difference: 1e-6, because treelite may store and add up what it likes.
"""

import numpy as np
import pytest
import treelite
from numpy.testing import assert_allclose
from scipy.special import expit, softmax

from mtgbm.io.lightgbm_text import write_lightgbm

LINKED = ["1 task", "3 tasks", "10 tasks", "own best rounds"]
TOLERANCE = {"rtol": 0, "atol": 1e-6}


def load(path):
    return treelite.frontend.load_lightgbm_model(path)


def columns_of(trees, X, **how):
    """Predictions, a column for each output."""
    return treelite.gtil.predict(trees, X, nthread=1, **how).reshape(len(X), -1)


@pytest.mark.parametrize("name", LINKED)
def test_probabilities(format_models, other_rows, name, tmp_path):
    model = format_models[name]
    model.to_lightgbm().save_model(tmp_path / "model.txt")
    expected = model.predict_proba(other_rows)
    found = columns_of(load(tmp_path / "model.txt"), other_rows)
    assert_allclose(found, expected[:, 1:] if name == "1 task" else expected, **TOLERANCE)


def test_scores_where_lightgbm_has_no_link(format_models, other_rows, tmp_path):
    """treelite asks for an objective; scores do not depend on it."""
    model = format_models["a multiclass task"]
    header, names, rest = model.to_lightgbm().model_to_string().partition("feature_names=")
    objective = "objective=multiclassova num_class:5 sigmoid:1\n"
    (tmp_path / "model.txt").write_text(f"{header}{objective}{names}{rest}")
    scores = columns_of(load(tmp_path / "model.txt"), other_rows, pred_margin=True)
    late, kind, other = model.predict_proba(other_rows)
    assert_allclose(expit(scores[:, 0]), late[:, 1], **TOLERANCE)
    assert_allclose(softmax(scores[:, 1:4], axis=1), kind, **TOLERANCE)
    assert_allclose(expit(scores[:, 4]), other[:, 1], **TOLERANCE)


def test_the_text_that_we_write_ourselves(format_models, other_rows, tmp_path):
    """With our lines behind LightGBM's."""
    model = format_models["3 tasks"]
    write_lightgbm(model, tmp_path / "model.txt")
    found = columns_of(load(tmp_path / "model.txt"), other_rows)
    assert_allclose(found, model.predict_proba(other_rows), **TOLERANCE)


def test_a_booster_that_never_was_a_file(format_models, other_rows):
    model = format_models["3 tasks"]
    trees = treelite.frontend.from_lightgbm(model.to_lightgbm())
    assert_allclose(columns_of(trees, other_rows), model.predict_proba(other_rows), **TOLERANCE)
    assert np.ptp(model.predict_proba(other_rows)) > 0.5  # they are no constants
