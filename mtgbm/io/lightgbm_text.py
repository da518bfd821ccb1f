"""Models as LightGBM's text files: written exactly, read back, taken over from LightGBM.

A text is scanned (`_lightgbm_scan.py`: lines), parsed (`_lightgbm_parse.py`: numbers), built
(`_lightgbm_build.py`: trees). `_lightgbm_write.py` says how ours look there, `_lightgbm_state.py`
what the file holds beside them.
"""

import os
import stat
from pathlib import Path

from sklearn.utils.validation import check_is_fitted

from mtgbm.io._lightgbm_foreign import build_foreign, read_frame_categories
from mtgbm.io._lightgbm_parse import parse_header, parse_rounds
from mtgbm.io._lightgbm_scan import LightGBMFormatError, scan
from mtgbm.io._lightgbm_state import END, START, build_estimator, state_lines
from mtgbm.io._lightgbm_write import text_model

__all__ = [
    "LightGBMFormatError",
    "from_lightgbm",
    "read_lightgbm",
    "to_lightgbm",
    "write_lightgbm",
]


def write_lightgbm(estimator, path=None):
    """Write a fitted estimator as a LightGBM v4 text model.

    LightGBM, and what reads its files, then computes `raw_predict` to the last bit from the float
    matrix that the estimator sees: an array as it is, a DataFrame with its categories numbered.
    LightGBM's Python package does this numbering itself if the categorical columns of the DataFrame
    are those of categorical dtype. The tasks become

    ==========================  =====================  ======================================
    tasks                       objective              LightGBM's prediction
    ==========================  =====================  ======================================
    one binary                  binary                 P(second class)
    several binary              multiclassova          the probabilities of `predict_proba`
    one multiclass              multiclass             the probabilities of `predict_proba`
    several, some multiclass    none                   `raw_predict`: LightGBM has no link for
                                                       them, so apply softmax to the columns of
                                                       each multiclass task
    ==========================  =====================  ======================================

    LightGBM knows no `task_hierarchy`: where its parent is less probable, a child's probability has
    to be lowered to that by whoever reads the file. `read_lightgbm` brings it back.

    Exceptions to "the last bit": values nearer to 0 than 1e-35, which LightGBM takes for 0, and
    numbers in a categorical column that are not whole, which it cuts off.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted.
    path : str or path-like, optional
        Where to write the text. lightgbmmt_model.txt is a usual name.

    Returns
    -------
    str
        The text.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If a category is no whole number from 0 to 100,000: LightGBM knows no others.
    TypeError
        If a parameter is an object that a text cannot hold, a weighting of your own for instance;
        ``to_lightgbm(estimator).save_model(path)`` writes the trees alone.

    Notes
    -----
    Signs that LightGBM does not take in feature names (blanks, commas, quotes, brackets, colons,
    equals signs, backslashes) become underscores; `read_lightgbm` gives the names back as they
    were.

    Examples
    --------
    >>> import numpy as np
    >>> from mtgbm import MultiTaskLGBMClassifier
    >>> X = np.arange(100.0).reshape(-1, 1)
    >>> Y = np.hstack([X > 30, X > 60]).astype(float)
    >>> model = MultiTaskLGBMClassifier(n_estimators=5).fit(X, Y)
    >>> text = write_lightgbm(model)
    >>> text.splitlines()[:3]
    ['tree', 'version=v4', 'num_class=2']
    >>> np.array_equal(read_lightgbm(text).predict_proba(X), model.predict_proba(X))
    True
    """
    text = _checked_text(estimator, with_state=True)
    if path is not None:
        Path(path).write_bytes(text.encode())
    return text


def to_lightgbm(estimator):
    """The model as a LightGBM Booster.

    Parameters
    ----------
    estimator : MultiTaskLGBMClassifier
        Fitted.

    Returns
    -------
    lightgbm.Booster
        What it predicts is said under `write_lightgbm`.

    Raises
    ------
    ImportError
        If lightgbm is not installed.
    NotFittedError, ValueError
        As `write_lightgbm`.
    """
    try:
        from lightgbm import Booster
    except ImportError as error:
        raise ImportError(
            "to_lightgbm needs lightgbm: pip install 'mtgbm[lightgbm]'. write_lightgbm does not."
        ) from error
    return Booster(model_str=_checked_text(estimator, with_state=False))


def _checked_text(estimator, *, with_state):
    """The text of a model that holds together: LightGBM ends the process if one does not."""
    check_is_fitted(estimator)
    estimator.forest_.check()
    return text_model(estimator, state_lines(estimator) if with_state else "")


def read_lightgbm(source):
    """Read the estimator that `write_lightgbm` wrote.

    Parameters
    ----------
    source : str or path-like
        A path, or the text itself.

    Returns
    -------
    MultiTaskLGBMClassifier
        Predicts the same bits as the one that was written, has the same parameters, and can be
        explained, refitted, and continued with ``warm_start``.

    Raises
    ------
    LightGBMFormatError
        A ValueError that names the line and the field: if the file is damaged, or was not written
        by mtgbm.
    OSError
        If there is no such file or it may not be read.
    """
    return _read(source, _build_own)


def from_lightgbm(source):
    """Take over a model that LightGBM trained.

    Parameters
    ----------
    source : lightgbm.Booster, lightgbm.LGBMClassifier, str or path-like
        A model, a path of a text model, or the text itself.

    Returns
    -------
    MultiTaskLGBMClassifier
        ``raw_predict`` gives LightGBM's raw scores to the last bit. A binary model becomes one
        task, a multiclassova model a binary task for each class, a multiclass model one multiclass
        task. Parameters are the defaults, except `n_estimators`; ``warm_start`` goes on with the
        bins between the thresholds that the model has.

    Raises
    ------
    LightGBMFormatError
        A ValueError: for other objectives, trees of a round with different splits, linear leaves,
        random forests, zero_as_missing, more than 255 bins of a feature, or a damaged file.
    OSError
        If there is no such file or it may not be read.

    Notes
    -----
    The trees of a round share their splits in models that mtgbm wrote, and in binary ones. The
    trees that LightGBM trains for several classes do not.
    """
    classes = None
    if hasattr(source, "booster_"):
        source, classes = source.booster_, source.classes_
    if hasattr(source, "model_to_string"):
        source = source.model_to_string()
    return _read(source, lambda scanned: _build_any(scanned, classes))


def _build_own(scanned):
    section = scanned.block(START, END)
    if section is None:
        raise LightGBMFormatError(
            f"line {scanned.trailer[-1][0] if scanned.trailer else 1}: expected the section "
            f"{START!r} that write_lightgbm adds, found none; read LightGBM's own models with "
            "from_lightgbm."
        )
    read_frame_categories(scanned)  # which only LightGBM needs
    header = parse_header(scanned)
    return build_estimator(section, parse_rounds(scanned, header), header)


def _build_any(scanned, classes):
    if scanned.block(START, END) is not None:
        return _build_own(scanned)
    header = parse_header(scanned)
    return build_foreign(scanned, header, parse_rounds(scanned, header), classes)


def _read(source, build):
    """Scan and build a text, or a file, whose name is put before what is wrong with it."""
    if isinstance(source, str) and (not source or "\n" in source):
        return build(scan(source.encode(errors="surrogatepass")))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "expected a path or the text of a LightGBM model (or, in from_lightgbm, a Booster), "
            f"got {type(source).__name__}."
        )
    try:
        return build(scan(_read_bytes(source)))
    except LightGBMFormatError as error:
        raise LightGBMFormatError(f"cannot read {os.fspath(source)}: {error}") from None


def _read_bytes(path):
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):  # to open a pipe would wait for ever
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise LightGBMFormatError(f"expected a file, found {found}; name the model in it.")
    return Path(path).read_bytes()
