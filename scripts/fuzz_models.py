"""Read many damaged model files: each must give an error that says so, or a usable model.

    python scripts/fuzz_models.py --files 100000

A crash, a hang of a minute, more than 2 GiB of memory or any other exception ends the run and
leaves the file in the folder --keep. Formats are listed in `formats`; each has a few valid files, a
way to damage one, and a way to read it. Most damaged files get the sizes and checksums that fit
them, as a forger would do, so that the damage itself is read.
"""

import argparse
import faulthandler
import importlib.util
import json
import re
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtgbm import MultiTaskLGBMClassifier, load_model
from mtgbm.io.container import ALIGNMENT, MAGIC, PREFIX_BYTES, digest
from mtgbm.io.lightgbm_text import from_lightgbm, to_lightgbm, write_lightgbm

SECONDS = 60
MEMORY = 2 * 2**30
N_FEATURES = 4
#: What takes the place of a number or word.
JUNK = [
    *("-1", "0", "1", "2", "3", "7", "255", "256", "-2147483648", "2147483647", "4294967296"),
    *("9" * 18, "9" * 30, "9" * 5000, "nan", "inf", "-inf", "1e999", "-1e-999", "0x1p3", "1_0"),
    *("", "x", "\u0662", "null", "true", "[]", "{}", '""', "[" * 3000, "=", "\x00", "1.5", "1e5"),
]
#: What takes the place of a number in an array.
NUMBERS = [
    *np.array([-1, 0, 1, 2, 255, 256, 2**31, 2**62], dtype=np.int64),
    *np.array([-(2**31), -1, 0, 1, 7, 255, 2**31 - 1], dtype=np.int32),
    *np.array([np.nan, np.inf, -np.inf, -0.0, 1e300, 5e-324, 0.5]),
    *np.array([0, 1, 2, 255], dtype=np.uint8),
]
TOKEN = re.compile(r"-?[0-9][0-9.e+-]*|[A-Za-z_]+")
BLOCK = re.compile(r"Tree=.*?(?=Tree=|end of trees)", re.DOTALL)


@dataclass(frozen=True)
class Format:
    """A kind of file: its valid files, and the functions that damage and read one."""

    name: str
    valid_files: list[bytes]
    mutate: Callable
    read: Callable


def formats():
    """Every format that is there."""
    return [lightgbm_format(), native_format()]


def make_models():
    """Small fitted models of all kinds of tasks, with missing values and categories."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, N_FEATURES))
    X[:, 3] = rng.choice([0, 2, 5, 40], size=len(X))
    signal = X[:, [0]] + X[:, 1:3] + (X[:, [3]] > 3) + rng.normal(size=(300, 2))
    X[rng.random(X.shape) < 0.1] = np.nan
    binary = (signal > 0).astype(float)
    classes = np.digitize(signal[:, 0], [-1, 1])
    small = {"num_leaves": 5, "n_jobs": 1, "random_state": 0, "categorical_feature": [3]}
    cases = [
        (binary, {"n_estimators": 3}),
        (binary[:, 0], {"n_estimators": 2}),
        (classes, {"n_estimators": 2}),
        (binary, {"n_estimators": 6, "early_stopping_rounds": 2, "best_round_per_task": True}),
    ]
    return [MultiTaskLGBMClassifier(**small, **own).fit(X, Y) for Y, own in cases]


def lightgbm_format() -> Format:
    """Text models, ours and LightGBM's own."""
    models = make_models()
    texts = [*map(write_lightgbm, models)]
    if importlib.util.find_spec("lightgbm"):
        texts += [to_lightgbm(model).model_to_string() for model in models]
    files = [text.encode() for text in texts]
    return Format("LightGBM text", files, mutate_text, lambda path: from_lightgbm(Path(path)))


def native_format() -> Format:
    """Native files."""
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for model in make_models():
            model.save_model(Path(folder, "model"))
            files.append(Path(folder, "model").read_bytes())
    return Format("native", files, mutate_native, load_model)


# Damage -----------------------------------------------------------------------------------------


def mutate_bytes(content: bytes, rng) -> bytes:
    """Cut off, overwrite, insert, remove or repeat some bytes."""
    start, length = int(rng.integers(len(content))), int(rng.geometric(0.1))
    some = rng.integers(256, size=length, dtype=np.uint8).tobytes()
    return [
        content[:start],
        content[:start] + some + content[start + length :],
        content[:start] + some + content[start:],
        content[:start] + content[start + length :],
        content[:start] + 2 * content[start : start + length] + content[start + length :],
    ][rng.integers(5)]


def mutate_text(content: bytes, rng) -> bytes:
    """Damage bytes, or lines and words and then let `tree_sizes` say what fits again."""
    if rng.random() < 0.2:
        return mutate_bytes(content, rng)
    text = content.decode()
    for _ in range(rng.geometric(0.6)):
        text = [mutate_token, mutate_token, mutate_line][rng.integers(3)](text, rng)
    if rng.random() < 0.8:
        text = fit_tree_sizes(text)
    return text.encode()


def mutate_token(text, rng):
    """Replace, drop or repeat a word or number of a line."""
    lines = text.split("\n")
    number = rng.integers(len(lines))
    tokens = list(TOKEN.finditer(lines[number]))
    if tokens:
        token = tokens[rng.integers(len(tokens))]
        new = [JUNK[rng.integers(len(JUNK))], "", f"{token[0]} {token[0]}"][
            rng.choice(3, p=[0.8, 0.1, 0.1])
        ]
        lines[number] = lines[number][: token.start()] + new + lines[number][token.end() :]
    return "\n".join(lines)


def mutate_line(text, rng):
    """Drop, repeat, empty or move a line, or swap it with another."""
    lines = text.split("\n")
    one, other = rng.integers(len(lines), size=2)
    kind = rng.integers(5)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    elif kind == 2:
        lines[one] = lines[one].partition("=")[0]
    elif kind == 3:
        lines.insert(other, lines.pop(one))
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def fit_tree_sizes(text):
    """So that a reader does not stop at the wrong sizes, before it sees the damage."""
    sizes = " ".join(str(len(block.encode())) for block in BLOCK.findall(text))
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", text, count=1, flags=re.MULTILINE)


def mutate_native(content: bytes, rng) -> bytes:
    """Damage bytes, or the header or the data and then compute lengths and checksums anew."""
    if rng.random() < 0.2:
        return [mutate_bytes, flip_bits][rng.integers(2)](content, rng)
    end = PREFIX_BYTES + int.from_bytes(content[len(MAGIC) : len(MAGIC) + 8], "little")
    header, data = content[PREFIX_BYTES:end].decode(), content[end:]
    for _ in range(rng.geometric(0.6)):
        kind = rng.integers(4)
        if kind == 0:
            header = mutate_token(header, rng)
        elif kind == 1:
            header = mutate_field(header, rng)
        elif data:
            data = [mutate_number, mutate_bytes, flip_bits][rng.choice(3, p=[0.6, 0.1, 0.3])](
                data, rng
            )
    return seal(header, data, rng)


def flip_bits(content: bytes, rng) -> bytes:
    """Turn a few bits over."""
    damaged = bytearray(content)
    for bit in rng.integers(8 * max(1, len(damaged)), size=rng.geometric(0.5)):
        damaged[bit // 8 : bit // 8 + 1] = bytes([damaged[bit // 8] ^ (1 << bit % 8)])
    return bytes(damaged)


def mutate_number(data: bytes, rng) -> bytes:
    """Overwrite a number of the data with one that a reader may not expect."""
    number = NUMBERS[rng.integers(len(NUMBERS))]
    start = int(rng.integers(len(data) + 1)) // number.itemsize * number.itemsize
    return data[:start] + number.tobytes() + data[start + number.itemsize :]


def mutate_field(text, rng):
    """Remove, repeat, move or replace an entry somewhere in the header."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text  # damaged before
    place = content
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[rng.integers(len(keys))]
        if not isinstance(place[key], dict | list) or rng.random() < 0.3:
            change_entry(place, key, keys[rng.integers(len(keys))], rng)
            break
        place = place[key]
    return json.dumps(content, ensure_ascii=False)


def change_entry(place, key, other, rng):
    """One change of a dict or list."""
    kind = rng.integers(4)
    if kind == 0:
        del place[key]
    elif kind == 1:
        place[key], place[other] = place[other], place[key]
    elif kind == 2:
        place[key] = [place[key]]
    else:
        place[key] = [None, True, -1, 0, 1, 2**31, 2**63, 1.5, "", "x", [], {}][rng.integers(12)]


def seal(header, data, rng):
    """The file with lengths and checksums that fit; sometimes the data's are left as they are."""
    if rng.random() < 0.9:
        header = re.sub(r'"blake2b": "[0-9a-f]*"', f'"blake2b": "{digest(data).hex()}"', header)
        if rng.random() < 0.9:
            header = re.sub(r'("data": \{\s*"bytes": )\d+', rf"\g<1>{len(data)}", header)
    text = header.encode(errors="surrogatepass")
    text += b" " * (-(PREFIX_BYTES + len(text)) % ALIGNMENT)
    return MAGIC + len(text).to_bytes(8, "little") + digest(text) + text + data


# Run --------------------------------------------------------------------------------------------


def outcome(kind: Format, path) -> str:
    """Read a file, and use what was read: "refused" or "read"; any other error is passed on."""
    try:
        model = kind.read(path)
    except ValueError:
        return "refused"
    rows = np.where(np.arange(80).reshape(20, 4) % 7 == 0, np.nan, np.arange(80).reshape(20, 4) % 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if model.n_features_in_ == N_FEATURES:
            assert np.isfinite(model.predict_proba(rows)).all()
    return "read"


def fuzz(kind: Format, n_files: int, seed: int, keep: Path):
    """Damage and read so many files; a file that gives another error is kept."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        for _ in range(n_files):
            valid = kind.valid_files[rng.integers(len(kind.valid_files))]
            content = kind.mutate(valid, rng)
            path.write_bytes(content)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            start = time.perf_counter()
            try:
                found[outcome(kind, path)] += 1
            except BaseException:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind.name}.model").write_bytes(content)
                raise
            finally:
                faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.perf_counter() - start)
    return found, slowest


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="a format's name")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="folder for failures")
    arguments = parser.parse_args()
    faulthandler.enable()
    for kind in formats():
        if arguments.only not in (None, kind.name):
            continue
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, -1))
        found, slowest = fuzz(kind, arguments.files, arguments.seed, arguments.keep)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{kind.name}: {found.total()} files, {found['refused']} refused, {found['read']} read "
            f"and used, 0 other errors; slowest {slowest:.2f} s, peak memory {peak} MiB",
            flush=True,
        )


def _address_space():
    """Bytes of address space that the process has taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
