"""The verbs of the contract: one click command for each RPC, made from its descriptor."""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from whet_agent import upload
from whet_agent.catalogue import BadArguments, Method, methods, request_from
from whet_tui.cli.calls import Printing, extras, make
from whet_tui.cli.flags import arguments_from, flags_of, in_flags, parameters_of
from whet_tui.cli.root import Launch


def group_for(noun: str, summary: str) -> click.Group:
    """Return the group of a service with a command for each of its methods that a command can hold."""
    group = click.Group(noun, help=summary)
    for method in methods():
        if method.command[0] == noun and not method.is_dialogue:
            group.add_command(_command(method))
    return group


def _command(method: Method) -> click.Command:
    flags = flags_of(method.arguments)
    if method.is_upload:
        flags = [flag for flag in flags if flag.path[0] not in upload.COMPUTED]

    @click.pass_obj
    def call(launch: Launch, /, *, as_json: bool, out: Path | None = None, gate: bool = False, **values: Any) -> int:
        arguments = arguments_from(flags, values)
        if method.is_upload:
            arguments[upload.PATH] = values[upload.PATH]
        try:
            request = request_from(method, arguments, request_id=_request_id(arguments))
        except BadArguments as error:
            raise click.UsageError(in_flags(flags, str(error))) from error
        printing = Printing(as_json=as_json, out=out, gate=gate)
        return asyncio.run(make(launch, method, request, printing, rename=lambda text: in_flags(flags, text)))

    file = click.Option([f"--{upload.PATH}"], required=True, metavar="FILE", help=upload.ABOUT)
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON: one object, or one a line.")
    return click.Command(
        method.command[1],
        params=[*parameters_of(flags), *([file] if method.is_upload else []), *extras(method), as_json],
        callback=call,
        help=f"{method.comment}.\n\n{method.service}/{method.name}".replace("..", "."),
        short_help=method.comment,
    )


def _request_id(arguments: Mapping[str, Any]) -> str:
    """Every change carries an id, so that gRPC or a person may repeat it; the one that was given wins."""
    return "" if arguments.get("request_id") else f"cli-{uuid.uuid4()}"
