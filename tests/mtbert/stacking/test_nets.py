"""Which net scores which row; nets that only remember rows stand for real ones."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mtbert.labelled_table import LabelledTable
from mtbert.stacking.embedding import EmbeddingAxes
from mtbert.stacking.nets import CrossFittedNets, TrainedNet


class Reader:
    """Reads a table as the numbers in it."""

    def transform(self, X):
        return X["id"].to_numpy()


@pytest.fixture
def table():
    labels = (np.arange(11) % 2)[:, None].astype(np.int16)
    return LabelledTable(pd.DataFrame({"id": np.arange(11) * 10}), labels, np.ones((11, 1)))


def remembering_net(table, scored=None):
    """A net that knows the rows it has learned from; it notes those that it scores."""
    learned = Reader().transform(table.X)

    def run(rows, embed=False):
        if not embed and scored is not None:
            scored.append((set(learned), set(rows)))
        return rows[:, None].astype(np.float32) + ([0.0, 1.0] if embed else [0.0])

    return TrainedNet(Reader(), learned, run)


def test_no_net_scores_a_row_that_it_has_learned_from(table):
    fold_of, scored, numbers, said = np.arange(11) % 3, [], [], []

    def train(part, number):
        numbers.append(number)
        return remembering_net(part, scored)

    nets = CrossFittedNets(train).fit(table, fold_of, remembering_net(table), said.append)
    assert numbers == [0, 1, 2]
    assert all(not learned & seen for learned, seen in scored)
    assert all(learned | seen == set(range(0, 110, 10)) for learned, seen in scored)
    assert sorted(row for _, seen in scored for row in seen) == list(range(0, 110, 10))
    assert_array_equal(nets.scores_[:, 0], np.arange(11) * 10)
    assert [line.split(",")[0] for line in said] == [f"stacking: net {n} of 3" for n in (1, 2, 3)]


def test_embeddings_are_laid_in_the_axes_of_the_net_of_all_rows(table):
    net = remembering_net(table)
    axes = EmbeddingAxes(1).fit(net.run(net.rows, embed=True))
    train = lambda part, number: remembering_net(part)  # noqa: E731
    nets = CrossFittedNets(train, axes).fit(table, np.arange(11) % 3, net, lambda text: None)
    expected = axes.transform(net.run(net.rows, embed=True))
    np.testing.assert_allclose(nets.places_, expected, rtol=0.01, atol=0.5)
