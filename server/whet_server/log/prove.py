"""The proof of a run's record."""

from typing import Final

import msgspec

from whet_server.log import chain
from whet_server.log.lifecycle import RUN_ENDED
from whet_server.store.base import EventRecord, Store
from whet_server.values import RunId, Value

PAGE: Final = 500
"""Events read from the store at a time."""


class Verification(Value):
    """What the check of a run's chain found."""

    valid: bool
    events_checked: int
    first_bad_sequence: int = 0
    problem: str = ""
    head_hash: bytes = b""


async def verify(store: Store, run_id: RunId, expected_hash: str) -> Verification:
    """Read the whole log again and say whether it is what was written.

    The chain shows a changed, missing or moved event; the run's row shows a cut-off end; an expected hash, kept
    elsewhere, also shows a log that was written anew as a whole.
    """
    run = await store.run(run_id)
    promised = (run.event_count, run.head_hash) if run else (0, b"")
    head, checked = chain.genesis(run_id), 0
    seen = {head.hex()}
    kept_promise = False
    while page := await store.events(run_id, after=checked, limit=PAGE):
        for event in page:
            if problem := _problem(event, checked + 1, head):
                return _refuted(checked, head, problem)
            checked, head = event.sequence, event.hash
            seen.add(head.hex())
            kept_promise |= (checked, head) == promised
    if run is not None and run.state in RUN_ENDED:
        kept_promise = (checked, head) == promised
    if not kept_promise:
        return _refuted(checked, head, f"the run's row names another event than these as its last: {promised[0]}")
    if expected_hash and expected_hash not in seen:
        return _refuted(
            checked, head, "the chain is whole but does not contain the expected hash: it was cut or written anew"
        )
    return Verification(valid=True, events_checked=checked, head_hash=head)


def _refuted(checked: int, head: bytes, problem: str) -> Verification:
    return Verification(
        valid=False, events_checked=checked, first_bad_sequence=checked + 1, problem=problem, head_hash=head
    )


def _problem(event: EventRecord, sequence: int, head: bytes) -> str:
    if event.sequence != sequence:
        return f"event {sequence} is missing: the next one in the store is {event.sequence}"
    if chain.link(head, event.record) != event.hash:
        return f"the hash of event {sequence} does not fit its record and the event before it"
    try:
        told = chain.read_record(event.record, event.hash).sequence
    except msgspec.DecodeError as error:
        return f"the record of event {sequence} is not one of ours: {error}"
    return "" if told == sequence else f"the record in the place of event {sequence} says it is {told}"
