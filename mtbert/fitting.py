"""One call of `fit` or `partial_fit`: from a table to a trained network, and a stack."""

from __future__ import annotations

import copy
import os
import sys

from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from mtbert.columns import assign_roles, require_frame
from mtbert.fingerprint import data_fingerprint
from mtbert.labelled_table import LabelledTable
from mtbert.network_plan import NetworkPlan, choose_tokenizers, encoders_by_column
from mtbert.parameters import plain_parameters
from mtbert.runner import Runner
from mtbert.stacking import Stack, StackingOptions
from mtbert.stacking.folds import fewest_of_a_class
from mtbert.stacking.nets import TrainedNet
from mtbert.table_reader import TableReader
from mtbert.tabular import TabularEncoder
from mtbert.targets import Targets, label_weights
from mtbert.text_fields import TextFields
from mtgbm.columns import validate_table
from mtgbm.parameters import choose

#: With stacking="auto", trees beside the net need so many rows of each class.
FEWEST_OF_A_CLASS = 5


class Fit:
    """Trains what an estimator asks for; of the estimator itself only the columns are noted.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
    processes : SingleProcess
        Those that fit together.
    start : {"anew", "again", "further"}
        Whether to begin with a new network, or go on with the one of the estimator, on the same
        rows or on others.
    classes : list or None
        As the parameter of the estimator.
    stacking : {None, "auto", "gbdt"}
        As the parameter of the estimator. None leaves alone what it has learned of trees.

    Attributes
    ----------
    reader_ : TableReader
    targets_ : Targets
    plan_ : NetworkPlan
    session_ : mtbert.training.Training
        With the network.
    stack_ : Stack or None
    """

    def __init__(self, estimator, processes, start, classes, stacking):
        self.estimator = estimator
        self.processes = processes
        self.start = start
        self.stacking = stacking
        self.targets_ = Targets(classes) if start == "anew" else estimator._targets

    def run(self, X, y, sample_weight=None, X_val=None, y_val=None) -> Fit:
        """Do all of it; the arguments are those of the estimator's `fit`."""
        estimator = self.estimator
        seed = self.processes.broadcast(self._draw_seed())
        checkpoint = self._open_checkpoint(seed, self.start)
        seed = seed if checkpoint is None else checkpoint.seed
        table = self._label(X, y, sample_weight)
        validation = None if X_val is None else self._label_validation(X_val, y_val)
        table, validation, stack = self._part(table, validation, seed)
        net, self.session_ = self._learn(
            table, validation, checkpoint, self.start, seed, estimator.log_dir
        )
        if stack is not None:
            self._fit_stack(stack, table, net, validation)
        self.reader_ = net.reader
        self.stack_ = stack if self.start == "anew" else estimator.stack_
        self.plan_ = NetworkPlan.of(estimator, net.reader, self.targets_)
        return self

    # What is learned from -----------------------------------------------------------------------

    def _draw_seed(self):
        """A seed; going on, another one in each fit, so that batches do not come again."""
        seed = int(check_random_state(self.estimator.random_state).randint(2**31 - 1))
        n_before = 0 if self.start == "anew" else self.estimator.n_epochs_
        return (seed + n_before) % 2**31

    def _label(self, X, y, sample_weight):
        is_new, targets = self.start == "anew", self.targets_
        validate_table(self.estimator, X, reset=is_new)
        labels = targets.fit_transform(y) if is_new else targets.transform(y)
        check_consistent_length(X, labels)
        weights = label_weights(targets, labels, sample_weight, self.estimator.class_weight)
        return LabelledTable(X, labels, weights).counting()

    def _label_validation(self, X_val, y_val):
        require_frame(X_val, "X_val")
        validate_table(self.estimator, X_val, reset=False)
        labels = self.targets_.transform(y_val)
        check_consistent_length(X_val, labels)
        return LabelledTable(X_val, labels)

    def _part(self, table, validation, seed):
        """Training rows, validation rows or None, and a stack that can learn from them or None."""
        stack = self._new_stack(table.labels, validation is not None, seed)
        if validation is None and self._needs_validation(stack):
            table, validation = table.hold_out(self.estimator.validation_fraction, seed)
        if stack is not None:
            if self.stacking == "auto" and not stack.has_enough_rows(table.labels):
                return table, validation, None  # chance has held out a rare class
            stack.check(table.labels, self._assign_roles(table.X))
        return table, validation, stack

    # A network ----------------------------------------------------------------------------------

    def _learn(self, table, validation, checkpoint, start, seed, log_dir=None):
        """Read a table and train a network on it: the TrainedNet and how it was trained."""
        reader, rows = self._read_training(table, start, seed)
        if validation is not None:
            validation = validation.attach_to(reader.transform(validation.X))
        network = self._network_for(reader, start, seed).to(self.processes.device)
        labelled = table.attach_to(rows)
        tables = {"training": labelled, "validation": validation}
        self._check_same_fit(checkpoint, reader, tables)
        session = self._training(network, seed, checkpoint, log_dir)
        runner = Runner(self.estimator, network, self.processes.device)
        _train(session, runner, labelled, validation)
        return TrainedNet(reader, rows, runner), session

    def _read_training(self, table, start, seed):
        """The reader of tables, and what it makes of the training rows."""
        estimator = self.estimator
        if start == "further":
            return estimator._reader, estimator._reader.transform(table.X)
        if start == "again":
            reader = estimator._reader
            return reader, reader.transform_training(table.X, table.labels)
        roles = self._assign_roles(table.X)
        encoders = encoders_by_column(estimator.encoder, roles.text, estimator.shared_encoder)
        tokenizers, max_sen_len = choose_tokenizers(
            estimator.architecture, encoders, estimator.max_sen_len
        )
        text_fields = TextFields(
            estimator.text_steps,
            max_sen_len=max_sen_len,
            max_total_chunks=estimator.max_total_chunks,
            vocab_size=estimator.vocab_size,
            shared_vocabulary=estimator.shared_encoder,
        )
        tabular = TabularEncoder(estimator.scaling, estimator.category_encoding, seed)
        reader = TableReader(text_fields, tabular)
        return reader, reader.fit_transform(table.X, roles, table.labels, tokenizers)

    def _assign_roles(self, X):
        estimator = self.estimator
        return assign_roles(
            X,
            estimator.text_columns,
            estimator.numeric_columns,
            estimator.categorical_columns,
        )

    def _network_for(self, reader, start, seed):
        """A new network, or a copy of the one that is there: a fit that fails leaves it alone."""
        from mtbert.modules.lora import add_adapters

        estimator, fields = self.estimator, reader.fields_
        plan = NetworkPlan.of(estimator, reader, self.targets_)
        if start == "anew":
            encoders = encoders_by_column(
                estimator.encoder, reader.roles_.text, estimator.shared_encoder
            )
            network = plan.build({fields[column]: e for column, e in encoders.items()}, seed)
        else:
            plan.check_same(estimator._plan)
            network = copy.deepcopy(estimator.network_)
        add_adapters(network, seed)
        return network

    def _check_same_fit(self, checkpoint, reader, tables):
        """Raise unless the other processes, and a checkpoint, are of a fit like this."""
        if checkpoint is None and self.processes.n_processes == 1:
            return
        data = data_fingerprint(reader, self.targets_, tables)
        parameters = {name: repr(value) for name, value in plain_parameters(self.estimator).items()}
        self.processes.check_alike(data | parameters)
        if checkpoint is not None:
            checkpoint.check_data(data)

    def _open_checkpoint(self, seed, start, ending=""):
        """The checkpoint of a network; those of others that are fitted with it have an ending."""
        from mtbert.checkpoint import open_checkpoint

        estimator = self.estimator
        if ending and estimator.checkpoint_path is not None:
            path = f"{os.fspath(estimator.checkpoint_path)}{ending}"
            parameters = estimator.get_params(deep=False) | {"checkpoint_path": path}
            estimator = type(estimator)(**parameters)
        return open_checkpoint(estimator, seed, start, self.processes)

    def _training(self, network, seed, checkpoint, log_dir):
        from mtbert.training import Training

        device = self.processes.device
        return Training(
            self.estimator,
            network,
            self.targets_,
            device,
            seed,
            self.processes,
            checkpoint,
            log_dir,
        )

    # A stack ------------------------------------------------------------------------------------

    def _new_stack(self, labels, has_validation, seed):
        """What is to be learned of trees, or None."""
        if self.stacking is None or (self.stacking == "auto" and not self._may_stack(labels)):
            return None
        has_validation |= self.estimator.early_stopping_patience is not None
        options = StackingOptions.read(self.estimator.stacking_options)
        return Stack(options.settle(len(labels), has_validation), self.targets_, seed)

    def _may_stack(self, labels):
        """Whether "auto" is "gbdt".

        With warm_start, rows that join net and trees would be those that the net knows from the
        fit before.
        """
        from mtbert.modules.network import ARCHITECTURES

        architecture = choose("architecture", self.estimator.architecture, ARCHITECTURES)
        if self.estimator.warm_start or not architecture.uses_table:
            return False
        return fewest_of_a_class(labels) >= FEWEST_OF_A_CLASS

    def _needs_validation(self, stack):
        is_blended_there = stack is not None and stack.options.needs_validation
        return self.estimator.early_stopping_patience is not None or is_blended_there

    def _fit_stack(self, stack, table, net, validation):
        """Train the other nets that the stack asks for, and the trees."""

        def train(part, number):
            seed = (stack.seed + 1 + number) % 2**31
            checkpoint = self._open_checkpoint(seed, "anew", f".net{number + 1}")
            return self._learn(part, validation, checkpoint, "anew", seed)[0]

        def say(text):
            if self.estimator.verbose > 0 and self.processes.is_writer:
                print(text, file=sys.stderr)

        stack.fit(table, net, train, validation, self.estimator.validation_fraction, say)


def _train(session, runner, rows, validation):
    """Train the network of a session in place."""
    from mtbert.encoder_cache import is_frozen
    from mtbert.modules.lora import merge_adapters

    if is_frozen(session.network):
        rows = runner.encode_once(rows)
        validation = None if validation is None else runner.encode_once(validation)
    session.run(rows, validation)
    merge_adapters(session.network)
