"""The search space: its dimensions, which of them count in a configuration, how many combinations there are.

Each dimension may hang on one other, so that a space is a forest: a dimension counts while the one above it counts and
has one of the labels that it names. All questions are answered by walking down from the roots.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from random import Random
from typing import Final, TypeAlias

from msgspec.structs import replace

from whet_server.errors import InvalidField
from whet_server.sweeping import Choices, Configuration, FloatRange, IntRange, SearchDimension, Setting

MOST_COMBINATIONS: Final = 2**63 - 1
"""The wire's largest number: more combinations than that are said to be so many."""
MOST_EXACT: Final = 2**53
"""Integers up to here are exact as a double, which the samplers count in."""
_NEAR: Final = 1e-9
"""How far, in steps, a number may be off a multiple of its step: what arithmetic with doubles costs."""
Wrong: TypeAlias = tuple[str, str]


class Space:
    """Dimensions in their order. `check` them before anything else is asked of them."""

    def __init__(self, dimensions: Sequence[SearchDimension]) -> None:
        self.dimensions = tuple(dimensions)
        self._below: dict[str | None, list[SearchDimension]] = {}
        for dimension in self.dimensions:
            above = dimension.only_if.dimension if dimension.only_if else None
            self._below.setdefault(above, []).append(dimension)

    def check(self, path: str = "spec.space") -> None:
        """Raise `InvalidField` with everything that is wrong with any dimension."""
        wrong = [each for at, dimension in enumerate(self.dimensions) for each in _faults(dimension, f"{path}[{at}]")]
        wrong += self._misplaced(path)
        if wrong:
            raise InvalidField(*wrong)

    @cached_property
    def size(self) -> int:
        """How many combinations there are; 0: the space is continuous. Conditions are taken into account."""
        sizes = [self._size(dimension) for dimension in self._below.get(None, ())]
        return 0 if 0 in sizes else min(math.prod(sizes), MOST_COMBINATIONS)

    def active(self, configuration: Mapping[str, Setting]) -> tuple[SearchDimension, ...]:
        """Return the dimensions that count in it, in order."""
        counting = {dimension.name for dimension in self._walk(configuration)}
        return tuple(dimension for dimension in self.dimensions if dimension.name in counting)

    def complete(self, partial: Mapping[str, Setting], default: Mapping[str, Setting]) -> Configuration:
        """Return a whole configuration: what `partial` says, else `default`, else the first choice or lowest number.

        Dimensions that do not count in it are left out. It may lie outside of the space, as a baseline may.
        """
        settings = {**{each.name: _first(each) for each in self.dimensions}, **default, **partial}
        return self.ordered(settings)

    def ordered(self, settings: Mapping[str, Setting]) -> Configuration:
        """Return the configuration that settings for at least all dimensions that count come to."""
        return {dimension.name: settings[dimension.name] for dimension in self.active(settings)}

    def contains(self, configuration: Configuration) -> bool:
        """Whether it sets exactly the dimensions that count, each within its values."""
        active = self.active(configuration)
        return configuration.keys() == {each.name for each in active} and all(
            within(each, configuration[each.name]) for each in active
        )

    def narrowed(self, by: Sequence[SearchDimension], path: str = "retune.space") -> "Space":
        """Return the space with the ranges and choices of `by`; dimensions that it does not name stay as they are.

        What a choice stands for, steps, scales and conditions are the old ones: of choices, only the labels are read.
        Raises `InvalidField` for what lies outside of what it was.
        """
        known = {dimension.name: dimension for dimension in self.dimensions}
        wrong: list[Wrong] = []
        for at, dimension in enumerate(by):
            old = known.get(dimension.name)
            if old is None:
                wrong.append((f"{path}[{at}].name", f"the space has no dimension {dimension.name}"))
            elif fault := _outside(old, dimension):
                wrong.append((f"{path}[{at}]", fault))
            else:
                known[dimension.name] = _narrowed(old, dimension)
        if wrong:
            raise InvalidField(*wrong)
        return Space(tuple(known.values()))

    def grid(self) -> Iterator[Configuration]:
        """Go through every combination once. Only of a space with a size."""
        for settings in self._combinations(self._below.get(None, []), {}):
            yield self.ordered(settings)

    def walked(self, setting_of: Callable[[SearchDimension], Setting]) -> Configuration:
        """Make a configuration from the roots down: `setting_of` is asked for each dimension that comes to count."""
        settings: dict[str, Setting] = {}
        for dimension in self._walk(settings):
            settings[dimension.name] = setting_of(dimension)
        return self.ordered(settings)

    def drawn(self, random: Random) -> Configuration:
        """Draw a configuration at random: each dimension that counts uniformly on its scale."""
        return self.walked(lambda dimension: drawn(dimension, random))

    def distance(self, one: Mapping[str, Setting], other: Mapping[str, Setting]) -> float:
        """Return how far two configurations are from each other, on scales that are each 1 wide.

        Another choice is 1, and so is a dimension that counts in one of them alone.
        """
        return sum(_apart(each, one.get(each.name), other.get(each.name)) for each in self.dimensions)

    def levels(self) -> tuple[tuple[SearchDimension, ...], ...]:
        """Return the dimensions by how many others are above them, from the roots down, each level in order."""
        level = tuple(self._below.get(None, ()))
        levels = []
        while level:
            levels.append(level)
            level = tuple(each for above in level for each in self._below.get(above.name, ()))
        return tuple(levels)

    def counts(self, dimension: SearchDimension, settings: Mapping[str, Setting]) -> bool:
        """Whether a dimension counts, given the settings of those above it."""
        condition = dimension.only_if
        return condition is None or (
            condition.dimension in settings and str(settings[condition.dimension]) in condition.labels
        )

    def _walk(self, settings: Mapping[str, Setting]) -> Iterator[SearchDimension]:
        """Go down from the roots to each dimension that counts. Settings may come to be on the way."""
        stack = list(reversed(self._below.get(None, [])))
        while stack:
            dimension = stack.pop()
            yield dimension
            if dimension.name in settings:
                stack += [each for each in reversed(self._below.get(dimension.name, [])) if self.counts(each, settings)]

    def _size(self, dimension: SearchDimension) -> int:
        """Combinations of a dimension and all below it, while it counts."""
        own = _count(dimension)
        if not own:
            return 0
        below = self._below.get(dimension.name, [])
        sizes = {each.name: self._size(each) for each in below}
        labels = {label for each in below if each.only_if for label in each.only_if.labels if _has(dimension, label)}
        total = own - len(labels)
        for label in labels:
            under = [sizes[each.name] for each in below if each.only_if and label in each.only_if.labels]
            if 0 in under:
                return 0
            total += math.prod(under)
        return total

    def _combinations(
        self, open_: Sequence[SearchDimension], settings: dict[str, Setting]
    ) -> Iterator[dict[str, Setting]]:
        if not open_:
            yield settings
            return
        first, *others = open_
        for setting in _values(first):
            chosen = {**settings, first.name: setting}
            below = [each for each in self._below.get(first.name, []) if self.counts(each, chosen)]
            yield from self._combinations([*others, *below], chosen)

    def _misplaced(self, path: str) -> Iterator[Wrong]:
        known = {dimension.name: dimension for dimension in self.dimensions}
        seen: set[str] = set()
        reached = {each.name for level in self.levels() for each in level}
        for at, dimension in enumerate(self.dimensions):
            if dimension.name in seen:
                yield f"{path}[{at}].name", f"there are two dimensions {dimension.name}"
            seen.add(dimension.name)
            if (condition := dimension.only_if) is None:
                continue
            field = f"{path}[{at}].only_if"
            above = known.get(condition.dimension)
            if above is None:
                yield f"{field}.dimension", f"the space has no dimension {condition.dimension}"
            elif above.float_range:
                yield f"{field}.dimension", f"{above.name} is a float range; a condition needs choices or integers"
            elif dimension.name not in reached:
                yield f"{field}.dimension", f"{dimension.name} hangs on itself"
            else:
                yield from _unknown_labels(above, condition.labels, f"{field}.labels")


def within(dimension: SearchDimension, setting: Setting) -> bool:
    """Whether a dimension may be set to it."""
    if (choices := dimension.choices) is not None:
        return any(setting == choice.label for choice in choices.choices)
    if isinstance(setting, str):
        return False
    if (integers := dimension.int_range) is not None:
        whole = float(setting).is_integer() and integers.low <= setting <= integers.high
        return whole and (int(setting) - integers.low) % (integers.step or 1) == 0
    numbers = dimension.float_range or FloatRange()
    if not numbers.low <= setting <= numbers.high:
        return False
    steps = (setting - numbers.low) / numbers.step if numbers.step else 0.0
    return abs(steps - round(steps)) < _NEAR


def share_of(dimension: SearchDimension, setting: Setting) -> float:
    """Return where a number lies between its lowest (0) and highest (1), on its scale; at an end if outside. Not of
    choices.
    """
    low, high, log = _scale(dimension)
    if high <= low:
        return 0.5
    at = min(max(float(setting), low), high)
    if log:
        return (math.log(at) - math.log(low)) / (math.log(high) - math.log(low))
    return (at - low) / (high - low)


def at_share(dimension: SearchDimension, share: float) -> Setting:
    """Return the number that lies there, the inverse of `share_of`; the nearest one where there are steps."""
    low, high, log = _scale(dimension)
    share = min(max(share, 0.0), 1.0)
    if log:
        return nearest(dimension, math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
    return nearest(dimension, low + share * (high - low))


def nearest(dimension: SearchDimension, number: float) -> Setting:
    """Return the number of a range that is nearest."""
    if (integers := dimension.int_range) is not None:
        step = integers.step or 1
        at = round((number - integers.low) / step)
        return integers.low + min(max(at, 0), _count(dimension) - 1) * step
    numbers = dimension.float_range or FloatRange()
    if numbers.step:
        return _stepped(numbers, min(max(round((number - numbers.low) / numbers.step), 0), _count(dimension) - 1))
    return min(max(number, numbers.low), numbers.high)


def _apart(dimension: SearchDimension, one: Setting | None, other: Setting | None) -> float:
    if one == other:
        return 0.0
    if dimension.choices or one is None or other is None:
        return 1.0
    return abs(share_of(dimension, one) - share_of(dimension, other))


def drawn(dimension: SearchDimension, random: Random) -> Setting:
    """Draw one of its values, uniformly on its scale; each integer and step has the same room."""
    if (choices := dimension.choices) is not None:
        return choices.choices[random.randrange(len(choices.choices))].label
    low, high, log = _scale(dimension)
    if log and dimension.int_range:
        return nearest(dimension, math.exp(random.uniform(math.log(low - 0.5), math.log(high + 0.5))))
    if count := _count(dimension):
        return _at(dimension, random.randrange(count))
    return at_share(dimension, random.random())


def fixed(dimensions: Iterable[SearchDimension]) -> dict[str, Setting]:
    """Return the settings of those that have one value only, as narrowing leaves them."""
    return {each.name: _at(each, 0) for each in dimensions if _count(each) == 1}


def labels_of(dimension: SearchDimension) -> tuple[str, ...]:
    """Return the labels of choices; nothing of a range."""
    return tuple(choice.label for choice in dimension.choices.choices) if dimension.choices else ()


def _scale(dimension: SearchDimension) -> tuple[float, float, bool]:
    numbers = dimension.float_range or dimension.int_range or FloatRange()
    return numbers.low, numbers.high, numbers.log


def _count(dimension: SearchDimension) -> int:
    """How many values it has; 0: any in a range."""
    if dimension.choices is not None:
        return len(dimension.choices.choices)
    if (integers := dimension.int_range) is not None:
        return (integers.high - integers.low) // (integers.step or 1) + 1
    numbers = dimension.float_range or FloatRange()
    if numbers.low == numbers.high:
        return 1
    if not numbers.step:
        return 0
    return int((Decimal(str(numbers.high)) - Decimal(str(numbers.low))) / Decimal(str(numbers.step))) + 1


def _stepped(numbers: FloatRange, at: int) -> float:
    """The number `at` steps up, in decimal arithmetic: 0.3, not 0.30000000000000004."""
    return float(Decimal(str(numbers.low)) + at * Decimal(str(numbers.step))) if at else numbers.low


def _at(dimension: SearchDimension, at: int) -> Setting:
    if dimension.choices is not None:
        return dimension.choices.choices[at].label
    if (integers := dimension.int_range) is not None:
        return integers.low + at * (integers.step or 1)
    return _stepped(dimension.float_range or FloatRange(), at)


def _values(dimension: SearchDimension) -> Iterator[Setting]:
    return (_at(dimension, at) for at in range(_count(dimension)))


def _first(dimension: SearchDimension) -> Setting:
    return _at(dimension, 0) if _count(dimension) else _scale(dimension)[0]


def _has(dimension: SearchDimension, label: str) -> bool:
    if dimension.choices is not None:
        return label in labels_of(dimension)
    try:
        number = int(label)
    except ValueError:
        return False
    return str(number) == label and within(dimension, number)


def _faults(dimension: SearchDimension, path: str) -> Iterator[Wrong]:
    kinds = [kind for kind in (dimension.float_range, dimension.int_range, dimension.choices) if kind is not None]
    if len(kinds) != 1:
        yield path, f"say whether {dimension.name} is a float range, an int range or choices"
        return
    match kinds[0]:
        case FloatRange() | IntRange() as numbers:
            yield from _range_faults(numbers, f"{path}.{'float' if isinstance(numbers, FloatRange) else 'int'}_range")
        case Choices() as choices:
            yield from _choice_faults(choices, f"{path}.choices")
    if dimension.only_if is not None and not dimension.only_if.labels:
        yield f"{path}.only_if.labels", "name the labels with which it counts"


def _range_faults(numbers: FloatRange | IntRange, path: str) -> Iterator[Wrong]:
    lowest = 1 if isinstance(numbers, IntRange) else math.ulp(0.0)
    if not all(math.isfinite(each) for each in (numbers.low, numbers.high, numbers.step)):
        yield path, "give finite numbers"
    elif numbers.low >= numbers.high:
        yield f"{path}.high", f"must be above low, which is {numbers.low}"
    elif isinstance(numbers, IntRange) and max(abs(numbers.low), abs(numbers.high)) > MOST_EXACT:
        yield path, f"stay within {MOST_EXACT}"
    elif numbers.log and numbers.low < lowest:
        yield f"{path}.low", "must be above 0 on a logarithmic scale"
    elif numbers.log and numbers.step > (1 if isinstance(numbers, IntRange) else 0):
        yield f"{path}.step", "a logarithmic scale has no steps: leave out one of the two"
    elif numbers.step < 0 or numbers.step > numbers.high - numbers.low:
        yield f"{path}.step", f"must fit between {numbers.low} and {numbers.high}"


def _choice_faults(choices: Choices, path: str) -> Iterator[Wrong]:
    labels = [choice.label for choice in choices.choices]
    if len(labels) < 2:
        yield path, "give two choices or more"
    for at, label in enumerate(labels):
        if label in labels[:at]:
            yield f"{path}.choices[{at}].label", f"there are two choices {label}"


def _unknown_labels(above: SearchDimension, labels: Sequence[str], path: str) -> Iterator[Wrong]:
    for at, label in enumerate(labels):
        if not _has(above, label):
            yield f"{path}[{at}]", f"{above.name} is never {label}"


def _outside(old: SearchDimension, new: SearchDimension) -> str:
    """Why a dimension is no narrower form of an old one; empty when it is."""
    if new.only_if is not None and new.only_if != old.only_if:
        return f"the condition of {old.name} stays as it is"
    if old.choices is not None:
        unknown = [label for label in labels_of(new) if label not in labels_of(old)]
        return f"{old.name} has no choice {unknown[0]}" if unknown else "" if labels_of(new) else "give choices"
    numbers = new.float_range if old.float_range else new.int_range
    return "give a range of the same kind" if numbers is None else _outside_range(old, numbers)


def _outside_range(old: SearchDimension, numbers: FloatRange | IntRange) -> str:
    low, high, _ = _scale(old)
    if numbers.low > numbers.high:
        return "low is above high"
    if numbers.low < low or numbers.high > high:
        return f"{old.name} is from {low} to {high}"
    return "" if within(old, numbers.low) else f"{numbers.low} is none of the steps of {old.name}"


def _narrowed(old: SearchDimension, new: SearchDimension) -> SearchDimension:
    if old.choices is not None:
        kept = labels_of(new)
        return replace(old, choices=Choices(choices=tuple(each for each in old.choices.choices if each.label in kept)))
    if old.int_range is not None:
        integers = new.int_range or old.int_range
        return replace(old, int_range=replace(old.int_range, low=integers.low, high=integers.high))
    numbers = new.float_range or FloatRange()
    return replace(old, float_range=replace(old.float_range or numbers, low=numbers.low, high=numbers.high))
