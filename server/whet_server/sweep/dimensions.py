"""A target's dimensions: which are places of it and which variables of its templates, and what settings stand for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from whet_server.errors import InvalidField
from whet_server.sweep import places
from whet_server.sweep.places import Place
from whet_server.sweeping import Choice, Configuration, SearchDimension, Setting
from whet_server.values import Parameters

PARAMS: Final = "params"
"""The name under which templates see variables."""
_SAMPLING: Final = ("temperature", "top_p", "max_tokens", "seed")


class Dimensions:
    """The dimensions of a space in which a target has these places."""

    def __init__(self, dimensions: Sequence[SearchDimension], there: Mapping[str, Place]) -> None:
        self._dimensions = tuple(dimensions)
        self._places = there
        self._by_name = {each.name: each for each in dimensions}
        self._choices = {
            each.name: {choice.label: choice for choice in each.choices.choices}
            for each in dimensions
            if each.choices is not None
        }
        self.variables = tuple(each.name for each in dimensions if each.name not in there)
        """The dimensions that are no places: templates see them as `params.<name>`."""

    def of(self, name: str) -> SearchDimension | None:
        return self._by_name.get(name)

    def where(self, name: str) -> str:
        """Return the place of a dimension in the list, as paths write it."""
        return f"[{next(at for at, each in enumerate(self._dimensions) if each.name == name)}]"

    def check(self, path: str, what: str) -> None:
        """Raise `InvalidField` with every dimension that does not fit. `what` the target is, in words."""
        wrong: list[tuple[str, str]] = []
        for at, dimension in enumerate(self._dimensions):
            place = self._places.get(dimension.name)
            if place is not None:
                wrong += places.wrong(dimension, place, f"{path}[{at}]")
            elif not dimension.name.isidentifier():
                there = f"there are {', '.join(self._places)}, and variables of templates, which are plain names"
                wrong.append((f"{path}[{at}].name", f"{dimension.name} is no place of the {what}; {there}"))
            elif dimension.choices is not None:
                wrong += places.wrong(dimension, places.TEXT, f"{path}[{at}]")
        if wrong:
            raise InvalidField(*wrong)

    def check_used(self, used: set[str], path: str) -> None:
        """Raise `InvalidField` for variables that no template asks for. `used` are the paths that templates do."""
        unused = [name for name in self.variables if not {PARAMS, f"{PARAMS}.{name}"} & used]
        if unused:
            what = f"nothing uses it: it is no place of the target, and no template says {PARAMS}."
            raise InvalidField(*((f"{path}{self.where(name)}.name", what + name) for name in unused))

    def text(self, name: str, configuration: Configuration, texts: Mapping[str, str]) -> str | None:
        """Return the text that a setting stands for; None where it is not set. `texts` are the sweep's own."""
        if name not in configuration:
            return None
        label = str(configuration[name])
        if label in texts:
            return texts[label]
        choice = self._choices.get(name, {}).get(label)
        return label if choice is None else places.text_of(choice)

    def params(self, configuration: Configuration, texts: Mapping[str, str]) -> dict[str, Setting]:
        """Return the variables of templates under a configuration."""
        return {
            name: setting if not isinstance(setting, str) else self.text(name, configuration, texts) or ""
            for name, setting in configuration.items()
            if name not in self._places
        }

    def choice(self, name: str, configuration: Configuration) -> Choice | None:
        """Return the choice that is set."""
        return self._choices.get(name, {}).get(str(configuration.get(name, "")))

    def number(self, name: str, configuration: Configuration) -> float | None:
        return places.number_of(configuration[name]) if name in configuration else None

    def integer(self, name: str, configuration: Configuration) -> int | None:
        number = self.number(name, configuration)
        return None if number is None else int(number)

    def parameters(self, configuration: Configuration, before: str = "") -> Parameters:
        """Return the sampling parameters that are set, at the places whose names begin with `before`."""
        there = {name: place for name in _SAMPLING if (place := before + name) in self._places}
        number, integer = self.number, self.integer
        return Parameters(
            temperature=number(there.get("temperature", ""), configuration),
            top_p=number(there.get("top_p", ""), configuration),
            max_tokens=integer(there.get("max_tokens", ""), configuration),
            seed=integer(there.get("seed", ""), configuration),
        )

    def settings(self, said: Mapping[str, Setting | None]) -> Configuration:
        """Return what a target says at the dimensions' places, as the dimensions say it: labels, integers, numbers."""
        return {
            each.name: setting
            for each in self._dimensions
            if (value := said.get(each.name)) is not None and (setting := _setting(each, value)) is not None
        }

    def texts(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield every text that a dimension may be set to, with its path after the space's."""
        for at, choice in enumerate(self._choices.get(name, {}).values()):
            yield f"{self.where(name)}.choices.choices[{at}].text", places.text_of(choice)

    def ends(self, name: str) -> list[Setting]:
        """Return the values of a dimension, of a range its ends; none where there is no such dimension."""
        dimension = self._by_name.get(name)
        if dimension is None or dimension.choices is not None:
            return list(self._choices.get(name, {}))
        ends = dimension.float_range or dimension.int_range
        return [ends.low, ends.high] if ends is not None else []

    def labels(self, name: str) -> tuple[str, ...]:
        """Return the labels of a dimension of choices."""
        return tuple(self._choices.get(name, {}))

    def highest(self, name: str, own: int | None = None) -> int | None:
        """Return the highest number that a place can have: `own` holds where no dimension counts."""
        there = [places.number_of(value) or 0 for value in self.ends(name)]
        if not there:
            return own
        dimension = self._by_name[name]
        return int(max([*there, own or 0] if dimension.only_if else there))


def _setting(dimension: SearchDimension, said: Setting) -> Setting | None:
    """Return a value as the dimension says it, or None where it cannot."""
    if dimension.choices is not None:
        exact = (each.label for each in dimension.choices.choices if said in {each.text, each.label})
        like = (each.label for each in dimension.choices.choices if places.same(each.label, said))
        return next(exact, None) or next(like, None)
    if isinstance(said, str):
        return None
    return int(said) if dimension.int_range is not None else float(said)
