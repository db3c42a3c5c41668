"""Answers as people read them: lists as tables, single things as lines, runs as the chat tells them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from whet.v1 import approval_pb2, event_pb2, fanout_pb2, ledger_pb2, model_pb2, trace_pb2, value_pb2
from whet_tui.cli import show_judging, show_sweeps
from whet_tui.cli.tables import (
    Row,
    details,
    enum_word,
    more,
    price_word,
    table,
    time_word,
    tokens_word,
    totals_word,
)
from whet_tui.entries import Fanout, dollars, with_amounts
from whet_tui.lanes import hear
from whet_tui.plain import FanoutPrinter, answer_lines, counted
from whet_tui.safe import safe, safe_line

_NAMES: Final = 20
"""Names that are listed where they are not what was asked for."""
_PER_MILLION: Final = "per million tokens"


def shown(answer: Message) -> Iterator[str]:
    """Yield the lines of an answer."""
    show = _SHOWN.get(type(answer))
    if show is not None:
        yield from show(answer)
        return
    lines = list(details(answer, ""))
    yield from lines or ["Done."]
    if token := getattr(answer, "next_page_token", ""):
        yield f"More: --page-token {token}"


def event_line(event: event_pb2.Event) -> str:
    """Return a recorded event in a line."""
    kind = event.WhichOneof("payload") or "unknown"
    told = "; ".join(line.strip() for line in details(getattr(event, kind), "")) if kind != "unknown" else ""
    return f"{event.sequence:>4}  {time_word(event.event_time)}  {kind:<18}  {safe_line(told, 200)}"


def _fanouts(answer: fanout_pb2.ListFanoutsResponse) -> Iterator[str]:
    rows = [
        (each.run_id, enum_word(each, "state"), time_word(each.create_time), totals_word(each.totals), each.title)
        for each in answer.fanouts
    ]
    yield from table(("RUN", "STATE", "STARTED (UTC)", "COST", "TITLE"), rows, "No fan-outs.")
    yield from more(answer)


def _traces(answer: trace_pb2.ListTracesResponse) -> Iterator[str]:
    rows = [
        (
            each.run_id,
            enum_word(each, "kind"),
            enum_word(each, "state"),
            str(each.event_count),
            totals_word(each.totals),
            each.role,
            each.title,
        )
        for each in answer.traces
    ]
    yield from table(("RUN", "KIND", "STATE", "EVENTS", "COST", "BY", "TITLE"), rows, "No runs.")
    yield from more(answer)


def _models(answer: model_pb2.ListModelsResponse) -> Iterator[str]:
    rows = [
        (
            each.name,
            price_word(each.price) if each.HasField("price") else "price unknown",
            "simulated" if each.simulated else "",
            "panel" if each.in_panel else "",
            each.description,
        )
        for each in answer.models
    ]
    yield from table(("MODEL", _PER_MILLION.upper(), "", "", "ABOUT"), rows, "No models. Add an endpoint.")


def _endpoints(answer: model_pb2.ListEndpointsResponse) -> Iterator[str]:
    rows = [
        (
            each.name,
            enum_word(each, "kind"),
            enum_word(each, "circuit"),
            f"{each.in_flight} of {each.current_concurrency}",
            "key" if each.has_key else "",
            each.source,
            each.base_url,
            each.last_failure.message,
        )
        for each in answer.endpoints
    ]
    headers = ("ENDPOINT", "KIND", "CIRCUIT", "CALLS", "KEY", "FROM", "URL", "LAST FAILURE")
    yield from table(headers, rows, "No endpoints.")


def _tested(answer: model_pb2.TestEndpointResponse) -> Iterator[str]:
    took = f"{answer.latency.ToNanoseconds() / 1e9:.2f} s"
    if not answer.ok:
        yield f"It does not work ({took}): {safe(answer.failure.message)}"
        return
    yield f"It works ({took}) and names {counted(len(answer.models), 'model', 'models')}."
    for name in answer.models[:_NAMES]:
        yield safe_line(name)
    if len(answer.models) > _NAMES:
        yield f"and {len(answer.models) - _NAMES} more: whet model list"


def _put_endpoint(answer: model_pb2.PutEndpointResponse) -> Iterator[str]:
    yield from details(answer.endpoint, "")
    if not answer.endpoint.has_key:
        yield "No key is stored. One that was there is kept only while the URL's scheme, host and port stay the same."


def _cache(answer: model_pb2.GetCacheResponse) -> Iterator[str]:
    asked = answer.hits + answer.misses
    rate = f", {answer.hits / asked:.0%}" if asked else ""
    yield f"{counted(answer.entries, 'answer', 'answers')}, {answer.size_bytes / 1e3:,.1f} kB"
    yield f"{counted(answer.hits, 'hit', 'hits')} in {counted(asked, 'look-up', 'look-ups')}{rate}, since the start"


def _usage(answer: ledger_pb2.GetUsageResponse) -> Iterator[str]:
    rows = [_usage_row(line.key, line.totals) for line in answer.lines]
    if len(rows) != 1 or rows[0][0]:
        rows.append(_usage_row("in all", answer.totals))
    yield from table(("", "SETTLED", "UNKNOWN", "RESERVED", "TOKENS"), rows, "Nothing spent.")


def _usage_row(key: str, totals: value_pb2.Totals) -> Row:
    amounts = (dollars(money.nanos) for money in (totals.settled, totals.unknown, totals.reserved))
    return (key, *amounts, tokens_word(totals.usage).removesuffix(" tokens"))


def _caps(answer: ledger_pb2.ListCapsResponse) -> Iterator[str]:
    rows = []
    for each in answer.caps:
        held = (each.settled.nanos, each.unknown.nanos, each.reserved.nanos)
        left = max(0, each.limit.nanos - sum(held))
        rows.append((each.cap_id, dollars(each.limit.nanos), *(dollars(nanos) for nanos in held), dollars(left)))
    yield from table(("CAP", "LIMIT", "SETTLED", "UNKNOWN", "RESERVED", "LEFT"), rows, "No caps.")
    yield f"An agent's call that may cost more than {dollars(answer.approval_threshold.nanos)} needs your approval."


def _reservations(answer: ledger_pb2.ListReservationsResponse) -> Iterator[str]:
    rows = [
        (
            each.reservation_id,
            each.run_id,
            each.model,
            enum_word(each, "billing"),
            dollars(each.settled.nanos) if each.HasField("settled") else f"up to {dollars(each.reserved.nanos)}",
            tokens_word(each.usage) if each.HasField("usage") else "",
        )
        for each in answer.reservations
    ]
    yield from table(("ENTRY", "RUN", "MODEL", "STATE", "COST", "TOKENS"), rows, "No entries.")
    yield from more(answer)


def _approvals(answer: approval_pb2.ListApprovalsResponse) -> Iterator[str]:
    rows = [
        (
            each.approval_id,
            enum_word(each, "state"),
            dollars(each.worst_cost.nanos) if each.HasField("worst_cost") else "",
            time_word(each.expire_time),
            each.summary,
        )
        for each in answer.approvals
    ]
    yield from table(("APPROVAL", "STATE", "UP TO", "EXPIRES (UTC)", "ABOUT"), rows, "Nothing waits for you.")
    yield from more(answer)


def _approval(answer: approval_pb2.GetApprovalResponse) -> Iterator[str]:
    yield from (with_amounts(line) for text in details(answer.approval, "") for line in text.splitlines())


def _trace(answer: trace_pb2.GetTraceResponse) -> Iterator[str]:
    yield from details(answer.trace, "")
    for event in answer.events:
        yield event_line(event)
    if answer.more:
        yield f"More: --after-sequence {answer.events[-1].sequence}"


def _verified(answer: trace_pb2.VerifyTraceResponse) -> Iterator[str]:
    if answer.valid:
        yield f"Valid: {answer.events_checked} events, in order and unaltered."
    else:
        yield f"NOT VALID at event {answer.first_bad_sequence}: {safe(answer.problem)}"
    yield f"Head hash: {answer.head_hash.hex()}"


def _plan(answer: fanout_pb2.PlanFanoutResponse) -> Iterator[str]:
    yield from table(
        ("BRANCH", "MODEL", "SAMPLE", ""),
        [
            (each.branch_id, each.model, str(each.sample), "simulated" if each.simulated else "")
            for each in answer.branches
        ],
        "No branches.",
    )
    yield f"Calls: {answer.calls}, of which the cache would answer {answer.cache_hits}."
    yield f"Cost: {dollars(answer.expected_cost.nanos)} expected, {dollars(answer.worst_cost.nanos)} at worst."
    if answer.unpriced_models:
        yield f"Cost unknown, because these have no price: {', '.join(map(safe_line, answer.unpriced_models))}"
    if answer.needs_approval:
        yield "An agent would need your approval for it."
    yield f"Hold a run to this plan: --plan-hash {answer.plan_hash}"


def _fanout(answer: Any) -> Iterator[str]:
    """A fan-out that was fetched, told as if it had been watched."""
    fanout = Fanout(run_id=answer.fanout.run_id)
    for event in _events_of(answer.fanout):
        hear(fanout, event)
    yield safe_line(answer.fanout.title or answer.fanout.run_id)
    yield from FanoutPrinter().lines(fanout)
    if not fanout.ended:
        yield f"running: whet fanout watch {fanout.run_id}"
    lines = list(answer_lines(fanout))
    yield from ["", *lines] if lines else []


def _events_of(fetched: fanout_pb2.Fanout) -> Iterator[event_pb2.Event]:
    opened = event_pb2.RunOpened(run_id=fetched.run_id, branches=fetched.plan, prompt=fetched.prompt)
    yield event_pb2.Event(run_opened=opened, event_time=fetched.create_time)
    for branch in fetched.branches:
        yield event_pb2.Event(branch_finished=branch)
    if fetched.HasField("synthesis"):
        yield event_pb2.Event(synthesis_finished=fetched.synthesis)
    if fetched.HasField("end_time"):
        finished = event_pb2.RunFinished(state=fetched.state, totals=fetched.totals)
        finished.latency.FromNanoseconds(fetched.end_time.ToNanoseconds() - fetched.create_time.ToNanoseconds())
        if fetched.HasField("failure"):
            finished.failure.CopyFrom(fetched.failure)
        yield event_pb2.Event(run_finished=finished)


def _started(answer: fanout_pb2.StartFanoutResponse) -> Iterator[str]:
    run_id = answer.fanout.run_id
    yield f"{'Started' if answer.started else 'Already there:'} {run_id}. Follow it with: whet fanout watch {run_id}"


_SHOWN: Final[Mapping[type[Message], Callable[[Any], Iterator[str]]]] = {
    fanout_pb2.PlanFanoutResponse: _plan,
    fanout_pb2.StartFanoutResponse: _started,
    fanout_pb2.GetFanoutResponse: _fanout,
    fanout_pb2.CancelFanoutResponse: _fanout,
    fanout_pb2.ListFanoutsResponse: _fanouts,
    model_pb2.ListEndpointsResponse: _endpoints,
    model_pb2.ListModelsResponse: _models,
    model_pb2.PutEndpointResponse: _put_endpoint,
    model_pb2.TestEndpointResponse: _tested,
    model_pb2.GetCacheResponse: _cache,
    ledger_pb2.GetUsageResponse: _usage,
    ledger_pb2.ListCapsResponse: _caps,
    ledger_pb2.ListReservationsResponse: _reservations,
    approval_pb2.ListApprovalsResponse: _approvals,
    approval_pb2.GetApprovalResponse: _approval,
    trace_pb2.ListTracesResponse: _traces,
    trace_pb2.GetTraceResponse: _trace,
    trace_pb2.VerifyTraceResponse: _verified,
    **show_judging.SHOWN,
    **show_sweeps.SHOWN,
}
"""Answers with a form of their own; all others are shown as lines."""
