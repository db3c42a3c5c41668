import json
from typing import Any

import pytest

from whet_agent.model.toolcalls import Assembler

A, B = {"prompt": "one"}, {"prompt": "two"}


def piece(arguments: Any = None, *, index: int | None = None, call: str = "", name: str = "") -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value not in ("", None)}
    whole = {"index": index, "id": call, "function": function}
    return {key: value for key, value in whole.items() if value not in ("", None)}


HALF_A, REST_A = '{"prompt"', ': "one"}'
HALF_B, REST_B = '{"prompt"', ': "two"}'

STREAMS = {
    "as the protocol says, interleaved": [
        piece("", index=0, call="a", name="f"),
        piece("", index=1, call="b", name="g"),
        piece(HALF_A, index=0),
        piece(HALF_B, index=1),
        piece(REST_B, index=1),
        piece(REST_A, index=0),
    ],
    "the index is always 0": [
        piece(HALF_A, index=0, call="a", name="f"),
        piece(REST_A, index=0),
        piece(HALF_B, index=0, call="b", name="g"),
        piece(REST_B, index=0),
    ],
    "no index": [
        piece(HALF_A, call="a", name="f"),
        piece(REST_A),
        piece(HALF_B, call="b", name="g"),
        piece(REST_B),
    ],
    "no id": [
        piece(HALF_A, index=0, name="f"),
        piece(REST_A, index=0),
        piece(HALF_B, index=1, name="g"),
        piece(REST_B, index=1),
    ],
    "neither index nor id": [piece(HALF_A, name="f"), piece(REST_A), piece(HALF_B, name="g"), piece(REST_B)],
    "id and name in every piece": [
        piece(HALF_A, index=0, call="a", name="f"),
        piece(REST_A, index=0, call="a", name="f"),
        piece(HALF_B, index=1, call="b", name="g"),
        piece(REST_B, index=1, call="b", name="g"),
    ],
    "one id for both": [
        piece(HALF_A, index=0, call="a", name="f"),
        piece(REST_A, index=0),
        piece(json.dumps(B), index=1, call="a", name="g"),
    ],
    "arguments as objects": [piece(A, index=0, call="a", name="f"), piece(B, index=1, call="b", name="g")],
    "everything so far each time": [
        piece(HALF_A, index=0, call="a", name="f"),
        piece(HALF_A + REST_A, index=0),
        piece(json.dumps(B), index=1, call="b", name="g"),
    ],
    "encoded twice": [
        piece(json.dumps(json.dumps(A)), index=0, call="a", name="f"),
        piece(json.dumps(B), index=1, call="b", name="g"),
    ],
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_two_calls_are_found_however_a_server_streams_them(stream: list[dict[str, Any]]) -> None:
    assembler = Assembler()
    for given in stream:
        assembler.feed(given)
    found = assembler.finish()
    assert [(call.name, json.loads(call.arguments)) for call in found] == [("f", A), ("g", B)]
    assert len({call.call_id for call in found}) == 2


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "17", "nonsense"])
def test_what_is_no_object_is_kept_for_the_mind_to_see(arguments: str) -> None:
    assembler = Assembler()
    assembler.feed(piece(arguments, index=0, call="a", name="f"))
    assert json.loads(assembler.finish()[0].arguments) == {"not_json": arguments}


def test_a_call_without_arguments_has_none() -> None:
    assembler = Assembler()
    assembler.feed(piece(index=0, call="a", name="f"))
    assert assembler.finish()[0].arguments == "{}"
