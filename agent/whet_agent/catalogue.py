"""The tool catalogue, read from the contract's descriptors: one list for the agent's tools, the CLI's verbs and the documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC. `command` is its CLI verb, such as `("fanout", "run")`: the service's and the method's name without the noun they share."""

    service: str
    """Full name, such as `whet.v1.FanoutService`."""
    name: str
    request: type[Message]
    response: type[Message]
    server_streaming: bool
    command: tuple[str, str]
    comment: str = ""

    @property
    def path(self) -> str:
        """The gRPC path, `/service/name`."""
        return f"/{self.service}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A method that the agent may call. `schema` is the JSON Schema of its arguments, without `request_id` and `plan_hash`."""

    name: str
    summary: str
    effect: str
    """`reads`, `spends` or `changes`."""
    examples: tuple[str, ...]
    method: Method
    schema: Mapping[str, Any]


class BadArguments(ValueError):
    """Arguments that do not fit the request message. `str()` names the field and says what to do."""


def methods() -> Sequence[Method]:
    """Return every RPC of the contract, in the order of services and methods."""
    raise NotImplementedError


def tools() -> Mapping[str, Tool]:
    """Return every tool by name."""
    raise NotImplementedError


def request_from(method: Method, arguments: Mapping[str, Any], *, request_id: str = "") -> Message:
    """Build the request. Enums accept their short names in any case (`draft`), durations seconds (1.5) or `1.5s`, money dollars as text (`$0.50`) or
    `{"nanos": n}`. Raises `BadArguments`.
    """
    raise NotImplementedError


def to_plain(message: Message) -> dict[str, Any]:
    """Return a message as JSON-ready data with snake_case names, short enum names in lower case, and bytes in hexadecimal."""
    raise NotImplementedError
