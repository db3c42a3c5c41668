"""The embeddings protocol of OpenAI-compatible endpoints: the request's body and the vectors of an answer.

Inside, vectors travel as the text of an answer, so that reservations, attempts and the cache are those of every call: a
line a text, each the base64 of little-endian 32-bit floats, which is also how most endpoints send them.
"""

import base64
import binascii
import math
import struct
import sys
from array import array
from typing import Any, Final, TypeAlias

import msgspec

from whet_server.errors import Reason
from whet_server.llm.base import ProviderFault, Request
from whet_server.llm.taxonomy import failure
from whet_server.values import Usage

FLOAT_BYTES: Final = 4
MAX_TOKENS: Final = 1 << 40
"""A reported figure above this is a provider gone wrong, and is read as not reported."""
Vector: TypeAlias = "array[float]"
"""Of 32-bit floats: a tuple would be ten times as large."""


class _Embedded(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Embeddings(msgspec.Struct):
    data: list[_Embedded]
    usage: _Usage | None = None


_ANSWER: Final = msgspec.json.Decoder(_Embeddings)


def body_of_texts(request: Request) -> bytes:
    """Return the body of a request for the vectors of its messages' texts."""
    texts = [message.content for message in request.messages]
    body: dict[str, Any] = {"model": request.model, "input": texts, "encoding_format": "base64"}
    return msgspec.json.encode(body)


def answered_vectors(body: bytes, count: int) -> tuple[str, Usage | None]:
    """Return the vectors of an answer as text, and what the provider says to have used. Raises `ProviderFault` unless
    there is one for each text, all of one length.
    """
    try:
        answer = _ANSWER.decode(body)
        lines = {each.index: _line(each.embedding) for each in answer.data}
    except (msgspec.MsgspecError, RecursionError, ValueError, binascii.Error, OverflowError, struct.error) as error:
        raise _fault(f"The provider sent something that is no list of embeddings: {str(error)[:200]}.", None) from None
    usage = _used(answer.usage)
    if len(answer.data) != count or set(lines) != set(range(count)):
        raise _fault(f"The provider sent {len(answer.data)} embeddings for {count} texts.", usage)
    if len({len(line) for line in lines.values()}) != 1:
        raise _fault("The provider sent embeddings of different lengths.", usage)
    return "\n".join(lines[place] for place in range(count)), usage


def vectors_in(text: str) -> list[Vector]:
    """Return the vectors that stand in the text of an answer."""
    return [_floats(base64.b64decode(line)) for line in text.splitlines()]


def _line(embedding: str | list[float]) -> str:
    """Return an embedding as base64. Raises `ValueError` for one that is empty or not finite."""
    if isinstance(embedding, str):
        raw = base64.b64decode(embedding, validate=True)
    else:
        raw = struct.pack(f"<{len(embedding)}f", *embedding)
    if not raw or len(raw) % FLOAT_BYTES or not all(map(math.isfinite, _floats(raw))):
        raise ValueError("an embedding is some finite numbers")
    return base64.b64encode(raw).decode()


def _floats(raw: bytes) -> Vector:
    vector = array("f", raw)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _used(usage: _Usage | None) -> Usage | None:
    if usage is None or usage.prompt_tokens is None or not 0 <= usage.prompt_tokens <= MAX_TOKENS:
        return None
    return Usage(input_tokens=usage.prompt_tokens)


def _fault(message: str, usage: Usage | None) -> ProviderFault:
    return ProviderFault(failure(Reason.PROTOCOL_VIOLATION, message), billed=True, usage=usage)
