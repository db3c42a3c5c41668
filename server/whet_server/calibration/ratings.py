"""What people said of answers, kept with where it came from.

A rating belongs to its subject, the digest of the texts that were rated, so that it is found wherever the same texts
are judged. All ratings of a subject stand under its digest, in the order in which they came; what counts is the last
one of each rater, rubric and dimension. Earlier ones stay.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from whet_server.calibration.sheet import Given, Wrong, refusal
from whet_server.errors import InvalidField, RubricNotFound
from whet_server.judging import Item, Rating
from whet_server.store.base import Document, Store, Write, every_document
from whet_server.values import Principal, Role, Value, Workspace, new_id

MOST: Final = 10_000
"""Ratings in one request, as the contract says."""
TIE: Final = -1
"""`preferred` of a person who finds two candidates equally good."""
_BY_SUBJECT: Final = "ratings"
"""Keys: `<subject>/<rating id>`."""
_BY_TIME: Final = "ratings-by-time"
"""The same documents under `<rating id>`, for lists."""
_SCAN: Final = 1000
"""Documents read at once."""
_MOST_KEPT: Final = 20_000
"""Ratings that stay in memory: twenty megabytes."""
_FEW_SUBJECTS: Final = 50
"""So many are looked up one by one; for more, all ratings are read."""
_SUBJECT: Final = re.compile(r"[0-9a-f]{64}")
_LENGTHS: Final = {"item_id": 200, "rubric": 120, "dimension": 100, "rater": 100, "note": 2000}
"""As the contract says; those of a CSV have not been checked by its rules."""


class DimensionLike(Protocol):
    @property
    def name(self) -> str: ...


class RubricLike(Protocol):
    """What ratings must know of a rubric."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def lowest(self) -> int: ...
    @property
    def highest(self) -> int: ...
    @property
    def dimensions(self) -> Sequence[DimensionLike]: ...


class RubricLookup(Protocol):
    """Finds rubrics by `name` or `name@version`; raises `RubricNotFound`. `judge.rubrics.Rubrics` is one."""

    async def get(self, workspace: Workspace, name: str) -> RubricLike: ...


class Origin(Value):
    """What the items of a request are those of: a run or a data set (`name@version`), or neither. `rubrics` are those
    of the run's judges: a rating that names none goes by the only one.
    """

    items: Mapping[str, Item] = {}
    run_id: str = ""
    dataset: str = ""
    rubrics: tuple[str, ...] = ()


class KeptRating(Value):
    """A rating on the record: who said it, in which role, of which item of what, by which words of the rubric."""

    rating_id: str
    rating: Rating
    role: Role
    rubric_digest: str
    scale: tuple[int, int]
    """The rubric's lowest and highest level then: a level means nothing on another scale."""
    run_id: str = ""
    dataset: str = ""


class Added(Value):
    """How many ratings are new, and how many replaced an earlier one of the same rater."""

    added: int
    replaced: int


class Ratings:
    """The ratings of every workspace."""

    def __init__(self, store: Store, rubrics: RubricLookup, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._rubrics = rubrics
        self._clock = clock
        self._puts = 0
        self._scanned: tuple[Workspace, Sequence[KeptRating]] | None = None
        """All ratings of the workspace that was read last: a judgement's pages ask for them again and again."""

    async def put(
        self,
        principal: Principal,
        given: Sequence[Given],
        origin: Origin,
        *,
        wrong: Sequence[Wrong] = (),
        also: Callable[[Added], Iterable[Write]] = lambda _: (),
    ) -> Added:
        """Keep the ratings, all or none, in one transaction with `also`. Raises `InvalidField` that names every rating
        that cannot be kept, and what was `wrong` before.
        """
        if not 0 < len(given) + len(wrong) <= MOST:
            raise InvalidField(("ratings", f"Give 1 to {MOST} ratings at once, not {len(given) + len(wrong)}."))
        check = _Check(await self._named_rubrics(principal.workspace, given, origin), origin, self._clock())
        # Ten thousand take a second; others are answered meanwhile.
        kept = await asyncio.to_thread(lambda: [check.kept(principal, each) for each in given])
        if wrong or check.wrong:
            raise refusal(sorted([*wrong, *check.wrong], key=lambda each: each.line))
        new = [each for each in kept if each is not None]
        known = await self._counting(principal.workspace, {each.rating.subject for each in new})
        earlier = {_place(each) for each in known}
        later = {_place(each) for each in new}
        added = Added(added=len(later - earlier), replaced=len(new) - len(later - earlier))
        documents = await asyncio.to_thread(
            lambda: [document for each in new for document in _documents(principal.workspace, each)]
        )
        await self._store.commit(*documents, *also(added))
        self._puts += 1
        self._scanned = None
        return added

    async def of(
        self, workspace: Workspace, subjects: Iterable[str], rubric: str, levels: Sequence[int] = ()
    ) -> dict[str, tuple[Rating, ...]]:
        """Return what counts of these subjects by a rubric's name, oldest first; of `levels`, only what was rated on
        them. Subjects that nobody rated are left out.
        """
        scale = (levels[0], levels[-1]) if levels else None
        found: dict[str, list[Rating]] = {}
        for each in await self._counting(workspace, set(subjects)):
            if each.rating.rubric == rubric and scale in {None, each.scale}:
                found.setdefault(each.rating.subject, []).append(each.rating)
        return {subject: tuple(ratings) for subject, ratings in found.items()}

    async def _named_rubrics(
        self, workspace: Workspace, given: Sequence[Given], origin: Origin
    ) -> dict[str, RubricLike | str]:
        """Return each rubric that is named, or why there is none."""
        of_run = f" The judges of {origin.run_id} go by {', '.join(origin.rubrics)}." if origin.rubrics else ""
        found: dict[str, RubricLike | str] = {"": f"Say by which rubric it is rated.{of_run}"}
        if len(origin.rubrics) == 1:
            found[""] = await self._rubrics.get(workspace, origin.rubrics[0])
        for name in {each.rating.rubric for each in given} - {""}:
            try:
                found[name] = await self._rubrics.get(workspace, name)
            except RubricNotFound as error:
                found[name] = str(error)
        return found

    async def _counting(self, workspace: Workspace, subjects: set[str]) -> list[KeptRating]:
        """Return the last rating of each rater, rubric and dimension of these subjects, oldest first."""
        if len(subjects) <= _FEW_SUBJECTS:
            found = [each for subject in subjects for each in await self._all(workspace, f"{subject}/")]
        else:
            found = [each for each in await self._everything(workspace) if each.rating.subject in subjects]
        last = {_place(each): each for each in sorted(found, key=lambda each: each.rating_id)}
        return sorted(last.values(), key=lambda each: each.rating_id)

    async def _everything(self, workspace: Workspace) -> Sequence[KeptRating]:
        if self._scanned is not None and self._scanned[0] == workspace:
            return self._scanned[1]
        puts = self._puts
        found = await self._all(workspace, "")
        # What was put while this was read may be missing in it.
        self._scanned = (workspace, found) if puts == self._puts and len(found) <= _MOST_KEPT else None
        return found

    async def _all(self, workspace: Workspace, prefix: str) -> Sequence[KeptRating]:
        found = await every_document(self._store, workspace, _BY_SUBJECT, prefix=prefix)
        return [_read(document) for document in found]

    async def list(
        self,
        workspace: Workspace,
        *,
        rubric: str = "",
        rater: str = "",
        subject: str = "",
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[KeptRating]:
        """Return all that is on record, replaced ratings too, the last given first."""
        collection, prefix = (_BY_SUBJECT, f"{subject}/") if subject else (_BY_TIME, "")
        found: list[KeptRating] = []
        mark = None if before is None else prefix + before
        size = _SCAN if rubric or rater else limit
        while len(found) < limit:
            page = await self._store.documents(
                workspace, collection, prefix=prefix, before=mark, newest_first=True, limit=size
            )
            kept = [_read(document) for document in page]
            found += [each for each in kept if rubric in {"", each.rating.rubric} and rater in {"", each.rating.rater}]
            if len(page) < size:
                break
            mark = page[-1].key
        return found[:limit]


def _place(kept: KeptRating) -> tuple[str, str, str, str]:
    """What a later rating replaces an earlier one in."""
    return kept.rating.subject, kept.rating.rubric, kept.rating.dimension, kept.rating.rater


def _documents(workspace: Workspace, kept: KeptRating) -> Iterable[Document]:
    data = msgspec.json.encode(kept)
    keys = ((_BY_SUBJECT, f"{kept.rating.subject}/{kept.rating_id}"), (_BY_TIME, kept.rating_id))
    return (Document(workspace=workspace, collection=collection, key=key, data=data) for collection, key in keys)


_DECODER: Final = msgspec.json.Decoder(KeptRating)


def _read(document: Document) -> KeptRating:
    return _DECODER.decode(document.data)


class _Check:
    """Looks at ratings one by one; what cannot be kept gathers in `wrong`."""

    def __init__(self, rubrics: Mapping[str, RubricLike | str], origin: Origin, now: int) -> None:
        self.wrong: list[Wrong] = []
        self._rubrics = rubrics
        self._origin = origin
        self._now = now

    def kept(self, principal: Principal, given: Given) -> KeptRating | None:
        """Return the rating as it is kept, or None after saying what is wrong."""
        rating, rubric = given.rating, self._rubrics[given.rating.rubric]
        item = self._origin.items.get(rating.item_id) if rating.item_id else None
        problem = self._problem_of_subject(rating, item) or _problem_of_text(rating)
        if not problem:
            problem = rubric if isinstance(rubric, str) else _problem_of_level(rating, rubric, item)
        if problem or isinstance(rubric, str):
            self.wrong.append(Wrong(path=given.path, line=given.line, problem=problem or ""))
            return None
        return KeptRating(
            rating_id=new_id("rat"),
            rating=msgspec.structs.replace(
                rating,
                subject=rating.subject or (item.subject if item else ""),
                rubric=rubric.name,
                rate_ns=rating.rate_ns or self._now,
            ),
            role=principal.role,
            rubric_digest=rubric.digest,
            scale=(rubric.lowest, rubric.highest),
            run_id=self._origin.run_id,
            dataset=self._origin.dataset,
        )

    def _problem_of_subject(self, rating: Rating, item: Item | None) -> str:
        where = self._origin.run_id or self._origin.dataset
        if item is not None:
            differs = rating.subject not in {"", item.subject}
            return f"The item {rating.item_id!r:.200} of {where} has another subject." if differs else ""
        if rating.item_id and where:
            return f"There is no item {rating.item_id!r:.200} in {where}, or it is under seal."
        if rating.subject:
            return "" if _SUBJECT.fullmatch(rating.subject) else "A subject is 64 hexadecimal digits."
        return "Name an item_id of a run or a data set, or give the subject."


def _problem_of_text(rating: Rating) -> str:
    if not rating.rater:
        return "Say who rated."
    long = [name for name, most in _LENGTHS.items() if len(getattr(rating, name)) > most]
    return f"{long[0]} may have {_LENGTHS[long[0]]} characters." if long else ""


def _problem_of_level(rating: Rating, rubric: RubricLike, item: Item | None) -> str:
    names = [dimension.name for dimension in rubric.dimensions]
    if rating.dimension and rating.dimension not in names:
        return f"{rubric.name} has no dimension {rating.dimension!r:.100}. It has: {', '.join(names)}."
    if rating.preferred is None:
        fits = rubric.lowest <= rating.level <= rubric.highest
        scale = f"the scale of {rubric.name}, {rubric.lowest} to {rubric.highest}"
        return "" if fits else f"The level {rating.level} is not on {scale}."
    if rating.level:
        return "Give a level or the preferred candidate, not both."
    count = len(item.candidates) if item else 101
    if not TIE <= rating.preferred < count or count < 2:
        return f"The preferred candidate must be -1 for a tie or one of 0 to {count - 1}, not {rating.preferred}."
    return ""
