"""What the loaders share: the late import of pandas, and the Bunch that they return."""

from importlib import import_module, resources

from sklearn.utils import Bunch

DATA = resources.files("mtgbm.datasets") / "data"


def import_for(loader, module, install):
    """Import `module`, which only `loader` needs; `install` is what pip must be given."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{loader} needs {module}, which could not be imported ({error}). "
            f"Install it: pip install {install}"
        ) from error


def as_bunch(data, target, description, main_task):
    """Pack a table and its labels, closing the description with the prevalence of each task."""
    return Bunch(
        data=data,
        target=target,
        target_names=list(target.columns),
        feature_names=list(data.columns),
        categorical_names=[name for name, column in data.items() if not is_number(column)],
        main_task=main_task,
        DESCR=(DATA / description).read_text(encoding="utf-8") + prevalence_table(target),
    )


def is_number(column):
    return column.dtype.kind in "if"


def prevalence_table(target):
    """The rows loaded, then for each task how many are labelled and which share is positive."""
    rule = f"{'=' * 12} {'=' * 8} {'=' * 8}"
    rows = [
        f"{name:12} {labels.count():8d} {labels.mean():8.4f}" for name, labels in target.items()
    ]
    head = [f"Rows loaded: {len(target)}", "", rule, f"{'task':12} labelled positive", rule]
    return "\n".join([*head, *rows, rule, ""])
