"""The checks of scikit-learn: as they are, and with a table made of their arrays.

They hand over arrays, and the classifier takes tables. So each check runs twice: on the classifier
itself, where one that needs data must stop at the first array, and on `OnArrays`, which turns the
first column of an array into text. docs/mtbert.rst has the table.
"""

from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_array

from mtbert import MultimodalTextTabularClassifier

WITHOUT_DATA = {
    "check_decision_proba_consistency",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_non_transformer_estimators_n_iter",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_transformer_n_iter",
    "check_transformers_unfitted",
    "check_valid_tag_types",
}
NO_DECISION_FUNCTION = "check_classifiers_multilabel_output_format_decision_function"
NUMBER_OF_FEATURES = "check_n_features_in_after_fitting"
WEIGHTS_AS_REPETITIONS = "check_sample_weight_equivalence_on_dense_data"


class AsItIs(MultimodalTextTabularClassifier):
    """Says that it takes arrays; of a classifier that does not, scikit-learn runs one check."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class OnArrays(AsItIs):
    def fit(self, X, y, sample_weight=None, **rest):
        return super().fit(as_table(X), y, sample_weight, **rest)

    def partial_fit(self, X, y, classes=None, sample_weight=None, **rest):
        return super().partial_fit(as_table(X), y, classes, sample_weight, **rest)

    def _compute(self, X, embed=False):
        return super()._compute(as_table(X), embed)


def as_table(X):
    """The numbers of an array; instead of the first column a word for each, by its size."""
    numbers = check_array(X, ensure_all_finite="allow-nan", dtype="numeric", estimator="OnArrays")
    bins = np.digitize(numbers, np.linspace(-3, 3, 13))
    words = [[f"{chr(97 + size)}{i}" for i, size in enumerate(row)] for row in bins]
    names = [f"x{i}" for i in range(numbers.shape[1])]
    table = pd.DataFrame(np.asarray(numbers), columns=names)
    return table.assign(x0=[" ".join(row) for row in words])


def tiny(cls):
    return cls(
        text_columns="x0",
        architecture="multimodal_cnn",
        network_options={
            "text__embedding_dim": 4,
            "text__n_filters": 4,
            "text__kernel_widths": (1,),
            "tabular__hidden_dims": (16,),
            "fusion__hidden_dims": (16,),
        },
        text_steps=["tokenizer"],
        epochs=8,
        batch_size=64,
        learning_rate=0.1,
        max_sen_len=32,
        random_state=0,
    )


def name_of(check):
    return check.func.__name__


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_a_classifier_of_tables_says_that_it_takes_no_arrays():
    results = check_estimator(MultimodalTextTabularClassifier(), on_skip=None)
    assert [result["status"] for result in results] == ["passed"]


@parametrize_with_checks([tiny(AsItIs)])
def test_checks_as_they_are(estimator, check):
    if name_of(check) in WITHOUT_DATA:
        check(estimator)
        return
    with pytest.raises((TypeError, AssertionError, SkipTest)) as raised:
        check(estimator)
    if raised.type is TypeError:
        assert "columns of X must be strings" in str(raised.value) or (
            "must be a pandas or polars DataFrame" in str(raised.value)
        )


@pytest.mark.filterwarnings("ignore:task .* has a single class")
@parametrize_with_checks([tiny(OnArrays)])
def test_checks_on_tables_made_of_arrays(estimator, check):
    if name_of(check) == NO_DECISION_FUNCTION:
        with pytest.raises(SkipTest, match="does not have a decision_function"):
            check(estimator)
    elif name_of(check) == NUMBER_OF_FEATURES:
        # Of a table the error names the columns that are missing; the check looks for a number.
        with pytest.raises(AssertionError, match="does not check for consistency"):
            check(estimator)
    elif name_of(check) == WEIGHTS_AS_REPETITIONS:
        # A row that comes twice meets two batches, a row of double weight one.
        with pytest.raises(AssertionError, match="not equivalent to fitting with removed or rep"):
            check(estimator)
    else:
        check(estimator)
