"""What a frozen encoder makes of each distinct text, computed once.

Within a fit, vectors take the place of token ids before the first epoch. With a cache they are
also kept in files, one for each encoder, for the next fit, fold, prediction or process. A vector's
key is a digest of the token ids of its row, and the file's name one of all else that it depends on:
weights, config, pooling, precision. Tokenizer and text steps are in neither, for they only matter
by the token ids that they give. :class:`joblib.Memory` would keep results by call, so by table:
folds that share rows would share nothing. It says where the files are, and when to clear them.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from weakref import WeakKeyDictionary

import joblib
import numpy as np
import torch

from mtbert.batching import Rows, SharedVectors, sorted_batches
from mtbert.fingerprint import weights_fingerprint
from mtbert.memory import RowsAtOnce
from mtbert.modules import ARCHITECTURES, BertText, FusionNet
from mtbert.net import autocast
from mtbert.temporary_arrays import allocate
from mtbert.token_store import TokenStore
from mtbert.vector_file import VectorFile
from mtgbm.parameters import choose

#: Raise it when the same encoder would give other vectors than before.
VERSION = 1
#: Batches whose vectors are written to a file together.
BATCHES_AT_ONCE = 16
FROZEN = {"text__frozen_layers": "all"}

_fingerprints: WeakKeyDictionary = WeakKeyDictionary()


def check_cacheable(architecture, network_options) -> None:
    """Raise ValueError unless the vector of a text is all that is needed of an encoder, and stays.

    Parameters
    ----------
    architecture : str
    network_options : dict or None
    """
    parts = choose("architecture", architecture, ARCHITECTURES)
    options = network_options or {}
    if parts.text is not BertText:
        raise ValueError(
            f"encoder_cache keeps what a frozen BERT encoder gives, but architecture="
            f"{architecture!r} learns an encoder of its own; set encoder_cache=None."
        )
    if parts.fusion.needs_tokens:
        raise ValueError(
            f"encoder_cache keeps a vector for each text, but architecture={architecture!r} "
            "attends over tokens; set encoder_cache=None or take 'multimodal_bert'."
        )
    if options.get("text__frozen_layers") != "all":
        raise ValueError(
            "encoder_cache needs an encoder that is not trained; set "
            f"network_options={FROZEN!r}, or encoder_cache=None."
        )
    for name in ("text__reinit_layers", "text__reinit_pooler", "text__lora_rank"):
        if options.get(name):
            raise ValueError(
                f"encoder_cache needs an encoder that is not trained, but {name}="
                f"{options[name]!r} trains a part of it; leave it out, or set encoder_cache=None."
            )


def cache_folder(memory) -> Path | None:
    """Return where vectors are kept, made if it is not there; None if they are not kept.

    Parameters
    ----------
    memory : None, str, path-like or joblib.Memory
        A path stands for ``joblib.Memory(path)``.

    Raises
    ------
    OSError
        If the folder cannot be made.
    TypeError
        If it is something else, or keeps its items elsewhere than in files.
    """
    if isinstance(memory, (str, os.PathLike)):
        memory = joblib.Memory(os.fspath(memory), verbose=0)
    if memory is None or (isinstance(memory, joblib.Memory) and memory.store_backend is None):
        return None
    location = getattr(getattr(memory, "store_backend", None), "location", None)
    if not isinstance(memory, joblib.Memory) or not isinstance(location, str):
        raise TypeError(
            f"encoder_cache must be None, a folder or a joblib.Memory with one, got {memory!r}."
        )
    folder = Path(location) / "mtbert"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_frozen(network: FusionNet) -> bool:
    """Whether no text encoder has a weight to train, and the fusion needs their vectors only."""
    encoders = network.text_encoders
    frozen = not any(p.requires_grad for encoder in encoders for p in encoder.parameters())
    return frozen and not network.fusion.needs_tokens


def encode_once(
    network: FusionNet, rows: Rows, *, batch_size, device, precision="fp32", folder=None
) -> Rows:
    """Return the rows with vectors in place of texts.

    Parameters
    ----------
    network : FusionNet
        On the device; its encoders work in evaluation mode, without dropout.
    rows : Rows
    batch_size : int
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
    folder : Path or None
        Where to keep the vectors; see :func:`cache_folder`.

    Notes
    -----
    A vector is that of the encoder in another batch up to rounding, of 1e-6 or so of its size.
    """
    network.eval()
    vectors = dict(rows.vectors)
    for name, tokens in rows.text.items():
        encoder = TextVectors(
            network.encoder_of(name), rows.pad_ids.get(name, 0), batch_size, device, precision
        )
        vectors[name] = encoder.encode(tokens, folder)
    return replace(rows, text={}, vectors=vectors)


class TextVectors:
    """Computes the vectors of one text field.

    Parameters
    ----------
    encoder : TextEncoder
    pad_id : int
    batch_size : int
        Halved, with a warning, if memory runs out.
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
    """

    def __init__(self, encoder, pad_id, batch_size, device, precision):
        self.encoder = encoder
        self.pad_id = pad_id
        self.batch_size = batch_size
        self.memory = RowsAtOnce(batch_size)
        self.device = device
        self.precision = precision

    def encode(self, tokens: TokenStore, folder=None) -> SharedVectors:
        """Return the vectors of all rows; each distinct row goes through the encoder once.

        Parameters
        ----------
        tokens : TokenStore
        folder : Path or None
        """
        digests = tokens.digests()
        first: dict[bytes, int] = {}
        for row, key in enumerate(digests):
            first.setdefault(key, row)
        number = {key: i for i, key in enumerate(first)}
        distinct = tokens.take(list(first.values()))
        values = allocate((len(distinct), self.encoder.output_dim), np.float32)
        if folder is None:
            self._fill(values, distinct, np.arange(len(distinct)))
        else:
            self._fill_from(self._file(folder), list(first), values, distinct)
        return SharedVectors(values, np.array([number[key] for key in digests], dtype=np.int64))

    def _file(self, folder):
        return VectorFile(
            folder / f"{fingerprint(self.encoder, self.precision)}.sqlite", self.encoder.output_dim
        )

    def _fill_from(self, file, keys, values, tokens):
        """Read what there is, compute and keep the rest, a block at a time.

        Processes that work at the same time take the blocks in orders of their own, and look
        before each what the others have done meanwhile; so they share the work without waiting.
        """
        missing = _read(file, keys, values, np.arange(len(keys)))
        blocks = list(self._blocks(tokens, missing))
        random.Random(os.getpid()).shuffle(blocks)
        for number, block in enumerate(blocks):
            left = block if number == 0 else _read(file, keys, values, block)
            self._fill(values, tokens, left)
            file.write([keys[row] for row in left], values[left])

    def _blocks(self, tokens, rows) -> Iterator[np.ndarray]:
        """Rows of like size, some batches together."""
        size = self.batch_size * BATCHES_AT_ONCE
        yield from (rows[block] for block in sorted_batches(tokens.sizes()[rows], size))

    def _fill(self, values, tokens, rows):
        for batch in sorted_batches(tokens.sizes()[rows], self.batch_size):
            values[rows[batch]] = self.memory.run(self._compute, [tokens.take(rows[batch])])

    def _compute(self, pieces):
        return np.concatenate([self._run(tokens) for tokens in pieces])

    def _run(self, tokens):
        ids, mask = (torch.from_numpy(a).to(self.device) for a in tokens.pad(self.pad_id))
        with torch.inference_mode(), autocast(self.precision, self.device):
            return self.encoder(ids, mask).vector.float().cpu().numpy()


def _read(file, keys, values, rows):
    """Fill in the vectors of rows that the file has; return the other rows."""
    found = file.read([keys[row] for row in rows])
    for row in rows:
        if keys[row] in found:
            values[row] = found[keys[row]]
    return np.array([row for row in rows if keys[row] not in found], dtype=np.int64)


def fingerprint(encoder: BertText, precision) -> str:
    """Return a digest of all that the vector of given token ids depends on.

    Parameters
    ----------
    encoder : BertText
    precision : {"fp32", "bf16", "fp16"}
    """
    weights = encoder.state_dict()
    # Torch counts the changes of a tensor in place, so weights are read once.
    state = [(w.data_ptr(), w._version) for w in weights.values()]
    known, digest = _fingerprints.get(encoder, (None, None))
    if known != state:
        digest = weights_fingerprint(weights)
        _fingerprints[encoder] = state, digest
    rest = [VERSION, digest, encoder.config, encoder.pooling, precision]
    return blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()
