"""The texts that Whet says to models, one versioned file each. `load(name)` gives the text and its digest."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Prompt", "load"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt text. `digest` is the SHA-256 of the text in hexadecimal: one changed word is another prompt."""

    name: str
    text: str
    digest: str


@cache
def load(name: str) -> Prompt:
    """Return the prompt `name`, from `name.md` beside this file without its leading comment.

    Raises `FileNotFoundError` when there is none.
    """
    text = resources.files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    if text.startswith("<!--"):
        text = text.partition("-->")[2]
    text = text.strip()
    return Prompt(name, text, hashlib.sha256(text.encode()).hexdigest())
