"""The chat completions protocol as far as we speak it: the request's body and the chunks of an answer.

A chunk is decoded into small typed structs: what we do not need is never built, and a wrong shape is an error here and
not somewhere behind.
"""

from functools import lru_cache
from typing import Any, Final

import msgspec

from whet_server.errors import Reason
from whet_server.llm.base import Answer, ProviderFault, Request
from whet_server.llm.embeddings import MAX_TOKENS, answered_vectors
from whet_server.llm.taxonomy import excerpt, failure, failure_of_error
from whet_server.values import Failure, Usage

DONE: Final = b"[DONE]"
WITHHELD: Final = "content_filter"
MAX_TEXT: Final = 4_000_000
"""Characters of an answer: a million tokens, more than any model gives."""
_KNOWN_SCHEMAS: Final = 64
"""Schemas that are remembered to be good: a run asks thousands of questions by the same one."""


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    model: str | None = None


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_MODELS: Final = msgspec.json.Decoder(_Models)
_BODY: Final = msgspec.json.Encoder()


class Reply:
    """One answer as its chunks come in."""

    __slots__ = ("alive", "broken", "done", "finish_reason", "length", "model", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.model = ""
        self.length = 0
        self.alive = False
        """The last events brought a token, possibly one of hidden reasoning."""
        self.done = False
        """The stream said that it is over."""
        self.broken: ProviderFault | None = None
        """What is wrong with the stream. The text before it is good, however the bytes were split."""

    @property
    def complete(self) -> bool:
        """The end of the answer was announced, in one of the two ways there are."""
        return self.done or bool(self.finish_reason)

    def take(self, events: list[bytes]) -> str:
        """Take events in, up to the end of the stream or the first that is no chunk; return the new text."""
        self.alive = False
        pieces: list[str] = []
        for data in events:
            if data == DONE:
                self.done = True
                break
            try:
                if data and (piece := self._chunk(data)):
                    pieces.append(piece)
            except ProviderFault as fault:
                self.broken = fault
                break
        return pieces[0] if len(pieces) == 1 else "".join(pieces)

    def whole(self, body: bytes) -> str:
        """Take in an answer that came as one JSON object, from a server that does not stream. Raises `ProviderFault`
        when it is none.
        """
        text = self._chunk(body)
        self.finish_reason = self.finish_reason or "stop"
        return text

    def vectors(self, body: bytes, count: int) -> str:
        """Take in the embeddings of so many texts. Raises `ProviderFault` when there are others."""
        text, self.usage = answered_vectors(body, count)
        self.length, self.finish_reason = len(text), "stop"
        return text

    def finish(self) -> Answer:
        """Return the answer. Raises `ProviderFault` when there is none to return."""
        if self.finish_reason == WITHHELD:
            raise self._withheld()
        if not self.length:
            raise self._empty()
        return Answer(usage=self.usage, finish_reason=self.finish_reason, model=self.model)

    def fault(self, told: Failure) -> ProviderFault:
        """Return the fault, with the usage if it is final: some providers report a running figure with every chunk."""
        return ProviderFault(told, billed=True, usage=self.usage if self.complete else None)

    def _chunk(self, data: bytes) -> str:
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self.fault(_no_chunk(data, error)) from None
        if chunk.error:
            raise self.fault(failure_of_error(data))
        if chunk.usage is not None:
            self.usage = _reported(chunk.usage) or self.usage
        if chunk.model is not None:
            self.model = chunk.model
        if not chunk.choices:
            return ""
        return self._choice(chunk.choices[0])

    def _choice(self, choice: _Choice) -> str:
        if choice.finish_reason and self.finish_reason != WITHHELD:
            self.finish_reason = choice.finish_reason
        delta = choice.delta or choice.message
        if delta is None or choice.index:
            return ""
        text = delta.content or delta.refusal
        if text:
            self.alive = True
            self.length += len(text)
            if self.length > MAX_TEXT:
                raise self.fault(failure(Reason.ANSWER_TOO_LARGE, f"The answer has more than {MAX_TEXT:,} characters."))
            return text
        if delta.reasoning or delta.reasoning_content:
            self.alive = True
        return ""

    def _withheld(self) -> ProviderFault:
        return self.fault(failure(Reason.CONTENT_FILTERED, "The provider withheld the answer by its content rules."))

    def _empty(self) -> ProviderFault:
        if self.finish_reason == "length":
            message = "The answer's limit of tokens was used up before any text came: raise max_tokens."
            return self.fault(failure(Reason.EMPTY_ANSWER, message, transient=False))
        return self.fault(failure(Reason.EMPTY_ANSWER, "The provider ended its answer without a word."))


def body_of(request: Request, limit_field: str) -> bytes:
    """Return the body of a request. Raises `ProviderFault` when the parameters cannot be sent."""
    parameters = request.parameters
    body: dict[str, Any] = {
        "model": request.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional = {
        limit_field: parameters.max_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "seed": parameters.seed,
        "stop": parameters.stop or None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    if parameters.json_schema:
        schema = {"name": "answer", "strict": True, "schema": _schema(parameters.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return _BODY.encode(body)


def model_names(body: bytes) -> list[str]:
    """Return the names in an answer to `GET /models`. Raises `ProviderFault`."""
    try:
        return [listed.id for listed in _MODELS.decode(body).data]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProviderFault(_no_chunk(body, error), billed=False) from None


@lru_cache(maxsize=_KNOWN_SCHEMAS)
def _schema(text: str) -> msgspec.Raw:
    encoded = text.encode()
    try:
        msgspec.json.decode(encoded, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        told = failure(Reason.REQUEST_REFUSED, f"The schema for the answer is no JSON object ({error}): correct it.")
        raise ProviderFault(told, billed=False) from None
    return msgspec.Raw(encoded)


def _no_chunk(data: bytes, error: Exception) -> Failure:
    shown = excerpt(data[:400].decode(errors="replace"))
    return failure(
        Reason.PROTOCOL_VIOLATION,
        f"The provider sent something that is no chunk of an answer ({error}): {shown}",
    )


def _reported(usage: _Usage) -> Usage | None:
    """Return the reported tokens; None when a figure is missing or cannot be true.

    Gemini counts hidden reasoning in the total only, and bills it as output.
    """
    asked, answered = usage.prompt_tokens, usage.completion_tokens
    if asked is None or answered is None or not (0 <= asked <= MAX_TOKENS and 0 <= answered <= MAX_TOKENS):
        return None
    total = min(usage.total_tokens or 0, MAX_TOKENS)
    return Usage(input_tokens=asked, output_tokens=max(answered, total - asked))
