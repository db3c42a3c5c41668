"""The places of a target: what a dimension may set, to which values."""

from collections.abc import Iterator
from enum import StrEnum
from math import isfinite
from typing import Final

from whet_server.sweeping import Choice, SearchDimension, Setting
from whet_server.values import Value

YES: Final = "yes"
NO: Final = "no"
MAX_TOKENS: Final = 1_000_000
MAX_SEED: Final = 2**63 - 1
MAX_SHOTS: Final = 100


class PlaceKind(StrEnum):
    TEXT = "text"
    MODEL = "model"
    MODELS = "models"
    NUMBER = "number"
    INTEGER = "integer"
    NAME = "name"


class Place(Value):
    """What a place takes. Numbers lie from `low` (or `above` it) to `high`; names are one of `names`."""

    kind: PlaceKind
    low: float = 0.0
    high: float = 0.0
    above: bool = False
    names: tuple[str, ...] = ()


TEXT: Final = Place(kind=PlaceKind.TEXT)
MODEL: Final = Place(kind=PlaceKind.MODEL)
MODELS: Final = Place(kind=PlaceKind.MODELS)
SWITCH: Final = Place(kind=PlaceKind.NAME, names=(YES, NO))
TEMPERATURE: Final = Place(kind=PlaceKind.NUMBER, high=2.0)
TOP_P: Final = Place(kind=PlaceKind.NUMBER, high=1.0, above=True)
TOKENS: Final = Place(kind=PlaceKind.INTEGER, low=1, high=MAX_TOKENS)
SEED: Final = Place(kind=PlaceKind.INTEGER, high=MAX_SEED)
SHOTS: Final = Place(kind=PlaceKind.INTEGER, high=MAX_SHOTS)


def number_of(setting: Setting) -> float | None:
    """Return what a number or the label of a choice stands for; None where that is no finite number."""
    try:
        number = float(setting)
    except ValueError:
        return None
    return number if isfinite(number) else None


def text_of(choice: Choice) -> str:
    """Return the text that a choice stands for."""
    return choice.text or choice.label


def same(label: str, value: Setting) -> bool:
    """Whether the label of a choice says this value, as `0.70` says 0.7."""
    return label == value or (not isinstance(value, str) and number_of(label) == value)


def wrong(dimension: SearchDimension, place: Place, path: str) -> Iterator[tuple[str, str]]:
    """Yield what of a dimension does not fit its place, with paths."""
    if dimension.choices is not None:
        for at, choice in enumerate(dimension.choices.choices):
            yield from _wrong_choice(choice, place, f"{path}.choices.choices[{at}]")
        return
    if place.kind not in {PlaceKind.NUMBER, PlaceKind.INTEGER}:
        yield path, f"{dimension.name} is set to one of several choices, not to a number"
        return
    if dimension.float_range is not None and place.kind is PlaceKind.INTEGER:
        yield f"{path}.float_range", f"{dimension.name} is a whole number: give an int_range"
    ends = dimension.float_range or dimension.int_range
    if ends is not None and not (_within(ends.low, place) and _within(ends.high, place)):
        kind = "float_range" if dimension.float_range else "int_range"
        yield f"{path}.{kind}", f"{dimension.name} {_bounds(place)}"


def wrong_number(number: Setting, place: Place, path: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a number at a place."""
    if not isinstance(number, str) and not _within(number, place):
        yield path, _bounds(place)


def wrong_setting(setting: Setting, place: Place, path: str) -> Iterator[tuple[str, str]]:
    """Yield what of a setting does not fit its place. `path` is the parameter's."""
    yield from ((path, fault) for _, fault in _wrong_choice(Choice(label=str(setting)), place, path))


def _wrong_choice(choice: Choice, place: Place, path: str) -> Iterator[tuple[str, str]]:
    if choice.text and place.kind is not PlaceKind.TEXT:
        yield f"{path}.text", "only a template, a system message or a variable stands for a text"
    if choice.models and place.kind is not PlaceKind.MODELS:
        yield f"{path}.models", "only a panel stands for several models"
    match place.kind:
        case PlaceKind.NUMBER | PlaceKind.INTEGER:
            number = number_of(choice.label)
            whole = number is not None and number == int(number)
            if number is None or (place.kind is PlaceKind.INTEGER and not whole):
                kind = "whole number" if place.kind is PlaceKind.INTEGER else "number"
                yield f"{path}.label", f"{choice.label[:60]!r} is no {kind}"
            elif not _within(number, place):
                yield f"{path}.label", _bounds(place)
        case PlaceKind.NAME if choice.label not in place.names:
            yield f"{path}.label", f"{choice.label[:60]!r} is none of {', '.join(place.names)}"
        case _:
            pass


def _within(number: float, place: Place) -> bool:
    return (place.low < number if place.above else place.low <= number) and number <= place.high


def _bounds(place: Place) -> str:
    low = f"above {place.low:g}" if place.above else f"at least {place.low:g}"
    return f"must be {low} and at most {place.high:.15g}"
