"""The provider's own bill against our ledger, over many faulted calls."""

import asyncio
from collections import defaultdict

import pytest
from msgspec import structs
from tests.server.llm.house import HOME, House, open_house, spec

from whet_eval.provider import Charge
from whet_server.store.base import ReservationRecord
from whet_server.values import Billing, CallLimits, RunId

AT_ONCE = 100
LIMITS = CallLimits(connect=5.0, first_token=10.0, idle=10.0, total=30.0)


async def _compare(calls: int, seed: int) -> None:
    async with open_house(seed=seed) as house:
        for start in range(0, calls, AT_ONCE):
            async with asyncio.timeout(60):
                await asyncio.gather(*(_call(house, number) for number in range(start, min(calls, start + AT_ONCE))))
        await house.stub.quiet()
        entries: dict[str, list[ReservationRecord]] = defaultdict(list)
        before = None
        while page := await house.store.reservations(HOME, before=before, limit=500):
            for entry in page:
                entries[entry.run_id].append(entry)
            before = page[-1].reservation_id
        charges: dict[str, list[Charge]] = defaultdict(list)
        for charge in house.stub.bill.charges:
            charges[charge.prompt].append(charge)
        for number in range(calls):
            _check(charges[f"question {number}"], entries[f"run{number}"])
        totals = [house.ledger.run_totals(f"run{number}") for number in range(calls)]
        owed = sum(_money(charge.input_tokens, charge.output_tokens) for charge in house.stub.bill.charges)
    assert len(house.stub.bill.charges) > calls
    assert sum(total.reserved for total in totals) == 0
    settled, unknown = sum(total.settled for total in totals), sum(total.unknown for total in totals)
    assert settled <= owed <= settled + unknown


async def _call(house: House, number: int) -> None:
    asked = spec("mixed", "mixed", prompt=f"question {number}", limits=LIMITS)
    await house.call(structs.replace(asked, run_id=RunId(f"run{number}")))


def _check(charges: list[Charge], entries: list[ReservationRecord]) -> None:
    """Compare one call's attempts with its charges, one by one in their order."""
    entries = sorted(entries, key=lambda entry: entry.create_ns)
    assert len(charges) == len(entries)
    for charge, entry in zip(charges, entries, strict=True):
        owed = _money(charge.input_tokens, charge.output_tokens)
        if entry.billing is Billing.SETTLED:
            assert entry.settled == owed, charge.kind
        elif entry.billing is Billing.UNKNOWN:
            assert owed <= entry.reserved, charge.kind
        else:
            assert (entry.billing, owed) == (Billing.NONE, 0), charge.kind


def _money(input_tokens: int, output_tokens: int) -> int:
    return input_tokens + 3 * output_tokens


async def test_the_bill_of_hundreds_of_faulted_calls_is_the_ledgers() -> None:
    await _compare(400, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
async def test_the_bill_of_thousands_of_faulted_calls_is_the_ledgers(seed: int) -> None:
    await _compare(5_000, seed=seed)
