"""The texts that Whet says to models, and the rubrics it judges by, one versioned file each.

`load(name)` gives a prompt and its digest, `load_rubric(name)` a rubric's text, version and digest.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["Prompt", "RubricText", "load", "load_rubric", "rubric_names"]

_VERSION: Final = re.compile(r"version = (\d+)\n")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt text. `digest` is the SHA-256 of the text in hexadecimal: one changed word is another prompt."""

    name: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class RubricText:
    """A rubric as TOML, without the line that gives its version."""

    name: str
    version: int
    text: str


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


@cache
def load_rubric(name: str) -> RubricText:
    """Return the rubric `name`, from `rubrics/name.toml`, whose first line gives its version: whoever changes a word
    there counts it up. Raises `FileNotFoundError` when there is none.
    """
    text = resources.files(__package__).joinpath("rubrics", f"{name}.toml").read_text(encoding="utf-8")
    first = _VERSION.match(text)
    if first is None:
        raise ValueError(f"the rubric {name} does not begin with its version")
    return RubricText(name, int(first[1]), text[first.end() :].strip())


@cache
def rubric_names() -> tuple[str, ...]:
    """Return the names of the rubrics there are, in alphabetical order."""
    files = resources.files(__package__).joinpath("rubrics").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))
