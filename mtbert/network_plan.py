"""What a network is made of: enough to build it again without any file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mtbert.table_reader import TableReader
from mtbert.targets import Targets
from mtgbm.parameters import choose

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
        spec = [texts.tokenizer_.get_vocab_size(), texts.pad_id_]
        return cls(
            estimator.architecture,
            dict.fromkeys(reader.fields_.values(), spec),
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
            Where a BERT encoder comes from.
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


def choose_tokenizer(architecture, encoder, max_sen_len):
    """Return the tokenizer that belongs to an encoder, and how long chunks may be.

    Parameters
    ----------
    architecture : str
    encoder : str, path-like, dict or PreTrainedModel
    max_sen_len : int or None

    Returns
    -------
    tokenizer : Path or None
        None if one is to be trained.
    max_sen_len : int

    Raises
    ------
    ValueError
        If the architecture is unknown, or the encoder takes fewer tokens than `max_sen_len`.
    """
    from mtbert.modules import ARCHITECTURES, BertText
    from mtbert.pretrained import check_length, find_encoder

    if choose("architecture", architecture, ARCHITECTURES).text is not BertText:
        return None, MOST_TOKENS if max_sen_len is None else max_sen_len
    found = find_encoder(encoder)
    if max_sen_len is None:
        return found.tokenizer_path, min(MOST_TOKENS, found.max_length)
    check_length(max_sen_len, found.max_length)
    return found.tokenizer_path, max_sen_len


def encoder_config(network):
    """Return the config of a network's BERT encoders, None if it has others.

    Built with it as encoder, a plan gives a network of the same shape.
    """
    return getattr(network.text_encoders[0], "config", None)
