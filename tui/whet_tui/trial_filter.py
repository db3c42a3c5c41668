"""Which trials pass a filter: `name=value`, `name<value`, `name>value` as in ListTrials, and bare words."""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from whet_tui.sweep_values import Goal, Trial

Passes: TypeAlias = Callable[[Trial], bool]

_TERM: Final = re.compile(r"([A-Za-z_][\w.-]*)([=<>])(.*)", re.DOTALL)
_COMPARES: Final[Mapping[str, Callable[[float, float], bool]]] = {"=": operator.eq, "<": operator.lt, ">": operator.gt}


class FilterError(ValueError):
    """The words are no filter. `str()` says what is wrong."""


def filtered(words: str, names: Collection[str]) -> Passes:
    """Return a test that a trial passes when every word holds. `names`: the dimensions. Raises `FilterError`.

    A bare word is looked for in the state, in the values of parameters and in the reason.
    """
    tests = [_test(word, names) for word in words.split()]
    return lambda trial: all(test(trial) for test in tests)


def _test(word: str, names: Collection[str]) -> Passes:
    found = _TERM.fullmatch(word)
    if found is None:
        return _words(word.lower())
    name, sign, wanted = found.groups()
    if name not in names and name not in _MEASURES:
        known = ", ".join((*_MEASURES, *names))
        raise FilterError(f"No trial has {name}: there are {known}.")
    if not wanted:
        raise FilterError(f"What is {name} to be compared with?")
    number = _number(wanted)
    if number is None and (sign != "=" or name in _MEASURES):
        raise FilterError(f"{wanted} is no number.")
    measure = _MEASURES.get(name) if name not in names else None
    compares = _COMPARES[sign]

    def test(trial: Trial) -> bool:
        value = measure(trial) if measure is not None else _parameter(trial, name)
        if isinstance(value, str):
            return sign == "=" and value == wanted
        return value is not None and number is not None and compares(value, number)

    return test


def _words(word: str) -> Passes:
    def test(trial: Trial) -> bool:
        values = (each.shown.lower() for each in trial.parameters)
        return word in trial.state or word in trial.reason.lower() or any(word in value for value in values)

    return test


def _parameter(trial: Trial, name: str) -> float | str | None:
    return next((each.value for each in trial.parameters if each.name == name), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_MEASURES: Final[Mapping[str, Callable[[Trial], float | None]]] = {
    "quality": lambda trial: trial.value(Goal.QUALITY),
    "cost": lambda trial: trial.value(Goal.COST),
    "latency": lambda trial: trial.value(Goal.LATENCY),
    "cases": lambda trial: trial.cases,
}
