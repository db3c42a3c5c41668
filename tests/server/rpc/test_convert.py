"""Every value that crosses the wire is packed whole: whatever a field of it holds is found again in the message."""

from collections.abc import Callable, MutableMapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.v1 import value_pb2
from whet_server.errors import Reason
from whet_server.judging import Outcome, Verdict
from whet_server.llm.base import ModelSettings, RateLimits
from whet_server.log import events
from whet_server.log.events import Event
from whet_server.log.log import Batch
from whet_server.rpc.convert.events import batch_message
from whet_server.rpc.convert.model import model_settings_message, model_settings_of, rate_limits_message, rate_limits_of
from whet_server.rpc.convert.values import (
    duration,
    limits_of,
    message_of,
    nanoseconds_of,
    parameters_of,
    seconds_of,
    timestamp,
    usage_message,
    usage_of,
)
from whet_server.sweeping import ParameterValue, SearchDimension, TrialCase
from whet_server.values import CallLimits, Failure, Parameters, RunState, Usage

RENAMED = {"first_token_ns": "first_token_latency", "start_ns": "start_time", "end_ns": "end_time"}
ONE_OF: dict[type[msgspec.Struct], tuple[str, ...]] = {
    ParameterValue: ("number", "integer", "text"),
    SearchDimension: ("float_range", "int_range", "choices"),
}
"""Values of which the wire carries one field, and so does the record."""
INT32 = st.integers(0, 2**31 - 1)
REASONS = st.sampled_from([reason.value for reason in Reason])


SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: INT32,
    float: st.floats(0, 1),
    bool: st.booleans(),
    dict[str, str]: st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3),
}


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type, with every number in a range that the wire can carry."""
    if isinstance(kind, NewType):
        return strategy(kind.__supertype__)
    if get_origin(kind) in {Union, UnionType}:
        return st.one_of(*(st.none() if each is NoneType else strategy(each) for each in get_args(kind)))
    if get_origin(kind) is tuple:
        return st.lists(strategy(get_args(kind)[0]), max_size=3).map(tuple)
    if kind in SIMPLE:
        return SIMPLE[kind]
    return st.sampled_from(kind) if issubclass(kind, Enum) else structs(kind)


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = {name: strategy(hint) for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__}
    if kind is Failure:
        hints["reason"] = REASONS
    if kind in ONE_OF:
        chosen = [{other: st.none() for other in ONE_OF[kind] if other != name} for name in ONE_OF[kind]]
        return st.one_of(*(st.builds(kind, **(hints | rest | _set(hints, rest, kind))) for rest in chosen))
    if kind in {Verdict, TrialCase}:
        unscored = st.sampled_from(sorted(set(Outcome) - {Outcome.SCORED}))
        scored = hints | {"outcome": st.just(Outcome.SCORED), "score": st.floats(0, 1)}
        return st.builds(kind, **scored) | st.builds(kind, **(hints | {"outcome": unscored, "score": st.none()}))
    return st.builds(kind, **hints)


def _set(hints: dict[str, Any], rest: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The one field of a choice that is set is never None."""
    return {name: hints[name].filter(lambda each: each is not None) for name in ONE_OF[kind] if name not in rest}


def same(value: Any, wire: Any) -> bool:
    """Whether the message's field says what the value's field says."""
    if isinstance(value, msgspec.Struct):
        return not missing(value, wire)
    if isinstance(value, tuple):
        return len(value) == len(wire) and all(same(*pair) for pair in zip(value, wire, strict=True))
    return bool(plain(wire) == value)


def plain(wire: Any) -> Any:
    """Return a field of a message as values hold it."""
    if isinstance(wire, Timestamp):
        return nanoseconds_of(wire)
    if isinstance(wire, Duration):
        return wire.ToNanoseconds()
    if isinstance(wire, value_pb2.Money):
        return wire.nanos
    return dict(wire) if isinstance(wire, MutableMapping) else wire


def missing(value: msgspec.Struct, message: Message) -> list[str]:
    """Return the fields of the value that the message does not tell."""
    found = []
    for name in value.__struct_fields__:
        mine = getattr(value, name)
        theirs = RENAMED.get(name, name.removesuffix("_ns"))
        field = message.DESCRIPTOR.fields_by_name.get(theirs)
        if field is None:
            found.append(name)
        elif mine is None:
            if field.has_presence and message.HasField(theirs):
                found.append(name)
        elif field.enum_type is not None:
            number = getattr(message, theirs)
            if not field.enum_type.values_by_number[number].name.endswith("_" + str(mine).upper()):
                found.append(name)
        elif not same(mine, getattr(message, theirs)):
            found.append(name)
    return found


@pytest.mark.parametrize("kind", get_args(events.AnyPayload))
def test_every_field_of_every_event_reaches_the_wire(kind: type[events.Payload]) -> None:
    only_value = {"spec"} if kind is events.RunOpened else set()

    @settings(max_examples=30, deadline=None)
    @given(payload=strategy(kind), time_ns=st.integers(0, 2**62), sequence=INT32)
    def check(payload: Any, time_ns: int, sequence: int) -> None:
        event = Event(sequence=sequence, time_ns=time_ns, payload=payload, hash=b"h" if sequence else b"")
        (message,) = batch_message(Batch(events=(event,), next_cursor="c", caught_up=True)).events
        assert message.WhichOneof("payload") == kind.__struct_config__.tag
        assert nanoseconds_of(message.event_time) == time_ns
        assert (message.sequence, message.hash) == (sequence, event.hash)
        assert set(missing(payload, getattr(message, str(kind.__struct_config__.tag)))) <= only_value

    check()


def test_a_reason_of_the_future_counts_as_a_bug_and_keeps_its_words() -> None:
    payload = events.RunFinished(state=RunState.FAILED, failure=Failure(reason="NEW", message="Words."))
    event = Event(sequence=1, time_ns=0, payload=payload)
    (message,) = batch_message(Batch(events=(event,))).events
    assert message.run_finished.failure.message == "Words."
    assert message.run_finished.failure.code == 13


@pytest.mark.parametrize(
    ("kind", "there", "back"),
    [
        (Usage, usage_message, usage_of),
        (RateLimits, rate_limits_message, rate_limits_of),
    ],
)
def test_what_goes_both_ways_comes_back_as_it_was(
    kind: type[msgspec.Struct], there: Callable[[Any], Message], back: Callable[[Any], Any]
) -> None:
    @settings(max_examples=50, deadline=None)
    @given(value=strategy(kind))
    def check(value: Any) -> None:
        assert back(there(value)) == value

    check()


@settings(max_examples=50, deadline=None)
@given(value=strategy(ModelSettings))
def test_a_models_settings_come_back_with_their_price_as_the_endpoints(value: ModelSettings) -> None:
    back = model_settings_of(model_settings_message(value))
    price = None if value.price is None else msgspec.structs.replace(value.price, source="endpoint")
    assert back == msgspec.structs.replace(value, price=price, default_max_tokens=value.default_max_tokens or 1_024)


@given(nanoseconds=st.integers(0, 2**62))
def test_times_keep_every_nanosecond(nanoseconds: int) -> None:
    assert nanoseconds_of(timestamp(nanoseconds)) == nanoseconds
    assert duration(nanoseconds).ToNanoseconds() == nanoseconds


def test_what_a_caller_did_not_set_stays_unset() -> None:
    assert parameters_of(value_pb2.Parameters()) == Parameters()
    assert parameters_of(value_pb2.Parameters(temperature=0, seed=0)) == Parameters(temperature=0, seed=0)
    assert limits_of(value_pb2.CallLimits()) == CallLimits()
    assert limits_of(value_pb2.CallLimits(total=Duration(seconds=1, nanos=500_000_000))) == CallLimits(total=1.5)
    assert seconds_of(Duration(nanos=1_000_000)) == 0.001
    assert message_of(value_pb2.ChatMessage(content="a")).role == "user"
