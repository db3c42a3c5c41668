"""Judges compared with people: made, kept, and asked whether a judge may gate."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from whet_server.calibration.agreement import Agreement, Part, Scale, agreement, people_say, scale_of
from whet_server.calibration.ratings import Ratings
from whet_server.calibration.standing import MIN_KAPPA, Calibration, KeptCalibration, Standing, stand
from whet_server.errors import WrongState
from whet_server.judging import Judge, JudgeIdentity, OutcomeCount, Rating, Verdict
from whet_server.store.base import Document, Store, Write, every_document
from whet_server.values import Principal, Workspace, new_id

_COLLECTION: Final = "calibrations"
"""Keys: calibration ids, which sort by time."""
_DECODER: Final = msgspec.json.Decoder(KeptCalibration)


class Calibrations:
    """The calibrations of every workspace, over its ratings."""

    def __init__(self, store: Store, ratings: Ratings, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._ratings = ratings
        self._clock = clock

    async def ratings(
        self, workspace: Workspace, subjects: Iterable[str], rubric: str, levels: Sequence[int] = ()
    ) -> Mapping[str, tuple[Rating, ...]]:
        """Return which of people's ratings by a rubric's name count, by subject; of `levels`, those on that scale."""
        return await self._ratings.of(workspace, subjects, rubric, levels)

    async def calibrate(
        self,
        principal: Principal,
        judge: Judge,
        identity: JudgeIdentity,
        *,
        run_id: str,
        criterion: str,
        levels: Sequence[int],
        dimensions: Sequence[Part],
        verdicts: Mapping[str, Sequence[Verdict]],
        calibration_id: str = "",
        also: Iterable[Write] = (),
    ) -> Calibration:
        """Compare a judge's verdicts, by subject, with people's ratings of the same subjects by the same rubric, and
        keep the result in one transaction with `also`. Raises `WrongState` when nobody rated any of them.
        """
        ratings = await self._ratings.of(principal.workspace, verdicts, identity.rubric, levels)
        rated = [verdict for subject in ratings for verdict in verdicts[subject]]
        scale = scale_of(judge.mode, levels, max((len(each.order) for each in rated), default=0))
        agreements = await asyncio.to_thread(_agreements, ratings, verdicts, scale, dimensions)
        if not any(each.items or each.unscored for each in agreements):
            raise WrongState(
                f"Nobody has rated an item of {run_id} by the rubric {identity.rubric}. Rate some, then calibrate.",
                metadata={"run_id": run_id},
            )
        outcomes = Counter(verdict.outcome for verdict in rated)
        made = Calibration(
            calibration_id=calibration_id or new_id("cal"),
            judge=judge,
            judge_digest=identity.digest,
            rubric_digest=identity.rubric_digest,
            prompt_digest=identity.prompt_digest,
            run_id=run_id,
            criterion=criterion,
            agreements=agreements,
            raters=tuple(sorted({rating.rater for each in ratings.values() for rating in each})),
            outcomes=tuple(OutcomeCount(outcome=each, count=count) for each, count in outcomes.most_common()),
            create_ns=self._clock(),
            simulated=any(verdict.simulated for verdict in rated),
        )
        kept = KeptCalibration(calibration=made, identity=identity)
        document = Document(
            workspace=principal.workspace,
            collection=_COLLECTION,
            key=made.calibration_id,
            data=msgspec.json.encode(kept),
        )
        await self._store.commit(document, *also)
        return made

    async def standing(
        self, workspace: Workspace, identity: JudgeIdentity, *, min_kappa: float = MIN_KAPPA
    ) -> Standing:
        """Return whether a judge may gate, by the newest calibration of its digest, and why not."""
        return stand(await self.kept(workspace), identity, min_kappa=min_kappa)

    async def kept(self, workspace: Workspace) -> Sequence[KeptCalibration]:
        """Return all calibrations, newest first. There are as many as people made by hand."""
        found = await every_document(self._store, workspace, _COLLECTION, newest_first=True)
        return [_DECODER.decode(document.data) for document in found]


def _agreements(
    ratings: Mapping[str, Sequence[Rating]],
    verdicts: Mapping[str, Sequence[Verdict]],
    scale: Scale,
    dimensions: Sequence[Part],
) -> tuple[Agreement, ...]:
    """Return agreement on the whole and on each dimension that was rated."""
    of_dimensions = [
        agreement(ratings, verdicts, scale, dimension.name)
        for dimension in dimensions
        if any(people_say(each, scale.mode, dimension.name) for each in ratings.values())
    ]
    return (agreement(ratings, verdicts, scale, parts=dimensions), *of_dimensions)
