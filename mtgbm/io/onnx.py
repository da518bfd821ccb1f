"""A fitted model, or a pipeline that ends in one, as an ONNX file.

`_onnx_trees.py` says how trees look there, `_onnx_preprocessing.py` how the steps in front do.
"""

import json

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from mtgbm.io._onnx_graph import Column, Graph
from mtgbm.io._onnx_preprocessing import SUPPORTED, category_numbers, transformed
from mtgbm.io._onnx_trees import add_scores
from mtgbm.io.container_writer import replace_file
from mtgbm.model_state import installed_version
from mtgbm.parameters import choose
from mtgbm.task_hierarchy import TaskHierarchy

DTYPES = {"float64": "float64", "float32": "float32"}
SCORES, PROBABILITIES = "scores", "probabilities"
#: Who reads columns last, for errors.
READER = "the classifier"


def to_onnx(estimator, path=None, *, dtype="float64"):
    """Write a fitted estimator, with the steps in front of it, as one ONNX model.

    Any ONNX runtime then scores raw rows without Python's libraries. Operators are those of
    ai.onnx 21 and ai.onnx.ml 5 (IR version 10), which onnxruntime knows since 1.21.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier or sklearn.pipeline.Pipeline
        Fitted. The steps of a pipeline before the classifier may be RiskTableEncoder,
        MissingValueImputer, "passthrough", and ColumnTransformer or Pipeline of these.
    path : str or path-like, optional
        Where to write the file; one that is there is replaced in one step.
    dtype : {"float64", "float32"}
        Of the numbers in the inputs. All arithmetic is in float64: with "float32" the file gives
        what the estimator gives for a float32 table.

    Returns
    -------
    onnx.ModelProto
        Checked by ``onnx.checker``.

    Raises
    ------
    ImportError
        If onnx is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator, or a step, is of another class.
    ValueError
        If a column has both numbers and text as categories, has no name, or has that of an output.
    OSError
        If the file cannot be written.

    Notes
    -----
    *Inputs.* Without column names and text, one tensor ``X`` of shape (n_rows, n_features). Else
    one of shape (n_rows, 1) for each column under its name (x0, x1, ... if it has none): numbers,
    or text if its categories are. Columns that no step reads are no inputs.

    *Missing values.* NaN in numbers. Text has no NaN: the empty text stands for it. Categories that
    were not seen in `fit` count as in the estimator. To an empty text that was itself a category,
    only an imputer applies.

    *Outputs*, in float64: ``scores``, the `raw_predict` of the classifier, and its `predict_proba`
    as ``probabilities``, or ``probabilities_<task>`` for each task if that is a list.

    *Differences.* Where the estimator refuses infinite numbers, the file takes them for very large
    ones. Sums may differ in the last bits: runtimes choose the order.

    *Metadata* of the file: ``mtgbm_version``, and in JSON ``task_names``, ``classes`` of each task,
    and ``feature_names``, those of the inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> from mtgbm.io.onnx import to_onnx
    >>> X = np.arange(100.0).reshape(-1, 1)
    >>> Y = np.hstack([X > 30, X > 60]).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y)
    >>> [output.name for output in to_onnx(model).graph.output]
    ['probabilities', 'scores']
    """
    onnx = _import_onnx()
    dtype = choose("dtype", dtype, DTYPES)
    steps, model = _steps_and_model(estimator)
    model.forest_.check()
    first = steps[0][1] if steps else model
    names, n_columns = getattr(first, "feature_names_in_", None), first.n_features_in_
    sizes = _output_sizes(model)
    graph = Graph(None if names is None else [*map(str, names)], n_columns, dtype, list(sizes))
    columns = graph.columns
    for name, step in steps:
        columns = transformed(graph, name, step, columns)
    columns = _numbered_categories(graph, model, columns)
    add_scores(graph, model.forest_, _n_categories(model), graph.matrix(columns, READER), SCORES)
    _add_probabilities(graph, model)
    proto = graph.finish(sizes, _metadata(model, graph))
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        replace_file(path, [proto.SerializeToString()])
    return proto


def add_forest(graph, model, blocks, codes):
    """Append the nodes of a classifier whose features others have computed.

    Parameters
    ----------
    graph : Graph
    model : MultiTaskLGBMClassifier
        Fitted on an array, whose last columns are its categorical features.
    blocks : list of Column
        All other features side by side, NaN where missing; a block may be several columns wide.
    codes : list of Column
        The categorical features, one column each.

    Returns
    -------
    str
        The scores, (n_rows, n_outputs) in float64.
    """
    bins, first = model._mapper.categories_, model.n_features_in_ - len(codes)
    numbered = [
        _bin_numbers(graph, column, bins[feature], None)
        for feature, column in enumerate(codes, start=first)
    ]
    matrix = graph.matrix([*blocks, *numbered], READER)
    return add_scores(graph, model.forest_, _n_categories(model), matrix)


def _n_categories(model):
    """Bins of each categorical feature."""
    return {feature: len(bins) for feature, bins in model._mapper.categories_.items()}


def _import_onnx():
    try:
        import onnx.checker
    except ImportError as error:
        raise ImportError("to_onnx needs onnx: pip install 'mtgbm[onnx]'.") from error
    return onnx


def _steps_and_model(estimator):
    """The steps that do something, as (name, step), and the classifier behind them."""
    from mtgbm import MultiTaskLGBMClassifier  # which imports this module

    steps, model = [], estimator
    if isinstance(estimator, Pipeline):
        *steps, (_, model) = estimator.steps
        steps = [(name, step) for name, step in steps if step not in (None, "passthrough")]
    if not isinstance(model, MultiTaskLGBMClassifier):
        what = "a pipeline that ends in" if isinstance(estimator, Pipeline) else ""
        raise TypeError(
            "to_onnx takes a MultiTaskLGBMClassifier, or a Pipeline of "
            f"{SUPPORTED} that ends in one; got {what} a {type(model).__name__}."
        )
    check_is_fitted(model)
    return steps, model


def _numbered_categories(graph, model, columns):
    """The columns with categories as bin numbers."""
    bins = model._mapper.categories_
    if not bins:
        return columns
    return [
        _bin_numbers(graph, column, bins[feature], model._reader.categories_.get(feature))
        if feature in bins
        else column
        for feature, column in enumerate(columns)
    ]


def _bin_numbers(graph, column, bins, frame_categories):
    """A categorical column; what has no bin gets the number behind the last.

    Parameters
    ----------
    graph : Graph
    column : Column
    bins : ndarray of float64
        The category of each bin: for a DataFrame its position in `frame_categories`.
    frame_categories : list or None
    """
    numbers = {category: number for number, category in enumerate(bins.tolist())}
    if frame_categories is not None:
        numbers = {
            category: numbers[position]
            for position, category in enumerate(frame_categories)
            if position in numbers
        }
    cells = category_numbers(graph, column, numbers, len(bins), READER)
    return Column(column.label, cells, "number")


# Outputs ----------------------------------------------------------------------------------------


def _is_one_table(model):
    """Whether probabilities are one array, a column for each of several binary tasks."""
    return not (model._encoder.is_1d_ or isinstance(model.classes_, list))


def _output_sizes(model):
    """Columns of each output by its name."""
    if _is_one_table(model):
        return {PROBABILITIES: model.n_tasks_, SCORES: model.forest_.n_outputs}
    sizes = [len(classes) for classes in model._encoder.classes_]
    names = _probability_names(model)
    return {**dict(zip(names, sizes, strict=True)), SCORES: model.forest_.n_outputs}


def _probability_names(model):
    if model._encoder.is_1d_:
        return [PROBABILITIES]
    return [f"{PROBABILITIES}_{name}" for name in model.task_names_]


def _add_probabilities(graph, model):
    """Append the links, which have the shapes of `predict_proba`."""
    if _is_one_table(model) and not model.task_hierarchy:
        graph.add("Sigmoid", SCORES, output=PROBABILITIES)
        return
    tasks, outputs_of_task = model._encoder.tasks_, model._objective.outputs_of_task
    linked = [
        _linked(graph, task, outputs) for task, outputs in zip(tasks, outputs_of_task, strict=True)
    ]
    if model.task_hierarchy:
        for child, parent in TaskHierarchy(model.task_hierarchy, tasks).links():
            linked[child] = graph.add("Min", linked[child], linked[parent])
    if _is_one_table(model):
        graph.add("Concat", *linked, axis=1, output=PROBABILITIES)
        return
    names = _probability_names(model)
    for name, own, task, classes in zip(names, linked, tasks, model._encoder.classes_, strict=True):
        _add_classes(graph, own, task.kind, len(classes), name)


def _linked(graph, task, outputs):
    """Probability of the second class of a binary task, of each class of a multiclass one."""
    scores = graph.add("Gather", SCORES, graph.constant(np.array(outputs)), axis=1)
    if task.kind == "binary":
        return graph.add("Sigmoid", scores)
    return graph.add("Softmax", scores, axis=1)


def _add_classes(graph, linked, kind, n_classes, output):
    """A column for each class; a task with one class is certain."""
    one = graph.constant(np.ones((1, 1)))
    if n_classes == 1:
        first = graph.add("Gather", linked, graph.constant(np.array([0])), axis=1)
        graph.add("Add", graph.add("Sub", first, first), one, output=output)
    elif kind == "binary":
        graph.add("Concat", graph.add("Sub", one, linked), linked, axis=1, output=output)
    else:
        graph.add("Identity", linked, output=output)


def _metadata(model, graph):
    classes = [own.tolist() for own in model._encoder.classes_]
    return {
        "mtgbm_version": installed_version(),
        "task_names": json.dumps(model.task_names_),
        "classes": json.dumps(classes),
        "feature_names": json.dumps([column.label for column in graph.columns]),
    }
