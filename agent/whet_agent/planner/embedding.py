"""Sentences as points: the mean of their tokens' static vectors, which come in a package and are read where they lie.

The package's own reader holds the table twice and takes 90 MB; a planner needs a few hundred rows of it.
"""

import mmap
import struct
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

Vector = Sequence[float]

_DIMENSIONS: Final = 256
_ROW: Final = struct.Struct(f"<{_DIMENSIONS}e")
"""A token's vector: half-precision floats, lowest byte first."""
_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"


def embed(sentences: Sequence[str]) -> list[Vector]:
    """Return a vector of length one for each sentence. The first call loads for 100 ms."""
    tokenizer, table, begin = _loaded()
    encoded = tokenizer.encode_batch(list(sentences), add_special_tokens=False)
    return [_mean([_ROW.unpack_from(table, begin + token * _ROW.size) for token in found.ids]) for found in encoded]


def likeness(one: Vector, other: Vector) -> float:
    """Return the cosine of two vectors of length one."""
    return sum(map(float.__mul__, one, other))


def _mean(rows: Sequence[Vector]) -> Vector:
    summed = [sum(column) for column in zip(*rows, strict=True)]
    length = sqrt(sum(value * value for value in summed)) or 1.0
    return [value / length for value in summed] or [0.0] * _DIMENSIONS


@cache
def _loaded() -> tuple[Tokenizer, mmap.mmap, int]:
    """The tokeniser, the file of vectors, and where in it they begin: behind a head in JSON and that head's length."""
    with (_folder() / _WEIGHTS).open("rb") as file:
        table = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Tokenizer.from_file(str(_folder() / _TOKENIZER)), table, 8 + int.from_bytes(table[:8], "little")


@cache
def _folder() -> Path:
    found = find_spec("wordllama")  # finds it without loading it
    if found is None or found.origin is None:
        raise RuntimeError("the package wordllama is not installed; install Whet's requirements again")
    return Path(found.origin).parent
