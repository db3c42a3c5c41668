"""Which sampler fits which sweep, and what is filled in where a sampler says nothing. Loads no sampler."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from whet_server.errors import InvalidField
from whet_server.sweep.space import Space
from whet_server.sweeping import Sampler, SamplerKind

MOST_LISTED: Final = 100_000
"""The most combinations that are ever listed: a sweep has no more trials."""
_STARTUP: Final[Mapping[SamplerKind, int]] = MappingProxyType(
    {
        SamplerKind.TPE: 10,
        SamplerKind.GAUSSIAN_PROCESS: 10,
        SamplerKind.CMA_ES: 1,
        SamplerKind.NSGA_II: 16,
        SamplerKind.GUIDED_TOP_K: 10,
    }
)
"""Trials at random before a method begins, as in Optuna. Of NSGA-II it is the population, which is less than Optuna's
50: a sweep of 50 trials should see some generations.
"""
_TOP_K: Final = 5
_EXPLORE: Final = 0.3
_MINIBATCH: Final = 3
"""As the contract says."""
_ONE_OBJECTIVE: Final = frozenset(
    {SamplerKind.GAUSSIAN_PROCESS, SamplerKind.CMA_ES, SamplerKind.GUIDED_TOP_K, SamplerKind.REFLECTION}
)


def filled(sampler: Sampler, objectives: int) -> Sampler:
    """Return a sampler with nothing left open but the model that reflects."""
    kind = sampler.kind or (SamplerKind.NSGA_II if objectives > 1 else SamplerKind.TPE)
    guided = kind is SamplerKind.GUIDED_TOP_K
    return replace(
        sampler,
        kind=kind,
        startup_trials=sampler.startup_trials or _STARTUP.get(kind, 0),
        top_k=sampler.top_k or (_TOP_K if guided else 0),
        explore=_EXPLORE if guided and sampler.explore is None else sampler.explore,
        minibatch=sampler.minibatch or (_MINIBATCH if kind is SamplerKind.REFLECTION else 0),
    )


def check_sampler(
    sampler: Sampler, space: Space, objectives: int, path: str = "spec.sampler", *, pipeline: bool = True
) -> None:
    """Raise `InvalidField` when a sampler cannot search this. `pipeline`: the target is one, with texts to rewrite."""
    wrong = list(_unfit(filled(sampler, objectives), space, objectives, pipeline=pipeline))
    if wrong:
        raise InvalidField(*((f"{path}.kind", what) for what in wrong))


def _unfit(sampler: Sampler, space: Space, objectives: int, *, pipeline: bool) -> Iterator[str]:
    if sampler.kind is SamplerKind.REFLECTION:
        if not pipeline:
            yield "reflection rewrites the templates of a pipeline, and this target is none"
    elif not space.dimensions:
        yield "the space has no dimension: there is nothing to search"
    if sampler.kind in _ONE_OBJECTIVE and objectives > 1:
        yield f"{sampler.kind} has one objective, not {objectives}: take nsga_ii or tpe, or give the others a margin"
    if sampler.kind is SamplerKind.GRID:
        if not space.size:
            yield "a float range without a step has no grid: give each a step, or take another sampler"
        elif space.size > MOST_LISTED:
            yield f"a grid of {space.size} combinations is too large; a sweep has at most {MOST_LISTED} trials"
    if sampler.kind is SamplerKind.CMA_ES and not any(each.choices is None for each in space.dimensions):
        yield "cma_es searches numbers, and the space has choices only: take tpe"
