"""The study: which configuration to try next. The only module that knows Optuna.

It loads Optuna and numpy, which take some 30 MB: import it on first use.

Optuna chooses, but keeps nothing: each suggestion is made by a fresh sampler from a window on the history and a source
of chance of its own, seeded by the sweep's seed and the trial's number. The event log stays the truth, and taking a
study up again costs no more than reading it.

In a space with a number of combinations no configuration is suggested twice: a repeated one is drawn again, a few times
by the method, then at random, then in a fixed order from those that are left; when none is left the space is exhausted.
"""

import math
from bisect import insort
from collections.abc import Container, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from whet_server.sweep.history import History, Strategy, Told, key_of, random_of
from whet_server.sweep.samplers import MOST_LISTED, filled
from whet_server.sweep.space import Space, fixed, labels_of, nearest
from whet_server.sweeping import Configuration, Sampler, SamplerKind, SearchDimension, Setting

optuna.logging.disable_default_handler()  # it writes to the error stream, which is the server's

_TRIES: Final = 3
"""How often the method may repeat itself before chance decides."""
_DRAWS: Final = 50
"""How often chance may, before those that are left are listed."""
_GOOD: Final = 25
"""The most trials that the Parzen estimator counts as good, as in Optuna: a tenth of all, and no more than this."""
_REST: Final = 120
"""How many of the others it sees."""
_NAME: Final = "sweep"


class Study:
    """One sweep's search. Synchronous and without input or output; one thread at a time may call it."""

    def __init__(self, space: Space, sampler: Sampler, directions: Sequence[bool], seed: int) -> None:
        """`directions`: for each objective, whether higher is better. The sampler's gaps are filled with defaults."""
        self._space = space
        self._sampler = filled(sampler, len(directions))
        self._directions = tuple(directions)
        self._seed = seed
        self._history = History()
        self._begin()

    def ask(self, number: int) -> Configuration | None:
        """Return the suggestion for a trial from what was told; None when the space is exhausted."""
        configuration = self._next_left() if self._sampler.kind is SamplerKind.GRID else self._suggested(number)
        if configuration is not None:
            self._history.ask(number, configuration)
        return configuration

    def restore(self, number: int, configuration: Configuration) -> None:
        """Go on as if `ask(number)` had answered this. The baseline, trial 0, comes in this way too."""
        self._history.ask(number, configuration)

    def tell(self, number: int, values: Sequence[float] | None, *, pruned_at: int | None = None) -> None:
        """Say what became of a trial, in the order of the numbers. None: it has no values, and teaches nothing.

        `pruned_at`: it was stopped after so many cases, and the values are those of these.
        """
        told = self._history.tell(number, self._losses(values), pruned_at)
        if told is not None:
            self._learn(told)

    def narrow(self, space: Space) -> None:
        """Suggest only what lies in this space from now on. Trials outside of it are no longer looked at."""
        self._space = space
        self._begin()
        for told in self._history.told:
            self._learn(told)

    def _begin(self) -> None:
        self._known = 0
        self._left: Iterator[Configuration] | None = None
        self._strategy = _strategy(self._space, self._sampler, len(self._directions))

    def _learn(self, told: Told) -> None:
        if self._space.contains(told.configuration):
            self._known += 1
            self._strategy.tell(told)

    def _losses(self, values: Sequence[float] | None) -> tuple[float, ...] | None:
        if values is None:
            return None
        return tuple(-value if up else value for value, up in zip(values, self._directions, strict=True))

    def _suggested(self, number: int) -> Configuration | None:
        if self._known >= self._sampler.startup_trials:
            pending = self._history.pending(self._space)
            for attempt in range(_TRIES):
                configuration = self._strategy.suggest(number, random_of(self._seed, number, attempt), pending)
                if self._new(configuration):
                    return configuration
        random = random_of(self._seed, number, "drawn")
        for _ in range(_DRAWS):
            configuration = self._space.drawn(random)
            if self._new(configuration):
                return configuration
        return self._next_left() if 0 < self._space.size <= MOST_LISTED else configuration

    def _new(self, configuration: Configuration) -> bool:
        return key_of(configuration) not in self._history.keys

    def _next_left(self) -> Configuration | None:
        """Return the next combination, in an order that the seed shuffles, that was not asked for yet."""
        if self._left is None:
            combinations = list(self._space.grid())
            random_of(self._seed, "grid").shuffle(combinations)
            self._left = iter(combinations)
        return next((each for each in self._left if self._new(each)), None)


def _strategy(space: Space, sampler: Sampler, objectives: int) -> Strategy:
    match sampler.kind:
        case SamplerKind.TPE:
            return _Parzen(space, objectives)
        case _:
            return _Chance(space)


class _Chance:
    """Uniformly at random."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def tell(self, told: Told) -> None:
        pass

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        del number, pending
        return self._space.drawn(random)


class _Window(InMemoryStorage):
    """What an Optuna sampler sees of the history: the trials that it is shown, and nothing of its own."""

    def __init__(self, objectives: int) -> None:
        super().__init__()
        self.create_new_study([StudyDirection.MINIMIZE] * objectives, _NAME)
        self.shown: list[FrozenTrial] = []
        self.written: dict[str, Any] = {}
        """What the sampler wrote down about the trial it was asked for."""

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 -- Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        del study_id, deepcopy
        return [trial for trial in self.shown if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        del trial_id
        self.written[key] = value

    def study(self, sampler: optuna.samplers.BaseSampler, shown: list[FrozenTrial]) -> optuna.Study:
        """Return a study that consists of the trials shown."""
        self.shown = shown
        self.written = {}
        return optuna.load_study(study_name=_NAME, storage=self, sampler=sampler)


class _Parzen:
    """The tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter optimization).

    It splits trials into the good and the rest, and its cost grows with the rest: 44 ms a trial at 5,000. So it is
    shown all that count as good, and the newest of the rest. Dimensions of one level are drawn together, so that it
    sees how they interact, and those below them then, from the trials in which the same ones count.
    """

    def __init__(self, space: Space, objectives: int) -> None:
        self._space = space
        self._distributions = {each.name: distribution(each) for each in space.dimensions}
        self._window = _Window(objectives)
        self._several = objectives > 1
        self._ranked: list[tuple[tuple[bool, int, float, int], FrozenTrial]] = []
        self._trials: list[FrozenTrial] = []

    def tell(self, told: Told) -> None:
        trial = _trial(told, several=self._several)
        self._trials.append(trial)
        insort(self._ranked, (told.rank, trial), key=lambda each: each[0])

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        good = min(math.ceil(len(self._trials) / 10), _GOOD)
        sampler = TPESampler(seed=random.getrandbits(32), n_startup_trials=0, multivariate=True)
        study = self._window.study(sampler, self._shown(good) + [_open(*each) for each in pending])
        trial = _open(number, {})
        settings: dict[str, Setting] = {}
        for level in self._space.levels():
            counting = [each for each in level if self._space.counts(each, settings)]
            open_ = {each.name: self._distributions[each.name] for each in counting}
            settings |= fixed(counting)
            found = sampler.sample_relative(study, trial, {name: of for name, of in open_.items() if not of.single()})
            settings |= _settings(counting, found)
        return self._space.ordered(settings)

    def _shown(self, good: int) -> list[FrozenTrial]:
        best = {trial.number: trial for _, trial in self._ranked[:good]}
        newest = [trial for trial in self._trials[-(_REST + good) :] if trial.number not in best]
        return sorted([*best.values(), *newest[-_REST:]], key=lambda trial: trial.number)


def distribution(dimension: SearchDimension) -> BaseDistribution:
    """Return a dimension as Optuna has it."""
    if (integers := dimension.int_range) is not None:
        return IntDistribution(
            integers.low, int(nearest(dimension, integers.high)), log=integers.log, step=integers.step or 1
        )
    if (numbers := dimension.float_range) is not None:
        return FloatDistribution(
            numbers.low, float(nearest(dimension, numbers.high)), log=numbers.log, step=numbers.step or None
        )
    return CategoricalDistribution(labels_of(dimension))


def _trial(told: Told, *, several: bool) -> FrozenTrial:
    """Return a trial as Optuna has it. Optuna knows stopped trials of one objective alone."""
    if told.pruned_at is None or several:
        return _frozen(told.number, told.configuration, TrialState.COMPLETE, values=list(told.losses))
    return _frozen(told.number, told.configuration, TrialState.PRUNED, stopped={told.pruned_at: told.losses[0]})


def _open(number: int, configuration: Configuration) -> FrozenTrial:
    return _frozen(number, configuration, TrialState.RUNNING)


def _frozen(
    number: int,
    configuration: Configuration,
    state: TrialState,
    *,
    values: list[float] | None = None,
    stopped: Mapping[int, float] | None = None,
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=values,
        datetime_start=None,
        datetime_complete=None,
        params=dict(configuration),
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(stopped or {}),
    )


def _settings(dimensions: Sequence[SearchDimension], found: Mapping[str, Any]) -> dict[str, Setting]:
    """Return what a sampler found as settings: numbers exactly on their steps."""
    return {
        each.name: found[each.name] if each.choices else nearest(each, found[each.name])
        for each in dimensions
        if each.name in found
    }
