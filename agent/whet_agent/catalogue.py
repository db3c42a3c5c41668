"""The tool catalogue, read from the contract's descriptors.

One list for the agent's tools, the CLI's verbs and the documents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from whet.v1 import (
    approval_pb2,
    calibration_pb2,
    dataset_pb2,
    fanout_pb2,
    hook_pb2,
    judge_pb2,
    ledger_pb2,
    model_pb2,
    options_pb2,
    rubric_pb2,
    scorer_pb2,
    sweep_pb2,
    trace_pb2,
    trial_pb2,
)
from whet_agent import upload
from whet_agent.arguments import BadArguments, fill
from whet_agent.json_object import JsonView
from whet_agent.plain import descriptor_of, short_enum_name, to_plain
from whet_agent.schema import schema_of

__all__ = ["BadArguments", "Method", "Tool", "method_named", "methods", "request_from", "to_plain", "tools"]

_FILES: Final = (
    fanout_pb2,
    model_pb2,
    ledger_pb2,
    approval_pb2,
    trace_pb2,
    judge_pb2,
    calibration_pb2,
    rubric_pb2,
    scorer_pb2,
    dataset_pb2,
    sweep_pb2,
    trial_pb2,
    hook_pb2,
)
"""Every file of the contract that holds a service; a test compares them with the folder."""

_FOR_THE_CALLER: Final = frozenset({"request_id", "plan_hash"})
"""Fields that whoever makes the call fills in: a model must not invent them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC.

    `command` is its CLI verb, such as `("fanout", "run")`: the service's and the method's name without the noun they
    share.
    """

    service: str
    """Full name, such as `whet.v1.FanoutService`."""
    name: str
    request: type[Message]
    response: type[Message]
    server_streaming: bool
    client_streaming: bool
    command: tuple[str, str]
    comment: str = ""
    """The tool's summary, or why the method is no tool: the only texts that descriptors still carry at run time."""

    @property
    def path(self) -> str:
        """The gRPC path, `/service/name`."""
        return f"/{self.service}/{self.name}"

    @property
    def is_dialogue(self) -> bool:
        """Whether both sides speak again and again: only a program can hold such a call."""
        return self.client_streaming and self.server_streaming

    @property
    def is_upload(self) -> bool:
        """Whether a header and a file's pieces are sent for one answer."""
        return self.client_streaming and not self.server_streaming

    @property
    def arguments(self) -> Descriptor:
        """The message that a caller's arguments fill: an upload's header, else the request."""
        return descriptor_of(self.request().header if self.is_upload else self.request)  # type: ignore[attr-defined]  # every upload has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A method that the agent may call.

    `schema` is the JSON Schema of its arguments, without `request_id` and `plan_hash`.
    """

    name: str
    summary: str
    effect: str
    """`reads`, `spends` or `changes`."""
    examples: tuple[str, ...]
    method: Method
    schema: JsonView


@cache
def methods() -> Sequence[Method]:
    """Return every RPC of the contract, in the order of services and methods."""
    return tuple(_method(method) for service in _services() for method in service.methods)


@cache
def tools() -> Mapping[str, Tool]:
    """Return every tool by name."""
    found = {}
    for method in methods():
        option = _descriptor(method).GetOptions().Extensions[options_pb2.tool]
        if option.name:
            found[option.name] = Tool(
                name=option.name,
                summary=option.summary,
                effect=short_enum_name(options_pb2.Effect.DESCRIPTOR, option.effect),
                examples=tuple(option.examples),
                method=method,
                schema=_schema(method),
            )
    return MappingProxyType(found)


def method_named(service: str, name: str) -> Method:
    """Return a method by its names, such as `FanoutService` and `WatchFanout`."""
    return next(m for m in methods() if m.name == name and m.service.endswith(f".{service}"))


def _schema(method: Method) -> JsonView:
    if not method.is_upload:
        return schema_of(method.arguments, without=_FOR_THE_CALLER)
    schema = schema_of(method.arguments, without=_FOR_THE_CALLER | upload.COMPUTED)
    file = {"type": "string", "minLength": 1, "description": upload.ABOUT}
    return schema | {
        "properties": {upload.PATH: file} | schema["properties"],
        "required": [upload.PATH, *schema["required"]],
    }


def request_from(method: Method, arguments: JsonView, *, request_id: str = "") -> Message:
    """Build the request.

    Enums accept their short names in any case (`draft`), durations seconds (1.5) or `1.5s`, money dollars as text
    (`$0.50`) or `{"nanos": n}`, times RFC 3339 or a day, bytes hexadecimal. An upload's file is read for its digest.
    Raises `BadArguments`.
    """
    if request_id and "request_id" in method.arguments.fields_by_name:
        arguments = {**arguments, "request_id": request_id}
    if method.is_upload:
        arguments = {"header": upload.header_of(arguments)}
    request = method.request()
    fill(request, arguments)
    return request


def _services() -> Sequence[ServiceDescriptor]:
    return [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]


def _descriptor(method: Method) -> MethodDescriptor:
    services = {service.full_name: service for service in _services()}
    return services[method.service].methods_by_name[method.name]


def _method(descriptor: MethodDescriptor) -> Method:
    options = descriptor.GetOptions().Extensions
    return Method(
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        request=GetMessageClass(descriptor.input_type),
        response=GetMessageClass(descriptor.output_type),
        server_streaming=descriptor.server_streaming,
        client_streaming=descriptor.client_streaming,
        command=_command(descriptor.containing_service.name, descriptor.name),
        comment=options[options_pb2.tool].summary or options[options_pb2.not_a_tool],
    )


def _command(service: str, method: str) -> tuple[str, str]:
    noun = service.removesuffix("Service").lower()
    words = [word.lower() for word in re.findall("[A-Z][a-z0-9]*", method)]
    if len(words) > 1 and words[-1] in {noun, f"{noun}s", f"{noun}ment", f"{noun}ments"}:
        words.pop()
    return noun, "-".join(words)
