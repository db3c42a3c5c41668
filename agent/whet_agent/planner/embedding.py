"""Static word embeddings: a sentence is the mean of its tokens' vectors.

The vectors and the tokenizer are files of the wordllama package. They are read here and not by it: importing it costs
50 MB, and its matrix of all 32,000 vectors another 33, of which one sentence needs ten.
"""

import json
import math
import os
import struct
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from operator import mul
from pathlib import Path
from typing import Any, Final

TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
VECTORS: Final = "weights/l2_supercat_256.safetensors"

Vector = tuple[float, ...]


class Embedding:
    """The vectors stay in their file."""

    def __init__(self, package: Path) -> None:
        from tokenizers import Tokenizer  # 25 MB that only the planner needs

        self._tokenizer: Any = Tokenizer.from_file(str(package / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._file = os.open(package / VECTORS, os.O_RDONLY | os.O_CLOEXEC)  # as long as the process
        # The format: the length of a JSON header as eight bytes, the header, the numbers row by row.
        (length,) = struct.unpack("<Q", os.pread(self._file, 8, 0))
        tensor = json.loads(os.pread(self._file, length, 8))["embedding.weight"]
        self._begin = 8 + length + tensor["data_offsets"][0]
        self._row = struct.Struct(f"<{tensor['shape'][1]}e")

    def of(self, sentence: str) -> Vector:
        """Return the sentence's direction: a vector of length 1, or of zeros for a sentence without tokens."""
        ids = self._tokenizer.encode(sentence, add_special_tokens=False).ids
        size = self._row.size
        rows = [self._row.unpack(os.pread(self._file, size, self._begin + token * size)) for token in ids]
        sums = [math.fsum(column) for column in zip(*rows, strict=True)]
        length = math.hypot(*sums) or 1.0
        return tuple(value / length for value in sums)


def likeness(one: Vector, other: Vector) -> float:
    """Return the cosine of two directions."""
    return math.fsum(map(mul, one, other))


@cache
def embedding() -> Embedding:
    """Return the one embedding of this process."""
    found = find_spec("wordllama")
    places: Sequence[str] = (found.submodule_search_locations or ()) if found is not None else ()
    return Embedding(Path(next(iter(places))))
