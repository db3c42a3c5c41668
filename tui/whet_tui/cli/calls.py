"""Make one call of the contract and print what comes back."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import click
from google.protobuf.message import Message

from whet.v1 import calibration_pb2, dataset_pb2, judge_pb2, judging_pb2, model_pb2, sweep_pb2, sweeping_pb2, trace_pb2
from whet_agent.catalogue import Method, to_plain
from whet_agent.client import CallError, Client
from whet_agent.connect import connect
from whet_tui import settings as settings_of
from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import FAILED, OK, REFUSED, Stopped
from whet_tui.cli.following import Follower
from whet_tui.cli.root import Launch
from whet_tui.cli.show import shown
from whet_tui.json_lines import json_line
from whet_tui.opening import connect_settings

LARGE_BYTES: Final = 4 * 1024 * 1024
"""From here on a person may wonder whether anything happens."""


@asynccontextmanager
async def person(settings: settings_of.Settings) -> AsyncIterator[Client]:
    """A client with the person's token. Raises `ServerUnavailable`."""
    connection = await connect(connect_settings(settings))
    client = Client(connection.address, connection.person_token)
    try:
        yield client
    finally:
        await client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Printing:
    """How an answer is printed and what the exit code says: `out` takes a file's content, `gate` asks for a sweep's
    verdict.
    """

    as_json: bool = False
    out: Path | None = None
    gate: bool = False


def extras(method: Method) -> list[click.Parameter]:
    """Return the options that a command has beside its request's fields, for `Printing`."""
    found: list[click.Parameter] = []
    if method.response in _FILES:
        path = click.Path(path_type=Path, dir_okay=False)
        found.append(click.Option(["--out"], type=path, help="Write it to this file instead of stdout."))
    if method.response in {sweep_pb2.GetSweepResponse, sweep_pb2.WatchSweepResponse}:
        about = "Let the exit code say the verdict: 0 better, 1 no difference or failed, 4 undecided."
        found.append(click.Option(["--gate"], is_flag=True, help=about))
    return found


_FILES: Final = frozenset({sweep_pb2.ExportSweepResponse, sweep_pb2.ReportSweepResponse})
"""Answers that are a file's content."""


async def make(
    launch: Launch, method: Method, request: Message, printing: Printing, *, rename: Callable[[str], str]
) -> int:
    """Make the call, print its answer and return the exit code. `rename` puts flags for field paths in errors."""
    async with person(load_settings(launch)) as client:
        try:
            if method.server_streaming:
                return await _stream(client, method, request, printing)
            if method.is_upload:
                answer = await client.upload(method, request, _progress())
            else:
                answer = await client.call(method, request)
        except CallError as error:
            if error.violations:
                error.args = ("\n".join(complaints(error.violations, rename)),)
            else:
                error.args = (rename(str(error)),)
            raise
    if printing.as_json:
        click.echo(json_line(to_plain(answer)))
    elif printing.out is not None:
        written = cast("sweep_pb2.ReportSweepResponse", answer)
        printing.out.write_text(written.content, encoding="utf-8")
        click.echo(f"{written.file_name} is written to {printing.out}")
    elif isinstance(answer, sweep_pb2.ExportSweepResponse | sweep_pb2.ReportSweepResponse) and not sys.stdout.isatty():
        click.echo(answer.content, nl=False)
    else:
        for line in shown(answer):
            click.echo(line)
    if printing.gate and isinstance(answer, sweep_pb2.GetSweepResponse):
        return sweep_gate(answer.sweep.result.verdict)
    return _verdict(answer)


def complaints(violations: Sequence[tuple[str, str]], rename: Callable[[str], str]) -> list[str]:
    """Return what is wrong in a line each; of what is wrong in the same way with many lines or fields, one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for path, what in violations:
        number = _NUMBER.search(path)
        shape = path if number is None else f"{path[: number.start()]}*{path[number.end() :]}"
        alike.setdefault((shape, what), []).append(path)
    return [f"{_where(shape, paths, rename)}: {what}" for (shape, what), paths in alike.items()]


def _where(shape: str, paths: Sequence[str], rename: Callable[[str], str]) -> str:
    if len(paths) == 1 or not shape.startswith("line *"):
        more = f" (and {len(paths) - 1} more, the last {rename(paths[-1])})" if len(paths) > 1 else ""
        return rename(paths[0]) + more
    runs: list[tuple[int, int]] = []
    for number in (int(found[0]) for path in paths if (found := _NUMBER.search(path))):
        follows = runs and number == runs[-1][1] + 1
        runs[-1:] = [(runs[-1][0], number)] if follows else [*runs[-1:], (number, number)]
    return f"lines {', '.join(f'{a}-{b}' if b > a else str(a) for a, b in runs)}{shape.removeprefix('line *')}"


_NUMBER: Final = re.compile(r"(?<=^line )\d+|(?<=\[)\d+(?=\])")
"""What tells one line or element from the next."""


def _verdict(answer: Message) -> int:
    """An answer that says no is a failure for whoever scripts with it."""
    match answer:
        case trace_pb2.VerifyTraceResponse():
            return OK if answer.valid else FAILED
        case model_pb2.TestEndpointResponse():
            return OK if answer.ok else FAILED
        case judge_pb2.GateJudgementResponse():
            return _GATE.get(answer.decision, REFUSED)
        case calibration_pb2.CheckJudgeResponse():
            return OK if answer.state == judging_pb2.CALIBRATION_STATE_CALIBRATED else FAILED
        case _:
            return OK


def sweep_gate(verdict: sweeping_pb2.SweepVerdict.ValueType) -> int:
    """Return the exit code of a verdict. What has not concluded is as undecided as what could not decide."""
    match verdict:
        case sweeping_pb2.SWEEP_VERDICT_BETTER:
            return OK
        case sweeping_pb2.SWEEP_VERDICT_NO_DIFFERENCE:
            return FAILED
        case _:
            return REFUSED


_GATE: Final = {judge_pb2.GATE_DECISION_PASSED: OK, judge_pb2.GATE_DECISION_FAILED: FAILED}


async def _stream(client: Client, method: Method, request: Message, printing: Printing) -> int:
    if method.response in {trace_pb2.ExportTraceResponse, dataset_pb2.ExportDatasetResponse}:
        return await _export(client, method, request)
    if isinstance(request, sweep_pb2.WatchSweepRequest) and not printing.as_json:
        request.without_cases = True  # they are not told, and there may be a hundred thousand
    follower = Follower(as_json=printing.as_json, run_id=getattr(request, "run_id", ""))
    try:
        async with aclosing(client.stream(method, request)) as batches:
            async for batch in batches:
                follower.take(batch)
    except CallError as error:
        if follower.run_id and not error.reason:
            raise follower.cut(str(error)) from error
        raise
    except asyncio.CancelledError:
        follower.leave()
        raise
    if follower.silent and str(getattr(request, "cursor", "")):
        click.echo("Nothing is new after this cursor.", err=True)
        return OK
    if not follower.ended:
        raise follower.cut("The stream ended before the run did.")
    follower.finish()
    if printing.gate and follower.ended_well:
        return sweep_gate(follower.verdict)
    return OK if follower.ended_well else FAILED


async def _export(client: Client, method: Method, request: Message) -> int:
    """Write a file to stdout as it comes; what is no part of it goes to stderr."""
    if getattr(request, "format", None) == dataset_pb2.DATA_FORMAT_PARQUET and sys.stdout.isatty():
        raise Stopped("Parquet is no text for a terminal.", advice="Send it to a file: > NAME.parquet", code=FAILED)
    async with aclosing(client.stream(method, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, dataset_pb2.ExportDatasetResponse):
                sys.stdout.buffer.write(piece.chunk)
                if piece.sealed_rows:
                    click.echo(f"{piece.sealed_rows} rows are under seal and were left out.", err=True)
            else:
                sys.stdout.buffer.write(cast("trace_pb2.ExportTraceResponse", piece).lines)
    sys.stdout.buffer.flush()
    return OK


def _progress() -> Callable[[int, int], None]:
    """Return what tells of a large file on stderr, a tenth at a time."""
    tenth = 0

    def tell(sent: int, size: int) -> None:
        nonlocal tenth
        if size >= LARGE_BYTES and sent * 10 // size > tenth:
            tenth = sent * 10 // size
            click.echo(f"{tenth * 10} % of {size:,} bytes sent", err=True)

    return tell
