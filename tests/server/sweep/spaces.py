"""Search spaces for tests: single dimensions by hand, and any valid space by hypothesis."""

from collections.abc import Sequence

from hypothesis import strategies as st

from whet_server.sweep.space import Space
from whet_server.sweeping import Choice, Choices, Condition, FloatRange, IntRange, SearchDimension


def real(name: str, low: float = 0.0, high: float = 1.0, *, log: bool = False, step: float = 0.0) -> SearchDimension:
    return SearchDimension(name=name, float_range=FloatRange(low=low, high=high, log=log, step=step))


def whole(name: str, low: int = 1, high: int = 9, *, log: bool = False, step: int = 0) -> SearchDimension:
    return SearchDimension(name=name, int_range=IntRange(low=low, high=high, log=log, step=step))


def one_of(name: str, *labels: str) -> SearchDimension:
    return SearchDimension(name=name, choices=Choices(choices=tuple(Choice(label=label) for label in labels)))


def only_if(dimension: SearchDimension, above: str, *labels: str) -> SearchDimension:
    return SearchDimension(
        name=dimension.name,
        float_range=dimension.float_range,
        int_range=dimension.int_range,
        choices=dimension.choices,
        only_if=Condition(dimension=above, labels=labels),
    )


def space(*dimensions: SearchDimension) -> Space:
    made = Space(dimensions)
    made.check()
    return made


MIXED = space(
    one_of("model", "small", "large", "other"),
    real("temperature", 0.0, 2.0),
    only_if(real("top_p", 0.1, 1.0, step=0.1), "model", "large"),
    whole("tokens", 16, 1024, log=True),
    only_if(one_of("style", "short", "long"), "model", "large", "other"),
    only_if(whole("examples", 0, 8, step=2), "style", "long"),
)
"""Every kind of dimension, nested conditions, without number."""


@st.composite
def kinds(draw: st.DrawFn, name: str, *, counted: bool) -> SearchDimension:
    match draw(st.sampled_from(["choices", "int", "step"] if counted else ["choices", "int", "step", "float"])):
        case "choices":
            return one_of(name, *("abcd"[: draw(st.integers(2, 4))]))
        case "int":
            low = draw(st.integers(1, 5))
            log = draw(st.booleans())
            return whole(name, low, low + draw(st.integers(1, 4)), log=log, step=0 if log else draw(st.integers(0, 1)))
        case "step":
            return real(name, 0.0, draw(st.sampled_from([0.3, 0.7, 1.0])), step=draw(st.sampled_from([0.1, 0.25])))
        case _:
            log = draw(st.booleans())
            return real(name, 0.01 if log else draw(st.floats(-5, 0)), draw(st.floats(1, 9)), log=log)


@st.composite
def spaces(draw: st.DrawFn, *, counted: bool = False, most: int = 4) -> Space:
    """A valid space, with conditions on conditions in any order of the dimensions; `counted`: with a number."""
    made: list[SearchDimension] = []
    for at in range(draw(st.integers(1, most))):
        dimension = draw(kinds(f"d{at}", counted=counted))
        above = draw(st.sampled_from([None, *[each for each in made if not each.float_range]]))
        if above is not None:
            labels = draw(st.lists(st.sampled_from(labels_of(above)), min_size=1, unique=True))
            dimension = only_if(dimension, above.name, *labels)
        made.append(dimension)
    return space(*draw(st.permutations(made)))


def labels_of(dimension: SearchDimension) -> Sequence[str]:
    if dimension.choices:
        return [choice.label for choice in dimension.choices.choices]
    integers = dimension.int_range or IntRange()
    return [str(each) for each in range(integers.low, integers.high + 1, integers.step or 1)]
