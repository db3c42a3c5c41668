"""The tables, as the newest migration leaves them (a test holds the two equal).

A column is there because a query selects, sorts or sums by it; what is only read back travels in `data` as JSON. Keys
begin with the workspace, except for runs and their events: a run's id is unique on the server and is all a writer has.
"""

from typing import Final

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA: Final = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=False)


def _number(name: str, *, key: bool = False, optional: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=key, nullable=optional, autoincrement=False)


def _blob(name: str, *, key: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, primary_key=key, nullable=False)


RUN: Final = Table(
    "run",
    METADATA,
    _text("run_id", key=True),
    _text("workspace"),
    _text("kind"),
    _text("state"),
    _blob("data"),
    Index("run_by_workspace", "workspace", "run_id"),
    Index("run_by_state", "state", "run_id"),
)
EVENT: Final = Table(
    "event",
    METADATA,
    _text("run_id", key=True),
    _number("sequence", key=True),
    _blob("record"),
    _blob("hash"),
)
REQUEST: Final = Table(
    "request",
    METADATA,
    _text("workspace", key=True),
    _text("request_id", key=True),
    _blob("data"),
)
RESERVATION: Final = Table(
    "reservation",
    METADATA,
    _text("workspace", key=True),
    _text("reservation_id", key=True),
    _text("run_id"),
    _text("model"),
    _text("billing"),
    _number("reserved"),
    _number("settled"),
    _number("input_tokens"),
    _number("output_tokens"),
    _number("estimated"),
    _number("input_price"),
    _number("output_price"),
    _number("create_ns"),
    _number("end_ns", optional=True),
    _number("expire_ns", optional=True),
    _number("reserved_tokens"),
    Index("reservation_by_run", "workspace", "run_id"),
    Index("reservation_by_time", "workspace", "create_ns"),
    Index("reservation_by_billing", "billing", "reservation_id"),
)
CAP: Final = Table(
    "cap",
    METADATA,
    _text("workspace", key=True),
    _text("period", key=True),
    _number("limit_nanos"),
)
ENDPOINT: Final = Table(
    "endpoint",
    METADATA,
    _text("workspace", key=True),
    _text("name", key=True),
    _blob("settings"),
    _blob("sealed_key"),
)
CACHED: Final = Table(
    "cached_answer",
    METADATA,
    _text("workspace", key=True),
    _blob("key", key=True),
    _number("expire_ns"),
    _blob("data"),
    Index("cached_answer_by_expiry", "expire_ns"),
)
APPROVAL: Final = Table(
    "approval",
    METADATA,
    _text("workspace", key=True),
    _text("approval_id", key=True),
    _text("state"),
    _text("digest"),
    _blob("data"),
    Index("approval_by_digest", "workspace", "digest", "approval_id"),
    Index("approval_by_state", "workspace", "state", "approval_id"),
)
DOCUMENT: Final = Table(
    "document",
    METADATA,
    _text("workspace", key=True),
    _text("collection", key=True),
    _text("key", key=True),
    _blob("data"),
)
