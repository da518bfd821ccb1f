"""The scikit-learn estimator. It reads tables and labels; the net does the learning."""

from __future__ import annotations

import copy
import importlib
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mtbert.columns import require_frame
from mtbert.explanation import explain, modality_ablation
from mtbert.fitting import Fit
from mtbert.io import load_model, save_model
from mtbert.parameters import check_parameters, refuse_to_go_on
from mtbert.runner import Runner, find_cache
from mtbert.validation import probabilities
from mtgbm.columns import validate_table


class MultimodalTextTabularClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """A neural network that learns labels from the text and the other columns of a table.

    Each text column goes through text steps and a text encoder, numbers and categories through an
    encoder of their own; a fusion joins them, a head gives the scores. All is trained together.

    Parameters
    ----------
    text_columns, numeric_columns, categorical_columns : "auto", str or list of str, default="auto"
        What the columns are; see :func:`mtbert.columns.assign_roles` for "auto". A column without
        a role is not used.
    architecture : str, default="multimodal_bert"
        A name of :data:`mtbert.modules.ARCHITECTURES`: "multimodal_bert", "multimodal_cnn",
        "multimodal_moe", "multimodal_gate_fusion", "multimodal_cross_attn", or one that reads the
        text only: "bert", "lstm".
    encoder : str, path-like, dict or PreTrainedModel, default="auto"
        Where the BERT encoder comes from, see :func:`mtbert.pretrained.find_encoder`.
        "multimodal_cnn" and "lstm" learn their own and do not look at it. Or, with
        ``shared_encoder=False``, a dict with the encoder of each text column by its name.
    shared_encoder : bool, default=True
        Whether several text columns have one text encoder instead of one each, and one vocabulary,
        if it is trained.
    encoder_cache : None, str, path-like or joblib.Memory, default=None
        Where to keep what a frozen encoder, ``network_options={"text__frozen_layers": "all"}``,
        makes of each text, for other fits, folds and predictions; see :mod:`mtbert.encoder_cache`.
        A folder stands for ``joblib.Memory(folder)``. None: a fit computes it once for itself.
    network_options : dict, default=None
        Options of the parts of the network, ``{"text__pooling": "cls"}``; see
        :func:`mtbert.modules.build_network`.
    text_steps : None, list or dict, default=None
        The steps of :func:`mtbert.text.make_text_pipeline` for all text columns, or for some by
        name; they end with "tokenizer". None: all.
    max_sen_len : int, default=None
        The most tokens of a chunk; longer text becomes several. None: what the encoder takes, at
        most 512.
    max_total_chunks : int or None, default=4
        The most chunks of a row, if "dialogue_chunker" is among the steps; None for no limit.
    vocab_size : int, default=30000
        Most entries of the vocabulary, if one is trained.
    scaling : {"quantile", "standard"}, default="quantile"
        How numeric columns are scaled; missing cells are filled by the mean and indicated.
    category_encoding : {"both", "risk", "embedding"}, default="both"
        Whether the net sees the risks of categories, learned out of fold by
        :class:`mtgbm.RiskTableEncoder`, or embeds the categories, or both.
    classes : list, default=None
        The classes of a 1-d y in the order of `classes_` and of the columns of probabilities; None
        sorts them. Scorers of scikit-learn that take probabilities expect sorted ones.
    class_weight : None, "balanced", dict or list, default=None
        Weight of each class, by label or in the order of `classes_`; of several tasks, the weight
        of label 1 of each. "balanced" gives all classes of a task the same sum of weights.
    epochs : int, default=3
        Passes over the rows.
    batch_size : int or "auto", default="auto"
        Rows that go through the network at once. "auto" trains on 8 to 32, such that an epoch has
        about 300 batches; see :func:`mtbert.batching.rows_of_batch`.
    accumulate : int, default=1
        Batches of a step of the optimizer; a step is that of one batch of all their rows.
    learning_rate : float, default=1e-3
        Of AdamW, for all but the BERT encoders.
    encoder_learning_rate : float or "auto", default="auto"
        For the highest layer of BERT encoders. "auto": 1e-4 if a step has 32 rows, and otherwise in
        proportion to the root of their number; see :func:`mtbert.training.encoder_rate`.
    layer_decay : float, default=1.0
        By which factor the learning rate shrinks with each layer below that.
    weight_decay : float, default=0.01
        Of matrices; biases and norms have none.
    warmup_share : float, default=0.1
        Share of all steps in which the learning rates rise from 0.
    schedule : {"linear", "cosine"}, default="linear"
        How they fall afterwards, to 0 at the end of `epochs`.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient of a step; None for no limit.
    early_stopping_patience : int or None, default=None
        Stop when the validation score has not improved for so many epochs, and keep the weights of
        the best.
    eval_metric : str or callable, default="logloss"
        The validation score, the mean of several tasks: "logloss", "auc", "average_precision",
        "accuracy", or a scorer of scikit-learn by name or as ``scorer(estimator, X, y)``, which
        sees class numbers as y and numbers of rows as X.
    validation_fraction : float, default=0.1
        Share of the rows held out if `fit` gets no `X_val`, for early stopping or for what joins
        the net with trees.
    stacking : {"auto", "gbdt", None}, default="auto"
        "gbdt" joins the net with gradient-boosted trees, a
        :class:`mtgbm.MultiTaskLGBMClassifier`; `predict_proba` is then that of both. "auto" does so
        in `fit` for an architecture that sees columns, if each class has five rows or more and
        `warm_start` is off; `partial_fit` goes on with the net, and leaves trees as they are.
    stacking_options : dict, default=None
        How, ``{"folds": 5, "trees": {"num_leaves": 7}}``; see
        :class:`mtbert.stacking.StackingOptions`.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        Of the forward pass; "fp16" needs a GPU. "auto" trains in "bf16" where a BERT encoder is
        trained and the processor or the GPU has instructions for it, and predicts in "fp32".
    warm_start : bool, default=False
        `fit` goes on with the network it finds, and keeps its tokenizer, scales and categories.
    checkpoint_path : str or path-like, default=None
        A file in which `fit` keeps its state, and from which it goes on, to the same network as
        without an interruption, if the file is there and of the same data and parameters. Each fit
        needs a file of its own; `partial_fit` of a fitted model writes none. Further nets of a
        stack have files beside it, whose names end in .net1, .net2, ...
    checkpoint_interval : int, default=100
        Write it after every so many steps of the optimizer, and after every epoch.
    log_dir : str or path-like, default=None
        A folder for TensorBoard: losses, learning rates, norms of gradients, validation scores.
    random_state : int, RandomState or None, default=None
        With the same one, two fits on a CPU are equal bit by bit.
    device : str, default="auto"
        A device of torch; "auto" is a GPU if there is one.
    distributed : {None, "ddp", "fsdp"}, default=None
        How the processes that torchrun has started train together: each with the whole network
        (DDP), or with a part of each parameter (FSDP). Each is given the same table and ends with
        the same network; `batch_size` is that of one process.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray
        The classes of a 1-d y; ``[0, 1]`` for each of several tasks, of shape (n_tasks, 2).
    task_names_ : list of str
        Columns of y, or task_0, task_1, ...
    roles_ : ColumnRoles
        What the columns are.
    network_ : FusionNet
    history_ : list of dict
        For each epoch of the last fit: epoch, train_loss and, with validation rows, the metric as
        ``valid_<metric>``.
    best_epoch_ : int
        The epoch, counted from 1, whose weights were kept.
    n_epochs_ : int
        Epochs of all fits that went on from each other.
    stack_ : Stack or None
        What joins the net with trees, if `stacking` says so; see :class:`mtbert.stacking.Stack`.
    n_features_in_, feature_names_in_ :
        As in every scikit-learn estimator.

    See Also
    --------
    mtgbm.MultiTaskLGBMClassifier : For tables without text.

    Examples
    --------
    >>> import pandas as pd
    >>> from mtbert import MultimodalTextTabularClassifier
    >>> X = pd.DataFrame({
    ...     "review": ["soft and warm", "too small", "warm coat", "small and thin"] * 5,
    ...     "price": [20.0, 35.0, 80.0, None] * 5,
    ... })
    >>> y = ["keep", "return", "keep", "return"] * 5
    >>> model = MultimodalTextTabularClassifier(
    ...     text_columns="review", architecture="multimodal_cnn", epochs=8, random_state=0
    ... )
    >>> model.fit(X, y).predict(X[:2]).tolist()
    ['keep', 'return']
    >>> model.transform(X).shape[0]
    20
    """

    def __init__(
        self,
        *,
        text_columns="auto",
        numeric_columns="auto",
        categorical_columns="auto",
        architecture="multimodal_bert",
        encoder="auto",
        shared_encoder=True,
        encoder_cache=None,
        network_options=None,
        text_steps=None,
        max_sen_len=None,
        max_total_chunks=4,
        vocab_size=30_000,
        scaling="quantile",
        category_encoding="both",
        classes=None,
        class_weight=None,
        epochs=3,
        batch_size="auto",
        accumulate=1,
        learning_rate=1e-3,
        encoder_learning_rate="auto",
        layer_decay=1.0,
        weight_decay=0.01,
        warmup_share=0.1,
        schedule="linear",
        gradient_clip=1.0,
        early_stopping_patience=None,
        eval_metric="logloss",
        validation_fraction=0.1,
        stacking="auto",
        stacking_options=None,
        precision="auto",
        warm_start=False,
        checkpoint_path=None,
        checkpoint_interval=100,
        log_dir=None,
        random_state=None,
        device="auto",
        distributed=None,
        verbose=0,
    ):
        self.text_columns = text_columns
        self.numeric_columns = numeric_columns
        self.categorical_columns = categorical_columns
        self.architecture = architecture
        self.encoder = encoder
        self.shared_encoder = shared_encoder
        self.encoder_cache = encoder_cache
        self.network_options = network_options
        self.text_steps = text_steps
        self.max_sen_len = max_sen_len
        self.max_total_chunks = max_total_chunks
        self.vocab_size = vocab_size
        self.scaling = scaling
        self.category_encoding = category_encoding
        self.classes = classes
        self.class_weight = class_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.early_stopping_patience = early_stopping_patience
        self.eval_metric = eval_metric
        self.validation_fraction = validation_fraction
        self.stacking = stacking
        self.stacking_options = stacking_options
        self.precision = precision
        self.warm_start = warm_start
        self.checkpoint_path = checkpoint_path
        self.checkpoint_interval = checkpoint_interval
        self.log_dir = log_dir
        self.random_state = random_state
        self.device = device
        self.distributed = distributed
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Learn from the rows of a table.

        Parameters
        ----------
        X : DataFrame of pandas or polars of shape (n_rows, n_features)
        y : array-like or DataFrame of shape (n_rows,) or (n_rows, n_tasks)
            Labels of any two or more classes, or of several tasks 0, 1 and NaN where missing.
        sample_weight : array-like of shape (n_rows,), optional
            Weight of each row in the loss.
        X_val, y_val : optional
            Validation rows for early stopping and `history_`.

        Returns
        -------
        self

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        ImportError
            If torch, skorch or transformers is missing, or peft for adapters.
        TypeError
            If X is not a DataFrame or a parameter or a column of a wrong type.
        ValueError
            For parameters out of range, a table without text, labels of one class only, tables
            that do not fit together.
        """
        start = "again" if self.warm_start and hasattr(self, "network_") else "anew"
        return self._fit(X, y, sample_weight, X_val, y_val, self.classes, start, self.stacking)

    def partial_fit(self, X, y, classes=None, sample_weight=None, *, X_val=None, y_val=None):
        """Go on for `epochs` with these rows alone; the first call is `fit`.

        Tokenizer, scales, categories and their risks stay those of the first call; the learning
        rates rise and fall anew.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val :
            As in `fit`.
        classes : list, optional
            All classes of a 1-d y, in the first call, in the order of `classes_`; None takes the
            parameter `classes`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; for a label that the first call did not know.
        """
        classes = self.classes if classes is None else classes
        start = "further" if hasattr(self, "network_") else "anew"
        refuse_to_go_on(self, "partial_fit")
        return self._fit(X, y, sample_weight, X_val, y_val, classes, start, stacking=None)

    def _fit(self, X, y, sample_weight, X_val, y_val, classes, start, stacking):
        """Start "anew", "again" with the same rows or "further" with others."""
        self._check(X, y, X_val, y_val)
        device = self._find_device()
        self._check_encoder_options()
        from mtbert.distributed import join_processes

        with join_processes(self.distributed, device) as processes:
            fit = Fit(self, processes, start, classes, stacking)
            fit.run(X, y, sample_weight, X_val, y_val)
        n_before = 0 if start == "anew" else self.n_epochs_
        self._set_fitted(fit, n_before)
        return self

    def _check(self, X, y, X_val, y_val):
        check_parameters(self)
        require_frame(X, "X")
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither.")

    def _find_device(self):
        _require_training_packages()
        from mtbert.net import check_precision, find_device

        device = find_device(self.device)
        check_precision(self.precision, device)
        return device

    def _check_encoder_options(self):
        """Raise, before any work, what the cache or adapters would raise later."""
        find_cache(self)
        if (self.network_options or {}).get("text__lora_rank") is not None:
            from mtbert.modules.lora import require_peft

            require_peft()

    def _set_fitted(self, fit, n_epochs_before):
        session = fit.session_
        self._reader, self._targets, self._plan = fit.reader_, fit.targets_, fit.plan_
        self.roles_ = fit.reader_.roles_
        self.task_names_ = fit.targets_.encoder_.task_names_
        self.history_, self.best_epoch_ = session.history_, session.best_epoch_
        self.n_epochs_ = n_epochs_before + len(session.history_)
        self.classes_ = fit.targets_.classes_
        self.network_ = session.network
        self.stack_ = fit.stack_

    def predict_proba(self, X):
        """Probabilities of the classes, or of the tasks.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)

        Returns
        -------
        ndarray of float64
            (n_rows, n_classes) for a 1-d y, in the order of `classes_`; (n_rows, n_tasks),
            P(label = 1), for several tasks.
        """
        logits = self._compute(X)
        found = probabilities(logits, self._targets.is_multiclass_)
        if not self._targets.encoder_.is_1d_ or self._targets.is_multiclass_:
            return found
        return np.hstack([1 - found, found])

    def predict(self, X):
        """The most probable class of each task: (n_rows,) for a 1-d y, else (n_rows, n_tasks)."""
        found = self.predict_proba(X)
        if self._targets.encoder_.is_1d_:
            return self.classes_[found.argmax(axis=1)]
        return (found > 0.5).astype(self.classes_.dtype)

    def transform(self, X):
        """The fused embedding, which the head sees: float32 of shape (n_rows, output_dim)."""
        return self._compute(X, embed=True)

    def _compute(self, X, embed=False):
        check_is_fitted(self, "network_")
        require_frame(X, "X")
        validate_table(self, X, reset=False)
        device = self._find_device()
        rows = self._reader.transform(X)
        run = Runner(self, self.network_.to(device), device)
        outputs = run(rows, embed)
        if embed or self.stack_ is None:
            return outputs
        return self.stack_.transform(X, rows, outputs, partial(run, embed=True))

    def explain(self, X, *, target=None, n_steps=50):
        """What each word and each column adds to the scores of some rows.

        See :func:`mtbert.explanation.explain`; :func:`mtbert.plotting.plot_attribution` draws one.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        target : object, default=None
            A class, or for several tasks the name or position of one; None is the predicted class
            of each row.
        n_steps : int, default=50
            Points at which gradients are taken.

        Returns
        -------
        list of Attribution
            One for each row.
        """
        return explain(self, X, target=target, n_steps=n_steps)

    def modality_ablation(
        self, X, y, *, scoring=None, method="missing", n_repeats=5, random_state=None
    ):
        """How much worse the scores are without one of the modalities.

        See :func:`mtbert.explanation.modality_ablation`;
        :func:`mtbert.plotting.plot_modality_ablation` draws it.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
            Rows that the model has not learned from.
        y : array-like or DataFrame of shape (n_rows,) or (n_rows, n_tasks)
        scoring : str, callable, list, tuple or dict, default=None
            None is `eval_metric`.
        method : {"missing", "permute"}, default="missing"
        n_repeats : int, default=5
            How often to permute.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ModalityAblation, or a dict of them for several scores
        """
        return modality_ablation(
            self,
            X,
            y,
            scoring=scoring,
            method=method,
            n_repeats=n_repeats,
            random_state=random_state,
        )

    def save(self, folder):
        """Write the fitted model to a folder without pickle; see :func:`mtbert.io.save_model`.

        Parameters
        ----------
        folder : str or path-like
            Made if it does not exist.
        """
        save_model(self, folder)

    @classmethod
    def load(cls, folder):
        """Read the model that `save` wrote; see :func:`mtbert.io.load_model`.

        Parameters
        ----------
        folder : str or path-like

        Returns
        -------
        MultimodalTextTabularClassifier
        """
        return load_model(cls, folder)

    def to_onnx(self, path, *, quantize=None):
        """Write one ONNX file that turns token ids and raw columns into probabilities.

        Any number of rows, chunks and tokens goes in; missing cells, scales, risks and codes of
        categories are dealt with inside, and so are the trees of a stack. The file also holds the
        tokenizer, the text steps and the classes: :class:`mtbert.OnnxScorer` scores raw tables with
        the file alone.

        Parameters
        ----------
        path : str or path-like
            A file that is there is replaced in one step; no other file is written.
        quantize : None or "int8"
            "int8" rounds embeddings and matrices of the text encoders to 8 bits: for BERT about a
            quarter of the size, faster, and slightly other probabilities.

        Raises
        ------
        ImportError
            If onnx, onnxscript or, to quantize, onnxruntime is missing.
        NotFittedError
            If the model is not fitted.
        OSError
            If the file cannot be written; this is found out before the work.
        ValueError
            If `quantize` is something else, a text step is your own, or a column has numbers and
            text as categories.

        Notes
        -----
        Inputs: for the n-th text column ``text_n_ids``, int64 of shape (n_rows, n_chunks, length),
        and ``text_n_mask``, bool, True for tokens; each other column under its name, of shape
        (n_rows, 1): float64 with NaN where missing, or text. If trees see words,
        ``text_words_0``, int64 of shape (n_rows, n_words), the numbers of the words of all texts of
        a row, and ``text_words_1``, ... those of each text column, if there are several. Output:
        ``probabilities``, float64, those of `predict_proba`; where trees see scores or the
        embedding of the net, which rounds otherwise, a row at a threshold may fall to the other
        side.
        """
        from mtbert.onnx.export import write_onnx

        write_onnx(self, path, quantize)

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "network_" in state:
            # A file written on a machine with a GPU must load on one without.
            devices = {parameter.device.type for parameter in self.network_.parameters()}
            if devices != {"cpu"}:
                state["network_"] = copy.deepcopy(self.network_).cpu()
        return state


def _require_training_packages():
    for package in ("torch", "transformers", "tokenizers", "skorch"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"MultimodalTextTabularClassifier needs the package {package}: "
                "pip install 'mtgbm[text]'"
            ) from error
