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
from optuna.samplers import CmaEsSampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from whet_server.sweep.gaussian import Process
from whet_server.sweep.guided import Guided
from whet_server.sweep.history import History, Strategy, Told, key_of, random_of
from whet_server.sweep.samplers import MOST_LISTED, filled
from whet_server.sweep.space import Space, drawn, fixed, labels_of, nearest
from whet_server.sweeping import Configuration, Importance, Sampler, SamplerKind, SearchDimension, Setting

optuna.logging.disable_default_handler()  # it writes to the error stream, which is the server's

_TRIES: Final = 3
"""How often the method may repeat itself before chance decides."""
_DRAWS: Final = 50
"""How often chance may, before those that are left are listed."""
_MODELS: Final = frozenset({SamplerKind.TPE, SamplerKind.GAUSSIAN_PROCESS})
_EXPLORE_EVERY: Final = 4
"""One of so many trials of these looks where nobody has looked."""
_CANDIDATES: Final = 6
_LATELY: Final = 40
"""Configurations that it keeps away from: more would cost more than a suggestion does."""
_GOOD: Final = 25
"""The most trials that the Parzen estimator counts as good, as in Optuna: a tenth of all, and no more than this."""
_REST: Final = 60
"""How many of the others it sees: what a suggestion takes grows with them, and all together tell little more."""
FEWEST: Final = 10
"""Trials below which nothing is said about what matters."""
_TARGET: Final = 5
"""Trials that are counted among the best at least, as Optuna advises."""
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
        if self._explores(number):
            configuration = self._far(random_of(self._seed, number, "far"))
            if self._new(configuration):
                return configuration
        elif self._known >= self._sampler.startup_trials:
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

    def _explores(self, number: int) -> bool:
        """Whether a trial of a method that models what it sees looks where nobody has looked.

        What only helps together with something else is invisible to a model until it was seen once, and all around it
        looks worse: then such a method never comes there by itself.
        """
        return self._sampler.kind in _MODELS and (
            self._known < self._sampler.startup_trials or number % _EXPLORE_EVERY == 0
        )

    def _far(self, random: Random) -> Configuration:
        """Return the one of a few at random that is farthest from all that was asked for lately."""
        lately = list(self._history.asked.values())[-_LATELY:]
        drawn_ = [self._space.drawn(random) for _ in range(_CANDIDATES)]
        return max(drawn_, key=lambda each: min((self._space.distance(each, other) for other in lately), default=0.0))

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
        case SamplerKind.CMA_ES:
            return _Covariance(space)
        case SamplerKind.NSGA_II:
            return _Genetic(space, objectives, sampler.startup_trials)
        case SamplerKind.GAUSSIAN_PROCESS:
            return Process(space)
        case SamplerKind.GUIDED_TOP_K:
            return Guided(space, sampler.top_k, sampler.explore or 0.0)
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
    sees how they interact, and those below them then, from the trials in which the same ones count. What is asked and
    not told counts among the rest, so that trials under way keep their distance.
    """

    def __init__(self, space: Space, objectives: int) -> None:
        self._space = space
        self._window = _Window(objectives)
        self._several = objectives > 1
        self._trials: list[FrozenTrial] = []
        self._best: list[Told] = []
        """The good ones of one objective, the best first; of several, those that no other beats."""

    def tell(self, told: Told) -> None:
        self._trials.append(_trial(told, stopped=not self._several))
        if self._several:
            self._best = _unbeaten(told, self._best)
        else:
            insort(self._best, told, key=lambda each: each.rank)
        del self._best[_GOOD:]

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        sampler = TPESampler(seed=random.getrandbits(32), n_startup_trials=0, multivariate=True)
        study = self._window.study(sampler, self._shown() + [_open(*each) for each in pending])
        trial = _open(number, {})
        settings: dict[str, Setting] = {}
        for level in self._space.levels():
            counting = [each for each in level if self._space.counts(each, settings)]
            settings |= fixed(counting)
            settings |= _settings(counting, sampler.sample_relative(study, trial, _open_distributions(counting)))
        return self._space.ordered(settings)

    def _shown(self) -> list[FrozenTrial]:
        best = [_trial(told, stopped=not self._several) for told in self._best]
        numbers = {trial.number for trial in best}
        newest = [trial for trial in self._trials[-(_REST + len(best)) :] if trial.number not in numbers]
        return sorted([*best, *newest[-_REST:]], key=lambda trial: trial.number)


class _Covariance:
    """Covariance matrix adaptation (Hansen 2016, The CMA evolution strategy: a tutorial), for numbers.

    Trials make a generation in the order in which they are told, whichever was current when they were asked for: so
    trials under way do not hold it up, and the state follows from what was told alone. Choices are drawn at random.
    A number that did not count in a trial is taken to be what the generation would have drawn.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._numbers = [each for each in space.dimensions if not each.choices]
        self._distributions = _open_distributions(self._numbers)
        self._size = 4 + int(3 * math.log(max(len(self._distributions), 1)))
        self._window = _Window(1)
        self._state: dict[str, Any] = {}
        """The strategy's state, as Optuna writes it down: its names for it are never read here."""
        self._generation: list[tuple[Told, Configuration]] = []

    def tell(self, told: Told) -> None:
        if not self._distributions:
            return
        drawn = _settings(self._numbers, self._drawn(random_of(told.number, "latent")))
        self._generation.append((told, {**drawn, **told.configuration}))
        if len(self._generation) == self._size:
            self._advance()

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        del number, pending
        found = _settings(self._numbers, self._drawn(random)) if self._distributions else {}
        return self._space.walked(lambda each: found[each.name] if each.name in found else drawn(each, random))

    def _advance(self) -> None:
        self._drawn(random_of(0, "mark"))
        mark = dict(self._window.written)
        trials = [
            _frozen(told.number, settings, TrialState.COMPLETE, values=[told.losses[0]], attributes=mark)
            for told, settings in self._generation
        ]
        trials[-1].system_attrs.update(self._state)
        self._drawn(random_of(0, "advance"), trials)
        self._state = {name: value for name, value in self._window.written.items() if name not in mark}
        self._generation = []

    def _drawn(self, random: Random, generation: Sequence[FrozenTrial] = ()) -> dict[str, Any]:
        """Draw from the distribution as it stands, or as it is after a whole generation."""
        sampler = CmaEsSampler(
            seed=random.getrandbits(32), n_startup_trials=0, popsize=self._size, warn_independent_sampling=False
        )
        before = _frozen(0, {}, TrialState.COMPLETE, values=[0.0], attributes=self._state)
        study = self._window.study(sampler, list(generation) or [before])
        return sampler.sample_relative(study, _open(0, {}), self._distributions)


class _Genetic:
    """NSGA-II (Deb et al. 2002, A fast and elitist multiobjective genetic algorithm).

    As in `_Covariance`, trials make a generation in the order in which they are told. Each trial has all genes: those
    that do not count in it were drawn at random and lie dormant.
    """

    def __init__(self, space: Space, objectives: int, population: int) -> None:
        self._space = space
        self._distributions = _open_distributions(space.dimensions)
        self._window = _Window(objectives)
        self._size = max(population, 2)
        self._parents: list[FrozenTrial] = []
        self._generation: list[FrozenTrial] = []

    def tell(self, told: Told) -> None:
        random = random_of(told.number, "latent")
        genes = {each.name: drawn(each, random) for each in self._space.dimensions} | told.configuration
        self._generation.append(_frozen(told.number, genes, TrialState.COMPLETE, values=list(told.losses)))
        if len(self._generation) == self._size:
            sampler = _Breeder(self._size, self._parents, self._generation, seed=0)
            self._parents = sampler.select_parent(self._window.study(sampler, []), 1)
            self._generation = []

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        del pending
        found: dict[str, Setting] = {}
        if self._parents and self._distributions:
            sampler = _Breeder(self._size, self._parents, [], seed=random.getrandbits(32))
            child = sampler.sample_relative(self._window.study(sampler, []), _open(number, {}), self._distributions)
            found = _settings(self._space.dimensions, child)
        return self._space.walked(lambda each: found[each.name] if each.name in found else drawn(each, random))


class _Breeder(NSGAIISampler):
    """Optuna's sampler with the generations of `_Genetic` instead of those that it would read from trials."""

    def __init__(self, size: int, parents: list[FrozenTrial], generation: list[FrozenTrial], *, seed: int) -> None:
        super().__init__(population_size=size, seed=seed)
        self._bred = (parents, generation)

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        del study, trial
        return 1

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        del study, generation
        return self._bred[1]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        del study, generation
        return self._bred[0]


def _unbeaten(told: Told, others: Sequence[Told]) -> list[Told]:
    """Return those that no other is at least as good as everywhere, the newest first."""

    def beats(one: Told, other: Told) -> bool:
        return all(a <= b for a, b in zip(one.losses, other.losses, strict=True))

    if any(beats(other, told) for other in others):
        return list(others)
    return [told, *(other for other in others if not beats(told, other))]


def importance(space: Space, trials: Sequence[tuple[Configuration, float]], *, higher: bool) -> tuple[Importance, ...]:
    """Return what share of the way to the best trials each dimension explains, the most first; the shares sum to 1.

    PED-ANOVA (Watanabe et al. 2023, Efficiently quantifying hyperparameter importance in arbitrary subspaces): how far
    the best tenth of the trials is spread otherwise than all of them, dimension by dimension; choices as a whole. Of a
    dimension that does not always count, only the trials in which it does are looked at. Empty with fewer than
    `FEWEST` trials in the space, and where nothing makes a difference.
    """
    known = [
        (configuration, -value if higher else value) for configuration, value in trials if space.contains(configuration)
    ]
    if len(known) < FEWEST:
        return ()
    weights = {each.name: _weight(each, known) for each in space.dimensions}
    total = math.fsum(weights.values())
    if total <= 0:
        return ()
    ranked = sorted(weights, key=lambda name: -weights[name])
    return tuple(Importance(name=name, share=weights[name] / total) for name in ranked)


def _weight(dimension: SearchDimension, known: Sequence[tuple[Configuration, float]]) -> float:
    """Return a dimension's weight among trials with their losses.

    Where a single trial counts it or does not, that one is left out: it shows nothing.
    """
    from optuna.importance import PedAnovaImportanceEvaluator  # it loads scikit-learn where that is installed

    counting, idle = ([each for each in known if (dimension.name in each[0]) is side] for side in (True, False))
    seen = [each for side in (counting, idle) if len(side) > 1 for each in side]
    open_ = _open_distributions([dimension])
    if len(counting) <= 1 or not open_:
        return 0.0
    worst = max(loss for _, loss in seen)
    better = sum(loss < worst for _, loss in seen)
    if not better:
        return 0.0
    shown = [_weighed(number, *each, open_) for number, each in enumerate(seen)]
    quantile = min(max(0.1, _TARGET / len(seen)), (better - 0.5) / len(seen))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    return evaluator.evaluate(_Window(1).study(TPESampler(), shown), [dimension.name])[dimension.name]


def _weighed(
    number: int, configuration: Configuration, loss: float, open_: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    counting = {name: of for name, of in open_.items() if name in configuration}
    settings = {name: configuration[name] for name in counting}
    return _frozen(number, settings, TrialState.COMPLETE, values=[loss], distributions=counting)


def _open_distributions(dimensions: Sequence[SearchDimension]) -> dict[str, BaseDistribution]:
    """Return the dimensions with more than one value as Optuna has them."""
    made = {each.name: distribution(each) for each in dimensions}
    return {name: of for name, of in made.items() if not of.single()}


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


def _trial(told: Told, *, stopped: bool) -> FrozenTrial:
    """Return a trial as Optuna has it. `stopped`: tell trials that were stopped from whole ones, one objective only."""
    if told.pruned_at is None or not stopped:
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
    attributes: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
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
        distributions=dict(distributions or {}),
        user_attrs={},
        system_attrs=dict(attributes or {}),
        intermediate_values=dict(stopped or {}),
    )


def _settings(dimensions: Sequence[SearchDimension], found: Mapping[str, Any]) -> dict[str, Setting]:
    """Return what a sampler found as settings: numbers exactly on their steps."""
    return {
        each.name: found[each.name] if each.choices else nearest(each, found[each.name])
        for each in dimensions
        if each.name in found
    }
