"""skops reads and writes fitted models, once the reader says that it trusts our classes."""

import numpy as np
import pytest
import skops.io
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline

from mtgbm import MissingValueImputer, RiskTableEncoder
from mtgbm.datasets import load_flights
from mtgbm.weighting import FixedWeighting

CLASSIFIER = {
    "mtgbm.engine.binning.BinMapper",
    "mtgbm.engine.tree.Forest",
    "mtgbm.engine.tree.Tree",
    "mtgbm.estimators.MultiTaskLGBMClassifier",
    "mtgbm.features.FeatureReader",
    "mtgbm.labels.LabelEncoder",
    "mtgbm.objectives.composite.Task",
    "mtgbm.objectives.composite.TaskObjectives",
}
BINARY = {"mtgbm.objectives.binary.BinaryObjective"}
MULTICLASS = {"mtgbm.objectives.multiclass.MulticlassObjective"}
STEPS = {
    "mtgbm.preprocessing._imputer.MissingValueImputer",
    "mtgbm.preprocessing._risk_table.RiskTableEncoder",
    "mtgbm.weighting.fixed.FixedWeighting",
}


def reload(estimator, trusted):
    content = skops.io.dumps(estimator)
    assert set(skops.io.get_untrusted_types(data=content)) == trusted
    return skops.io.loads(content, trusted=sorted(trusted))


def test_a_pipeline(make_model):
    X, Y = load_flights(return_X_y=True)
    steps = MissingValueImputer(), RiskTableEncoder(random_state=0)
    pipeline = make_pipeline(*steps, make_model(weighting=FixedWeighting()))
    pipeline.fit(X[:2000], Y[:2000])
    loaded = reload(pipeline, CLASSIFIER | BINARY | STEPS)
    assert_array_equal(loaded.predict_proba(X[-500:]), pipeline.predict_proba(X[-500:]))


def test_several_kinds_of_tasks_and_categories(make_data, make_model):
    X, Y = make_data(n_tasks=2)
    X[:, 0] = np.digitize(X[:, 0], [-1, 0, 1])
    Y[:, 1] += Y[:, 0]
    model = make_model(categorical_feature=[0], objective=["binary", "multiclass"]).fit(X, Y)
    loaded = reload(model, CLASSIFIER | BINARY | MULTICLASS)
    assert_array_equal(loaded.raw_predict(X), model.raw_predict(X))
    assert loaded.task_names_ == model.task_names_


def test_a_reader_that_does_not_trust_us(make_data, make_model):
    content = skops.io.dumps(make_model().fit(*make_data()))
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.loads(content, trusted=sorted(BINARY))
