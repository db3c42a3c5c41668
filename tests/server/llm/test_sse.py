import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet_server.llm.sse import EventReader, EventTooLarge

_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
_noise = st.sampled_from(["", ": comment", "event: message", "id: 7", "retry: 10", "unknown"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream and the data in it."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    wire, expected = draw(st.sampled_from(["", "\ufeff"])), []
    for lines in draw(st.lists(st.lists(_text, max_size=3), max_size=6)):
        before = draw(_noise)
        wire += before + end if before else ""
        wire += "".join(f"data: {line}{end}" for line in lines) + end
        if lines:
            expected.append("\n".join(lines).encode())
    return wire.encode(), expected


def _read(stream: bytes, cuts: list[int]) -> list[bytes]:
    reader = EventReader()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = [event for start, end in itertools.pairwise(places) for event in reader.feed(stream[start:end])]
    return found + reader.end()


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_events(stream: tuple[bytes, list[bytes]], cuts: list[int]) -> None:
    wire, expected = stream
    assert _read(wire, cuts) == expected


@given(streams())
def test_bytes_that_come_one_by_one_give_the_same_events(stream: tuple[bytes, list[bytes]]) -> None:
    wire, expected = stream
    assert _read(wire, list(range(len(wire)))) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_garbage_is_read_the_same_however_it_is_split(garbage: bytes, cuts: list[int]) -> None:
    assert _read(garbage, cuts) == _read(garbage, [])


def test_an_event_without_a_blank_line_behind_it_is_found_at_the_end() -> None:
    reader = EventReader()
    assert reader.feed(b"data: one\n\ndata: [DONE]") == [b"one"]
    assert reader.end() == [b"[DONE]"]
    assert reader.end() == []


def test_a_space_behind_the_colon_is_no_part_of_the_data() -> None:
    assert EventReader().feed(b"data:x\n\ndata:  y\n\ndata\n\n") == [b"x", b" y", b""]


def test_an_event_that_does_not_end_is_refused_at_the_limit() -> None:
    reader = EventReader(limit=100)
    assert reader.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(EventTooLarge):
        reader.feed(b"x" * 20)


def test_many_small_events_may_together_be_larger_than_the_limit() -> None:
    reader = EventReader(limit=20)
    assert len(reader.feed(b"data: x\n\n" * 100)) == 100
