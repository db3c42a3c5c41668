"""What a rubric is, and how its text is read.

A text says everything but the name and the version, which belong to whoever keeps it. One changed word of the text is
another digest, and with it another judge: what was found out about the old one does not hold for the new one.
"""

import hashlib
import math
import tomllib
from collections.abc import Iterator
from typing import Annotated, Final, TypeAlias

import msgspec

from whet_server.errors import InvalidField
from whet_server.values import Value

MOST_DIMENSIONS: Final = 20
"""More than a judge, or a person, keeps apart."""
MOST_LEVEL: Final = 10
"""As the contract says of ratings, which also keep 0 for something else: levels are 1 to 10."""
MOST_WORDS: Final = 1_000
"""Characters of a question or an anchor: a paragraph; all of them are read with every single answer."""

_Words: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_WORDS, pattern=r"\S")]
_Level: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_LEVEL)]


class _Dimension(msgspec.Struct, forbid_unknown_fields=True):
    """A dimension as it stands in a text."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
    question: _Words
    levels: dict[str, _Words]
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0
    optional: bool = False


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    """A rubric as it stands in a text."""

    description: _Words
    dimension: Annotated[list[_Dimension], msgspec.Meta(min_length=1, max_length=MOST_DIMENSIONS)]
    lowest: _Level = 1
    highest: _Level = 5


class Anchor(Value):
    """What an answer of this level is like."""

    level: int
    description: str


class Dimension(Value):
    """One thing that is judged. All weights of a rubric together are 1. `optional`: a judge may abstain from it, and
    the others stand for the whole; from any other one it abstains as a whole.
    """

    name: str
    description: str
    weight: float
    anchors: tuple[Anchor, ...]
    optional: bool = False


class Rubric(Value):
    """A version of a rubric. `digest` is the SHA-256 of `text` in hexadecimal."""

    name: str
    version: int
    digest: str
    description: str
    lowest: int
    highest: int
    dimensions: tuple[Dimension, ...]
    text: str
    built_in: bool = False
    create_ns: int | None = None

    def share(self, level: float) -> float:
        """Return where a level stands on the scale, 0 to 1."""
        return (level - self.lowest) / (self.highest - self.lowest)


def tidy(text: str) -> str:
    """Return the text as it is kept: ends of lines and white space around it do not make another rubric."""
    return text.replace("\r\n", "\n").strip()


def parse(text: str, name: str, version: int, *, built_in: bool = False, create_ns: int | None = None) -> Rubric:
    """Read a rubric. Raises `InvalidField` for `text`, which names the line or the key that is wrong and says why."""
    text = tidy(text)
    try:
        read = msgspec.convert(tomllib.loads(text), _Text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidField(("text", f"This is no TOML: {error}.")) from None
    except msgspec.ValidationError as error:
        raise InvalidField(("text", f"{error}; $ is the whole text.")) from None
    if wrong := list(_contradictions(read)):
        raise InvalidField(*(("text", what) for what in wrong))
    total = math.fsum(dimension.weight for dimension in read.dimension)
    return Rubric(
        name=name,
        version=version,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        description=read.description,
        lowest=read.lowest,
        highest=read.highest,
        dimensions=tuple(_dimension(dimension, total) for dimension in read.dimension),
        text=text,
        built_in=built_in,
        create_ns=create_ns,
    )


def _dimension(read: _Dimension, total: float) -> Dimension:
    return Dimension(
        name=read.name,
        description=read.question,
        weight=read.weight / total,
        anchors=tuple(
            Anchor(level=int(level), description=read.levels[level]) for level in sorted(read.levels, key=int)
        ),
        optional=read.optional,
    )


def _contradictions(read: _Text) -> Iterator[str]:
    """Say what is wrong with a text whose keys all have the right kinds of values."""
    if read.lowest >= read.highest:
        yield f"lowest is {read.lowest} and highest {read.highest}: the highest level must be above the lowest."
        return
    wanted = [str(level) for level in range(read.lowest, read.highest + 1)]
    names: set[str] = set()
    for at, dimension in enumerate(read.dimension):
        where = f"dimension[{at}] ({dimension.name})"
        if dimension.name in names:
            yield f"{where}: there is a dimension of this name already."
        names.add(dimension.name)
        if missing := [level for level in wanted if level not in dimension.levels]:
            yield f"{where}: levels lacks a sentence for {', '.join(missing)}."
        if foreign := [level for level in dimension.levels if level not in wanted]:
            yield f"{where}: levels has {', '.join(foreign)}, which is not on the scale of {wanted[0]} to {wanted[-1]}."
