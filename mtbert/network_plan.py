"""What a network is made of: enough to build it again without any file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mtbert.table_reader import TableReader
from mtbert.targets import Targets
from mtgbm.parameters import choose, suggest

#: The most tokens of a chunk if the user does not say, and the encoder takes more.
MOST_TOKENS = 512


@dataclass(frozen=True)
class NetworkPlan:
    """The arguments of :func:`mtbert.modules.build_network`, all but the encoder's source.

    Attributes
    ----------
    architecture : str
    fields : dict of str to [int, int]
        Size of the vocabulary and id of padding of each text field.
    n_numeric : int
    cardinalities : list of int
    n_outputs : int
    shared_encoder : bool
    options : dict
    """

    architecture: str
    fields: dict[str, list[int]]
    n_numeric: int
    cardinalities: list[int]
    n_outputs: int
    shared_encoder: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, estimator, reader: TableReader, targets: Targets) -> NetworkPlan:
        """The plan for an estimator's parameters, and what it has read."""
        texts = reader.text_fields
        return cls(
            estimator.architecture,
            {
                field: [texts.tokenizers_[column].get_vocab_size(), texts.pad_ids_[column]]
                for column, field in reader.fields_.items()
            },
            reader.tabular.n_numeric_,
            reader.tabular.cardinalities_,
            targets.n_outputs_,
            estimator.shared_encoder,
            dict(estimator.network_options or {}),
        )

    def build(self, encoder, seed):
        """Return a new network; torch's generator is as before.

        Parameters
        ----------
        encoder : str, path-like, dict or PreTrainedModel
            Where a BERT encoder comes from, or a dict with that of each field.
        seed : int
            Of the weights that are drawn.
        """
        import torch

        from mtbert.modules import TextFieldSpec, build_network

        arguments = asdict(self)
        specs = {name: TextFieldSpec(*spec) for name, spec in arguments.pop("fields").items()}
        options = arguments.pop("options")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_network(text_fields=specs, encoder=encoder, **arguments, **options)

    def check_same(self, other: NetworkPlan) -> None:
        """Raise ValueError, with what differs, unless a network of `other` is as planned here."""
        here, there = asdict(self), asdict(other)
        for name, value in here.items():
            if value != there[name]:
                raise ValueError(
                    f"the network that is there has {name}={there[name]!r}, but training is to go "
                    f"on with {name}={value!r}; set it back, or warm_start=False to start anew."
                )


def encoders_by_column(encoder, columns: Sequence[str], shared_encoder) -> dict[str, Any]:
    """Return where the encoder of each text column comes from.

    Parameters
    ----------
    encoder : str, path-like, dict or PreTrainedModel
        One for all columns, or a dict with that of each column by its name.
    columns : sequence of str
        The text columns.
    shared_encoder : bool

    Raises
    ------
    ValueError
        If the dict names something else than the text columns, or they are to share an encoder.
    """
    if not _names_columns(encoder, columns):
        return dict.fromkeys(columns, encoder)
    for name in encoder:
        if name not in columns:
            raise ValueError(
                f"encoder names {name!r}, which is no text column; {suggest(name, columns)}"
            )
    for name in columns:
        if name not in encoder:
            raise ValueError(
                f"encoder names no encoder for the text column {name!r}; give one for each of "
                f"{', '.join(map(repr, columns))}, or one for all instead of a dict."
            )
    if shared_encoder and len(columns) > 1:
        raise ValueError(
            "encoder names one for each text column, but shared_encoder=True gives all columns the "
            "same; set shared_encoder=False, or name one encoder for all."
        )
    return {name: encoder[name] for name in columns}


def _names_columns(encoder, columns):
    """Whether a dict is one of encoders by column; else it is the config of an encoder."""
    if not isinstance(encoder, Mapping):
        return False
    from mtbert.pretrained import is_config

    return any(name in encoder for name in columns) or not is_config(encoder)


def choose_tokenizers(architecture, encoders: Mapping[str, Any], max_sen_len):
    """Return the tokenizers that belong to encoders, and how long chunks may be.

    Parameters
    ----------
    architecture : str
    encoders : dict
        Text column to what :func:`mtbert.pretrained.find_encoder` takes.
    max_sen_len : int or None

    Returns
    -------
    tokenizers : dict
        Text column to Path, or to None if a tokenizer is to be trained.
    lengths : dict of str to int
        Text column to the most tokens of a chunk.

    Raises
    ------
    ValueError
        If the architecture is unknown, or an encoder takes fewer tokens than `max_sen_len`.
    """
    from mtbert.modules import ARCHITECTURES, BertText
    from mtbert.pretrained import find_encoder

    if choose("architecture", architecture, ARCHITECTURES).text is not BertText:
        length = MOST_TOKENS if max_sen_len is None else max_sen_len
        return dict.fromkeys(encoders), dict.fromkeys(encoders, length)
    distinct = {id(source): source for source in encoders.values()}
    found = {number: find_encoder(source) for number, source in distinct.items()}
    by_column = {column: found[id(source)] for column, source in encoders.items()}
    tokenizers = {column: source.tokenizer_path for column, source in by_column.items()}
    lengths = {
        column: _chunk_length(column, source.max_length, max_sen_len)
        for column, source in by_column.items()
    }
    return tokenizers, lengths


def _chunk_length(column, n_positions, max_sen_len):
    from mtbert.pretrained import check_length

    if max_sen_len is None:
        return min(MOST_TOKENS, n_positions)
    try:
        check_length(max_sen_len, n_positions)
    except ValueError as error:
        raise ValueError(f"text column {column!r}: {error}") from error
    return max_sen_len


def encoder_config(network):
    """Return the config of a network's BERT encoder, None if it has others.

    Of several encoders it is a dict with the config of each by text field. Built with it as
    encoder, a plan gives a network of the same shape.
    """
    encoders = network.text_encoders
    if not hasattr(encoders[0], "config"):
        return None
    if len(encoders) == 1:
        return encoders[0].config
    return {f: encoder.config for f, encoder in zip(network.field_names, encoders, strict=True)}
