from urllib.parse import quote

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from whet_server.errors import CapExceeded, Draining, InvalidField, Reason, RunNotFound, StorageUnavailable, WhetError
from whet_server.rpc.status import CODES, MAX_BYTES, MAX_VIOLATIONS, code_number, status_of


def kinds(status: Status) -> set[str]:
    return {packed.TypeName() for packed in status.details}


def info(status: Status) -> ErrorInfo:
    found = ErrorInfo()
    assert status.details[0].Unpack(found)
    return found


def test_every_reason_has_a_code() -> None:
    assert CODES.keys() == set(Reason)
    assert grpc.StatusCode.OK not in CODES.values()


def test_a_status_names_reason_domain_and_every_dynamic_part() -> None:
    status = status_of(RunNotFound("There is no run fan_1.", metadata={"run_id": "fan_1"}))
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert status.message == "There is no run fan_1."
    assert (info(status).reason, info(status).domain) == ("RUN_NOT_FOUND", "whet")
    assert dict(info(status).metadata) == {"run_id": "fan_1"}


def test_violations_come_with_their_paths_and_no_more_than_forty() -> None:
    status = status_of(InvalidField(*((f"spec.models[{number}]", "Too long.") for number in range(100))))
    bad = BadRequest()
    assert status.details[1].Unpack(bad)
    assert len(bad.field_violations) == MAX_VIOLATIONS
    assert bad.field_violations[39].field == "spec.models[39]"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Draining("Later."), 1.0),
        (StorageUnavailable("Disk full."), 1.0),
        (StorageUnavailable("Disk full.", retry_after=2.5), 2.5),
        (CapExceeded("No money until midnight.", retry_after=60), 60.0),
    ],
)
def test_where_a_retry_can_work_the_status_says_when(error: WhetError, seconds: float) -> None:
    retry = RetryInfo()
    status = status_of(error)
    assert status.details[-1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == seconds * 1000


@pytest.mark.parametrize("error", [CapExceeded("No."), RunNotFound("No."), InvalidField(("a", "b"))])
def test_where_a_retry_cannot_help_the_status_does_not_ask_for_one(error: WhetError) -> None:
    assert "google.rpc.RetryInfo" not in kinds(status_of(error))


def test_a_reason_nobody_published_counts_as_a_bug() -> None:
    assert code_number("SOMETHING_ELSE") == grpc.StatusCode.INTERNAL.value[0]


@settings(max_examples=60, deadline=None)
@given(
    message=st.text(max_size=5_000),
    metadata=st.dictionaries(st.text(min_size=1, max_size=100), st.text(max_size=5_000), max_size=8),
    violations=st.lists(st.tuples(st.text(max_size=600), st.text(max_size=600)), min_size=1, max_size=60),
)
def test_no_status_is_too_large_to_arrive(
    message: str, metadata: dict[str, str], violations: list[tuple[str, str]]
) -> None:
    for error in (InvalidField(*violations), WhetError(message, metadata=metadata, retry_after=1)):
        status = status_of(error)
        assert status.ByteSize() + len(quote(status.message)) <= MAX_BYTES
        assert info(status).reason == error.reason.value


def test_a_long_message_keeps_its_beginning() -> None:
    status = status_of(WhetError("ä" * 5_000))
    assert status.message.startswith("ää")
    assert status.message.endswith("…")
