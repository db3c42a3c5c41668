"""A space in which the parts only help together: prompt B wins at a low temperature on model 2, and nowhere else.

One part at a time from the baseline, each change makes it worse, so that whoever goes on part by part stays where they
were. The study searches all of it at once. Both see the same: the share of right answers to a finite number of cases.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from whet_eval.bench.figure import Figure
from whet_server.sweep.space import Space
from whet_server.sweeping import Choice, Choices, Configuration, FloatRange, Sampler, SamplerKind, SearchDimension

SEEDS: Final = 100
TRIALS: Final = 60
"""Trials of a sweep, the baseline included."""
CASES: Final = 60
"""Cases of a trial: the scores of two trials alike differ by 0.09 in one of three pairs."""
BAR: Final = 0.95
"""The share of seeds that the issue of sweeps asks for."""
TWO_AT_ONCE: Final = 4
LOW: Final = 0.5
"""The highest temperature that is low."""
BASELINE: Final[Configuration] = {"prompt": "A", "model": "model 1", "temperature": 1.0}
STEPS: Final = 8
"""Temperatures that the search by parts tries: it goes through all parts four times with these trials."""
PROMPTS: Final = ("A", "B")
MODELS: Final = ("model 1", "model 2", "model 3")

SPACE: Final = Space(
    (
        SearchDimension(name="prompt", choices=Choices(choices=tuple(Choice(label=each) for each in PROMPTS))),
        SearchDimension(name="model", choices=Choices(choices=tuple(Choice(label=each) for each in MODELS))),
        SearchDimension(name="temperature", float_range=FloatRange(low=0.0, high=2.0)),
    )
)


def wins(configuration: Configuration) -> bool:
    """Whether a configuration is of the kind that wins."""
    return (
        configuration["prompt"] == "B"
        and configuration["model"] == "model 2"
        and float(configuration["temperature"]) <= LOW
    )


def truth(configuration: Configuration) -> float:
    """Return the share of cases that a configuration answers rightly in the long run.

    0.9 for what wins. All others have 0.6, less what departs from the baseline: 0.06 for prompt B, 0.06 for another
    model than the first, and 0.05 for a low temperature.
    """
    if wins(configuration):
        return 0.9
    value = 0.6 - (0.0 if configuration["prompt"] == "A" else 0.06)
    value -= 0.0 if configuration["model"] == "model 1" else 0.06
    return value - (0.05 if float(configuration["temperature"]) <= LOW else 0.0)


class Measured:
    """Scores trials by the same number of cases, with the chance of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 -- no secret: it must come again
        self.trials: list[tuple[Configuration, float]] = []

    def score(self, configuration: Configuration) -> float:
        """Return the share of right answers."""
        right = sum(self._random.random() < truth(configuration) for _ in range(CASES))
        self.trials.append((configuration, right / CASES))
        return right / CASES

    @property
    def best(self) -> Configuration:
        """The first of the highest score."""
        return max(self.trials, key=lambda each: each[1])[0]


def together(kind: SamplerKind, seed: int) -> Configuration:
    """Return the best of a sweep over the joint space, with several trials at once."""
    from whet_server.sweep.study import Study

    study, measured = Study(SPACE, Sampler(kind=kind), [True], seed), Measured(seed)
    study.restore(0, BASELINE)
    scores = [measured.score(BASELINE)]
    for number in range(1, TRIALS):
        if number >= TWO_AT_ONCE:
            study.tell(number - TWO_AT_ONCE, [scores[number - TWO_AT_ONCE]])
        configuration = study.ask(number)
        if configuration is None:
            break
        scores.append(measured.score(configuration))
    return measured.best


def part_by_part(seed: int) -> Configuration:
    """Return the best of a search that changes one part at a time and keeps what is best, with as many trials."""
    measured = Measured(seed)
    base = dict(BASELINE)
    temperatures = [2.0 * at / (STEPS - 1) for at in range(STEPS)]
    parts: dict[str, list[str] | list[float]] = {
        "prompt": list(PROMPTS),
        "model": list(MODELS),
        "temperature": temperatures,
    }
    while len(measured.trials) < TRIALS:
        for name, values in parts.items():
            tried = [(measured.score({**base, name: value}), {**base, name: value}) for value in values]
            base = max(tried, key=lambda each: each[0])[1]
    return base


def share(search: Callable[[int], Configuration]) -> float:
    """Return the share of seeds in which a search ends at what wins."""
    return sum(wins(search(seed)) for seed in range(SEEDS)) / SEEDS


def figures() -> Iterator[Figure]:
    """The joint search beside chance and beside the search part by part."""
    note = f"{SEEDS} seeds, {TRIALS} trials of {CASES} cases"
    yield Figure(
        name="interaction found, TPE over the joint space",
        value=share(lambda seed: together(SamplerKind.TPE, seed)),
        unit="",
        bar=BAR,
        better="higher",
        note=note,
    )
    chance = share(lambda seed: together(SamplerKind.RANDOM, seed))
    yield Figure(name="interaction found, at random", value=chance, unit="", note=note)
    yield Figure(name="interaction found, part by part", value=share(part_by_part), unit="", note=note)
