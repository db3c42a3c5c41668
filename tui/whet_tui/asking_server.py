"""One call to the server for a desk, with errors in the desk's words."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar, cast

from google.protobuf.message import Message

from whet_agent.catalogue import methods
from whet_agent.client import CallError, Client
from whet_tui.desk import DeskError

_SECONDS: Final = 10.0
"""A list that takes longer is given up: the next look asks again."""
_LASTING: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION"})
"""What is refused with one of these is refused however often it comes."""

_Answer = TypeVar("_Answer", bound=Message)


class Asker:
    """Asks by the names of methods."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._methods = {method.name: method for method in methods()}

    async def ask(self, name: str, request: Message, kind: type[_Answer], *, timeout: float = _SECONDS) -> _Answer:
        try:
            answer = await self._client.call(self._methods[name], request, timeout=timeout)
        except CallError as error:
            raise DeskError(str(error), lasting=error.code in _LASTING) from error
        return cast("_Answer", answer)

    async def stream(self, name: str, request: Message, kind: type[_Answer]) -> AsyncGenerator[_Answer, None]:
        try:
            async with aclosing(self._client.stream(self._methods[name], request)) as messages:
                async for message in messages:
                    yield cast("_Answer", message)
        except CallError as error:
            raise DeskError(str(error)) from error
