"""The provider's bill beside our ledger."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from tests.e2e.serving import INPUT_PRICE, OUTPUT_PRICE, Wire

from whet.v1 import ledger_pb2, value_pb2

_QUESTION = re.compile(r"Q\d+Z")
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One request as the provider charges it. `question` is the mark of the run that it was made for."""

    question: str
    model: str
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Sums in nanos."""

    settled: int
    unknown: int
    reserved: int

    @property
    def counted(self) -> int:
        return self.settled + self.unknown + self.reserved


def mark(number: int) -> str:
    """Return a word that names a run in its question, and so in everything that is asked for it."""
    return f"Q{number}Z"


async def charges(url: str) -> list[Owed]:
    """Return the stub's bill, without what it charges nothing for."""
    async with aiohttp.ClientSession() as session, session.get(f"{url.removesuffix('/v1')}/bill") as response:
        lines: list[dict[str, Any]] = await response.json()
    return [owed for owed in map(_owed, lines) if owed.nanos]


def _owed(line: Mapping[str, Any]) -> Owed:
    found = _QUESTION.search(line["prompt"])
    return Owed(
        question=found.group() if found else "",
        model=line["model"],
        nanos=line["input_tokens"] * INPUT_PRICE + line["output_tokens"] * OUTPUT_PRICE,
    )


async def entries(wire: Wire, **wanted: Any) -> list[ledger_pb2.Reservation]:
    """Return all entries of the ledger, newest first."""
    found: list[ledger_pb2.Reservation] = []
    token = ""
    while True:
        page = value_pb2.Page(size=PAGE, token=token)
        answer = await wire.ask(wire.ledger.ListReservations, ledger_pb2.ListReservationsRequest(page=page, **wanted))
        found += answer.reservations
        token = answer.next_page_token
        if not token:
            return found


def sums(found: Iterable[ledger_pb2.Reservation]) -> Money:
    """Return what the entries come to."""
    total: Counter[int] = Counter()
    for entry in found:
        settled = entry.billing == value_pb2.BILLING_SETTLED
        total[entry.billing] += entry.settled.nanos if settled else entry.reserved.nanos
    return Money(
        settled=total[value_pb2.BILLING_SETTLED],
        unknown=total[value_pb2.BILLING_UNKNOWN],
        reserved=total[value_pb2.BILLING_RESERVED],
    )


def compare(
    bill: Sequence[Owed], ledger: Iterable[ledger_pb2.Reservation], runs: Mapping[str, str], said: object = ""
) -> None:
    """Hold the bill against the entries, run by run and model by model. `runs` gives the run of each question.

    What we settled is what was charged, to the nano. What else was charged has an entry of unknown outcome each, and
    is not above what that one holds. So nothing was paid that the ledger does not know, and nothing twice.
    """
    charged: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for owed in bill:
        charged[runs.get(owed.question, owed.question), owed.model][owed.nanos] += 1
    settled: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    held: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in ledger:
        key = (entry.run_id, entry.model.partition("/")[2])
        if entry.billing == value_pb2.BILLING_SETTLED and entry.settled.nanos:
            settled[key][entry.settled.nanos] += 1
        elif entry.billing in {value_pb2.BILLING_UNKNOWN, value_pb2.BILLING_RESERVED}:
            held[key].append(entry.reserved.nanos)
    for key in charged.keys() | settled.keys():
        assert not settled[key] - charged[key], (said, key, "settled more than was charged")
        rest = sorted((charged[key] - settled[key]).elements(), reverse=True)
        bounds = sorted(held[key], reverse=True)
        assert len(rest) <= len(bounds), (said, key, rest, bounds, "charged without an entry")
        assert all(owed <= bound for owed, bound in zip(rest, bounds, strict=False)), (said, key, rest, bounds)
