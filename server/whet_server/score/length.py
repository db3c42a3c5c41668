"""Length in tokens or characters."""

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from whet_server.judging import Item
from whet_server.score.finding import Finding, candidate_of
from whet_server.score.spec import LengthScorer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TABLE: Final = Path("tokenizers", "l2_supercat_tokenizer_config.json")
_PIECE: Final = 100_000
"""Characters that are cut into tokens at once, so that a long text needs no memory to speak of."""


def length(item: Item, scorer: LengthScorer) -> Finding:
    """1 within the bounds, falling in a straight line to 0 at half of the least and at twice the most."""
    candidate = candidate_of(item)
    size = len(candidate) if scorer.characters else tokens_of(candidate)
    unit = "characters" if scorer.characters else "tokens"
    score = 1.0
    if size < scorer.min:
        score = max(0.0, 2 * size / scorer.min - 1)
    elif scorer.max and size > scorer.max:
        score = max(0.0, 2 - size / scorer.max)
    return Finding(score=score, value=float(size), rationale=f"{size} {unit}")


def tokens_of(text: str) -> int:
    """Return how many tokens of Llama 2's tokeniser the text has."""
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return sum(len(_tokenizer().encode_batch_fast([piece], add_special_tokens=False)[0]) for piece in pieces)


@lru_cache(maxsize=1)
def _tokenizer() -> "Tokenizer":
    """Return the tokeniser whose table the package of the embedded word vectors carries."""
    from tokenizers import Tokenizer  # loaded when somebody asks for it

    # One text at a time needs no threads of its own, and they would be in the way of a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return Tokenizer.from_file(str(package_folder() / _TABLE))


def package_folder() -> Path:
    """Return the folder of the wordllama package, without importing it."""
    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package wordllama is not installed")
    return Path(found.origin).parent
