"""The record of a durable event and the chain of hashes over it (docs/trace-format.md).

A record is JSON with sorted keys in UTF-8. What is hashed, stored and exported are the same bytes: nobody ever has to
write them a second time.
"""

import hashlib
from typing import Final

import msgspec

from whet_server.log.events import DurablePayload, Event
from whet_server.values import RunId, Value

FORMAT: Final = "whet.v1"
"""The first word of every genesis hash. It changes when the rule changes."""

to_json: Final = msgspec.json.Encoder(order="sorted").encode


class _Record(Value):
    payload: DurablePayload
    sequence: int
    time_ns: int


_read_record: Final = msgspec.json.Decoder(_Record).decode


def genesis(run_id: RunId) -> bytes:
    """Return the hash before the first event. It is the run's own, so that no run can stand in for another."""
    return hashlib.sha256(f"{FORMAT} {run_id}".encode()).digest()


def link(previous_hash: bytes, record: bytes) -> bytes:
    """Return the hash of the event whose record follows `previous_hash`."""
    return hashlib.sha256(previous_hash + record).digest()


def make_record(payload_json: bytes, sequence: int, time_ns: int) -> bytes:
    """Return the record around a payload that `to_json` has made."""
    return b'{"payload":%b,"sequence":%d,"time_ns":%d}' % (payload_json, sequence, time_ns)


def read_record(record: bytes, event_hash: bytes) -> Event:
    """Return the event of a record. Raises `msgspec.DecodeError` for bytes that are none."""
    read = _read_record(record)
    return Event(sequence=read.sequence, time_ns=read.time_ns, payload=read.payload, hash=event_hash)


def header_line(run_id: RunId) -> bytes:
    """Return the first line of an export."""
    return to_json({"format": FORMAT, "genesis": genesis(run_id).hex(), "run_id": run_id}) + b"\n"


def event_line(record: bytes, event_hash: bytes) -> bytes:
    """Return an event's line of an export; the record stands in it byte for byte."""
    return b'{"hash":"%b","record":%b}\n' % (event_hash.hex().encode(), record)
