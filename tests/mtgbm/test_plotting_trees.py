"""Drawn trees against the table of their nodes, and a layout in which nothing overlaps."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtgbm import MultiTaskLGBMClassifier
from mtgbm.plotting import TreeDisplay, TreeNode
from mtgbm.plotting.tree_nodes import place_nodes

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TASKS = ["click", "buy", "return"]
WHOLE = 100  # deeper than any tree here


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    """Three tasks over numbers, some missing, and a categorical column."""
    rng = np.random.default_rng(0)
    color = rng.choice(["crimson", "green", "blue", "ultramarine_dark", "ochre"], 1500)
    X = pd.DataFrame({"price": rng.normal(size=1500), "age": rng.exponential(size=1500)})
    X["color"] = pd.Categorical(color)
    warm = np.isin(color, ["crimson", "ochre"])
    signal = np.column_stack([X["price"], X["age"] - 1 + warm, 2 * warm - X["price"]])
    Y = pd.DataFrame((signal + rng.normal(size=signal.shape) > 0.5).astype(int), columns=TASKS)
    X.loc[rng.random(1500) < 0.2, "price"] = np.nan
    growth = {"n_estimators": 4, "num_leaves": 12, "max_cat_to_onehot": 1, "cat_smooth": 0}
    return MultiTaskLGBMClassifier(min_data_per_group=10, random_state=0, **growth).fit(X, Y)


def table_of(model, tree):
    table = model.trees_to_dataframe()
    return table[table["tree"] == tree].set_index("node")


def values_of(table, tasks=TASKS):
    return table[[f"value_{task}" for task in tasks]].to_numpy()


def drawn_values(display, place):
    return np.array([bar.get_width() for bar in display.bars_[place]]) * display.scale_


def leaves_below(table, place):
    if pd.isna(table.loc[place, "left"]):
        return [place]
    children = table.loc[place, ["left", "right"]]
    return [leaf for child in children for leaf in leaves_below(table, child)]


@pytest.mark.parametrize("tree", [0, 2, -1])
def test_a_whole_tree_is_that_of_the_table(model, tree):
    table = table_of(model, tree % 4)
    display = TreeDisplay.from_estimator(model, tree, max_depth=WHOLE)
    splits = table[table["leaf"].isna()]
    assert sorted(display.boxes_) == splits.index.tolist()
    assert sorted(display.bars_) == table.index[table["leaf"].notna()].tolist()
    for place, row in splits.iterrows():
        question, below = display.boxes_[place].get_text().split("\n")
        missing = "yes" if row["missing"] == "left" else "no"
        assert below == f"{row['count']:,} rows, missing: {missing}"
        assert question.startswith(f"{row['feature']} ")
        if row["categories"] is None:
            assert float(question.partition(" <= ")[2]) == pytest.approx(row["threshold"], rel=1e-3)
        else:
            assert row["categories"][0][:6] in question  # long names lose their middle
    for place, bars in display.bars_.items():
        assert len(bars) == 3
        np.testing.assert_allclose(drawn_values(display, place), values_of(table)[place])
        count = table.loc[place, "count"]
        assert display.headers_[place].get_text() == f"leaf\n{count:,} rows"


def test_the_model_has_every_kind_of_split(model):
    table = model.trees_to_dataframe()
    assert table["categories"].notna().any()
    assert set(table["missing"].dropna()) == {"left", "right"}


@pytest.mark.parametrize("max_depth", [0, 1, 2])
def test_a_cut_split_stands_for_the_leaves_below(model, max_depth):
    table = table_of(model, 0)
    display = TreeDisplay.from_estimator(model, max_depth=max_depth)
    assert max(table.loc[list(display.bars_), "depth"]) == max_depth
    covered = []
    for place in display.bars_:
        leaves = leaves_below(table, place)
        covered += leaves
        expected = np.average(
            values_of(table.loc[leaves]), axis=0, weights=table.loc[leaves, "count"]
        )
        np.testing.assert_allclose(drawn_values(display, place), expected)
        header = "leaf" if leaves == [place] else f"… {len(leaves)} leaves"
        assert display.headers_[place].get_text().startswith(f"{header}\n")
    assert sorted(covered) == table.index[table["leaf"].notna()].tolist()


def test_bars_share_a_scale_and_diverge_in_colour(model):
    display = TreeDisplay.from_estimator(model, max_depth=WHOLE)
    bars = [bar for container in display.bars_.values() for bar in container]
    widths = np.array([bar.get_width() for bar in bars])
    assert np.abs(widths).max() < 0.65  # half a frame
    for bar, width in zip(bars, widths, strict=True):
        red, _, blue, _ = bar.get_facecolor()
        assert (blue > red) == (width > 0)
    # The key says what the longest bar stands for, and names every task once.
    texts = [text.get_text() for text in display.ax_.texts]
    largest = np.abs(values_of(table_of(model, 0))[list(display.bars_)]).max()
    assert {f"{largest:+.2g}", f"{-largest:+.2g}", "score"} <= set(texts)
    assert [texts.count(task) for task in TASKS] == [1, 1, 1]


def test_probabilities_are_those_of_a_model_of_this_leaf_alone(model):
    display = TreeDisplay.from_estimator(model, 1, max_depth=WHOLE, probability=True)
    values, base = values_of(table_of(model, 1)), model.forest_.base_score
    for place in display.bars_:
        expected = expit(base + values[place]) - expit(base)
        np.testing.assert_allclose(drawn_values(display, place), expected)
    assert "probability" in [text.get_text() for text in display.ax_.texts]


@pytest.mark.parametrize(
    ("tasks", "names"), [(["return", 0], ["return", "click"]), ("buy", ["buy"]), (-1, ["return"])]
)
def test_chosen_tasks(model, tasks, names):
    display = TreeDisplay.from_estimator(model, tasks=tasks, max_depth=WHOLE)
    assert display.output_names == names
    expected = values_of(table_of(model, 0), names)
    for place in display.bars_:
        np.testing.assert_allclose(drawn_values(display, place), expected[place])


def test_multiclass_tasks_have_a_bar_for_each_class():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 2))
    Y = np.column_stack([X[:, 0] > 0, np.digitize(X[:, 1], [-0.5, 0.5])])
    objective = ["binary", "multiclass"]
    model = MultiTaskLGBMClassifier(n_estimators=2, objective=objective).fit(X, Y)
    display = TreeDisplay.from_estimator(model, tasks="task_1", max_depth=WHOLE, probability=True)
    assert len(display.output_names) == 3
    assert all(name.startswith("task_1=") for name in display.output_names)
    tree, base = model.forest_.trees[0], model.forest_.base_score[1:]
    for place in display.bars_:
        raw = base + tree.values[tree.nodes["leaf"][place], 1:]
        expected = softmax(raw) - softmax(base)
        np.testing.assert_allclose(drawn_values(display, place), expected, atol=1e-12)


# Layout -------------------------------------------------------------------------------------


@st.composite
def random_trees(draw):
    """Nodes grown by splitting one leaf after the other, as a grower appends them."""
    yes, no, depth = [-1], [-1], [0]
    for _ in range(draw(st.integers(0, 15))):
        leaves = [place for place in range(len(yes)) if yes[place] < 0]
        parent = draw(st.sampled_from(leaves))
        yes[parent], no[parent] = len(yes), len(yes) + 1
        yes, no, depth = yes + [-1] * 2, no + [-1] * 2, depth + [depth[parent] + 1] * 2
    nothing = np.zeros(1)
    return [
        TreeNode(
            depth=depth[place], n_rows=1, n_leaves=1, values=nothing, yes=yes[place], no=no[place]
        )
        for place in range(len(yes))
    ]


@settings(max_examples=60, deadline=None)
@given(nodes=random_trees(), max_depth=st.integers(0, 6))
def test_ends_are_evenly_spaced_and_parents_centred(nodes, max_depth):
    columns = place_nodes(nodes, max_depth)

    def ends_below(place):
        node = nodes[place]
        if node.is_leaf or node.depth == max_depth:
            return [place]
        return ends_below(node.yes) + ends_below(node.no)

    ends = ends_below(0)
    assert [columns[place] for place in ends] == list(range(len(ends)))
    inner = [place for place in columns if place not in ends]
    for place in inner:
        assert columns[place] == (columns[nodes[place].yes] + columns[nodes[place].no]) / 2
    assert len(columns) == len(ends) + len(inner) == 2 * len(ends) - 1


@pytest.mark.parametrize("max_depth", [3, 4])
def test_ten_tasks_and_31_leaves_do_not_overlap(max_depth):
    rng = np.random.default_rng(2)
    features = [f"a_feature_with_quite_a_long_name_{f}" for f in range(12)]
    X = pd.DataFrame(rng.normal(size=(3000, 12)), columns=features)
    signal = X.to_numpy()[:, :10] + X.to_numpy()[:, 1:11] + rng.normal(size=(3000, 10))
    Y = pd.DataFrame(signal > 0, columns=[f"rather_long_task_{t}" for t in range(10)]).astype(int)
    model = MultiTaskLGBMClassifier(n_estimators=1, random_state=0).fit(X, Y)
    assert model.forest_.trees[0].n_leaves == 31
    display = TreeDisplay.from_estimator(model, max_depth=max_depth)
    display.figure_.canvas.draw()
    boxes = [text.get_bbox_patch().get_window_extent() for text in display.boxes_.values()]
    frames = [patch.get_window_extent() for patch in display.ax_.patches if patch.get_width() > 1]
    assert len(frames) == len(display.bars_)
    names = [t.get_window_extent() for t in display.ax_.texts if t.get_text() in list(Y.columns)]
    assert len(names) == 10
    extents = [box.extents for box in [*boxes, *frames, *names]]
    figure = display.figure_.bbox
    for number, (x0, y0, x1, y1) in enumerate(extents):
        assert min(x0, y0) >= 0
        assert x1 <= figure.width
        assert y1 <= figure.height
        for left, low, right, high in extents[:number]:
            assert right <= x0 or x1 <= left or high <= y0 or y1 <= low
    for place, header in display.headers_.items():
        assert header.get_window_extent().width < 100 * 1.1, place


def test_given_axes_are_used(model):
    figure, ax = plt.subplots()
    display = TreeDisplay.from_estimator(make_pipeline(StandardScaler(), model), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


# Words --------------------------------------------------------------------------------------


def split(**changes):
    plain = {"depth": 0, "n_rows": 9, "n_leaves": 2, "values": np.zeros(1), "yes": 1, "no": 2}
    return TreeNode(**plain | {"feature": "color", "missing": "no"} | changes)


def test_long_questions_are_abbreviated():
    number = split(feature="a_feature_with_quite_a_long_name", threshold=0.123456)
    assert number.question() == "a_feature_with_quite_a_long_name <= 0.1235"
    assert len(number.question(20)) == 20
    assert number.question(20) == "a_feat…ame <= 0.1235"
    few = split(categories=("red", "blue"))
    assert few.question(34) == few.question() == "color in red, blue"
    many = split(categories=("ultramarine_dark", *map(str, range(30))))
    short = many.question(34)
    assert short.startswith("color in ultram…ark, 0, 1")
    n_shown = short.count(", ")
    assert short.endswith(f"+{31 - n_shown}")
    assert len(short) <= 34
    assert many.question().count(", ") == 30


def test_dot_holds_the_whole_tree(model):
    table = table_of(model, 0)
    dot = TreeDisplay.from_estimator(model, max_depth=1).to_dot()
    assert dot.startswith("digraph tree {")
    assert dot.endswith("}\n")
    edges = re.findall(r"^  (\d+) -> (\d+) \[label=\"(yes|no)\"\];$", dot, re.MULTILINE)
    splits = table[table["leaf"].isna()]
    expected = [
        (str(place), str(row[side]), answer)
        for place, row in splits.iterrows()
        for side, answer in (("left", "yes"), ("right", "no"))
    ]
    assert edges == expected
    labels = dict(re.findall(r'^  (\d+) \[label="(.*)"\];$', dot, re.MULTILINE))
    assert len(labels) == len(table)
    leaf = table.index[table["leaf"].notna()][0]
    lines = labels[str(leaf)].split("\\n")
    assert lines[0] == f"{table.loc[leaf, 'count']:,} rows"
    for task, line in zip(TASKS, lines[1:], strict=True):
        assert line == f"{task}: {table.loc[leaf, f'value_{task}']:+.4g}"


def test_dot_escapes_quotes_and_backslashes():
    leaves = [TreeNode(1, 3, 1, np.zeros(1)), TreeNode(1, 6, 1, np.zeros(1))]
    nodes = [split(feature='a"b\\c', threshold=1.0), *leaves]
    label = r'"a\"b\\c <= 1\n9 rows, missing: no"'
    assert f"  0 [label={label}];" in TreeDisplay(nodes, ["click"]).to_dot()


# Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tree_index": 4}, r"from 0 to 3, the model having 4 tree\(s\), or from -4 to -1.*got 4"),
        ({"tree_index": -5}, "got -5"),
        ({"tree_index": 1.0}, "tree_index must be an integer"),
        ({"tasks": ["clik"]}, "unknown tasks 'clik'; did you mean 'click'"),
        ({"tasks": [7]}, "tasks=7 but there are 3 tasks"),
        ({"tasks": []}, "tasks is empty"),
        ({"max_depth": -1}, "max_depth must be at least 0, got -1"),
    ],
)
def test_bad_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        TreeDisplay.from_estimator(model, **options)


def test_models_without_trees():
    with pytest.raises(NotFittedError):
        TreeDisplay.from_estimator(MultiTaskLGBMClassifier())
    rng = np.random.default_rng(3)
    model = MultiTaskLGBMClassifier(n_estimators=1).fit(
        rng.normal(size=(50, 2)), np.eye(2)[[0, 1] * 25]
    )
    model.forest_.trees.clear()
    with pytest.raises(ValueError, match="no trees, only base scores; there is nothing to draw"):
        TreeDisplay.from_estimator(model)
