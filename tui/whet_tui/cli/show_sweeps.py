"""Sweeps, trials, cases and webhooks as people read them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from whet.v1 import event_pb2, hook_pb2, judging_pb2, sweep_pb2, sweeping_pb2, trial_pb2
from whet_agent.plain import short_enum_name
from whet_agent.results import estimate
from whet_agent.sweep_words import (
    PHASES,
    VERDICTS,
    controlled_words,
    left_words,
    plan_words,
    result_lines,
    signed,
    time_words,
    trial_words,
    value_words,
)
from whet_tui.cli.tables import Row, details, enum_word, more, table, time_word, totals_word
from whet_tui.entries import dollars
from whet_tui.safe import safe, safe_line

_LINE: Final = 400
"""Characters of a sentence beside a table."""
_TEXT: Final = 200
"""Characters of a question or an answer beside others."""
_NANOS: Final = 1_000_000_000
_SECONDS: Final = 60
"""Below, a time is told with its tenths."""


def progress_line(plan: sweeping_pb2.SweepPlan, progress: event_pb2.SweepProgress) -> str:
    """Return how far a sweep is in a line."""
    words = [f"{progress.ended} of {plan.trials} trials"]
    words += [f"{progress.pruned} stopped early"] if progress.pruned else []
    words += [f"{progress.running} under way"] if progress.running else []
    words += [f"best {progress.best_value:.3g} (trial {progress.best})"] if progress.HasField("best") else []
    words.append(totals_word(progress.totals))
    words += [f"left: {left}"] if (left := left_words(progress)) else []
    phase = f"[{enum_word(progress, 'phase')}] " if progress.phase in PHASES else ""
    return f"{phase}{', '.join(words)}"


def opening_line(run_id: str, plan: sweeping_pb2.SweepPlan) -> str:
    """Return what a sweep is about to do in a line."""
    sampler = short_enum_name(sweeping_pb2.SamplerKind.DESCRIPTOR, plan.sampler.kind).replace("_", " ")
    simulated = ", simulated" if plan.simulated else ""
    return f"{run_id}: up to {plan.trials} trials by {sampler} on {plan.cases} cases, {plan.origin}{simulated}"


def _plan(answer: sweep_pb2.PlanSweepResponse) -> Iterator[str]:
    yield from (safe(line.removeprefix("- ")) for line in plan_words(answer).splitlines())
    rows = [(each.name, _range(each), _condition(each)) for each in answer.plan.space]
    yield ""
    yield from table(("DIMENSION", "VALUES", "COUNTS"), rows, "No dimensions.")
    baseline = ", ".join(f"{each.name} = {value_words(each)}" for each in answer.plan.baseline)
    yield safe_line(f"Baseline: {baseline or 'the target as it is'}", _LINE)
    yield f"Hold a run to this plan: --plan-hash {answer.plan_hash}"


def _range(dimension: sweeping_pb2.SearchDimension) -> str:
    match dimension.WhichOneof("kind"):
        case "float_range":
            numbers: Any = dimension.float_range
        case "int_range":
            numbers = dimension.int_range
        case _:
            return " | ".join(choice.label for choice in dimension.choices.choices)
    step = f" step {numbers.step:g}" if numbers.step else ""
    return f"{numbers.low:g}..{numbers.high:g}{' log' * numbers.log}{step}"


def _condition(dimension: sweeping_pb2.SearchDimension) -> str:
    if not dimension.HasField("only_if"):
        return "always"
    return f"if {dimension.only_if.dimension} is {' or '.join(dimension.only_if.labels)}"


def _started(answer: sweep_pb2.StartSweepResponse) -> Iterator[str]:
    run_id = answer.sweep.run_id
    yield f"{'Started' if answer.started else 'Already there:'} {run_id}. Follow it with: whet sweep watch {run_id}"


def _sweep(answer: Any) -> Iterator[str]:
    """A sweep as it stands: its verdict first, else how far it is."""
    sweep: sweep_pb2.Sweep = answer.sweep
    simulated = " Simulated." if sweep.plan.simulated or sweep.result.simulated else ""
    title = f": {sweep.title}" if sweep.title else ""
    yield safe_line(f"{sweep.run_id} {enum_word(sweep, 'state')}{title}.{simulated}", _LINE)
    progress = event_pb2.SweepProgress()
    progress.CopyFrom(sweep.progress)
    if sweep.state != event_pb2.RUN_STATE_RUNNING:
        for name in ("phase", "running", "money_left", "time_left", "expected_left"):
            progress.ClearField(name)  # of what is over nothing is left
    yield safe_line(progress_line(sweep.plan, progress), _LINE)
    if sweep.failure.message:
        yield safe_line(sweep.failure.message, _LINE)
    trials = {each.number: each for each in (sweep.baseline, sweep.best) if each.state}
    if sweep.HasField("result"):
        yield ""
        yield from result_words(sweep.result, trials)
    else:
        yield from (safe_line(trial_words(trials[number]), _LINE) for number in sorted(trials))
    yield ""
    yield from _estimates(sweep)
    for each in sweep.controls:
        yield safe_line(f"Control: {controlled_words(each)}", _LINE)
    if sweep.child_run_ids:
        yield f"Followed by: {', '.join(sweep.child_run_ids)}"


def _estimates(sweep: sweep_pb2.Sweep) -> Iterator[str]:
    """What was estimated beside what it came to."""
    plan, took = sweep.plan, "under way" if sweep.state == event_pb2.RUN_STATE_RUNNING else ""
    if sweep.HasField("end_time"):
        took = _lasted(sweep.end_time.ToNanoseconds() - sweep.create_time.ToNanoseconds())
    calls = f"{sweep.totals.attempts} made, {sweep.totals.cache_hits} from the cache"
    rows = [
        (
            "cost",
            f"{dollars(plan.expected_cost.nanos)}, at worst {dollars(plan.worst_cost.nanos)}",
            totals_word(sweep.totals),
        ),
        ("calls", f"at most {plan.calls}", calls),
        ("time", _lasted(plan.expected_duration.ToNanoseconds()), took),
    ]
    yield from table(("", "ESTIMATE", "ACTUAL"), rows, "")


def _lasted(nanoseconds: int) -> str:
    seconds = nanoseconds / _NANOS
    return f"{seconds:.1f} s" if seconds < _SECONDS else time_words(round(seconds))


def result_words(result: sweeping_pb2.SweepResult, trials: Mapping[int, sweeping_pb2.Trial]) -> Iterator[str]:
    """Say what a sweep found, without the marks of Markdown."""
    for line in result_lines(result, trials):
        yield safe_line(line.replace("**", ""), 2 * _LINE) if line else ""


def _sweeps(answer: sweep_pb2.ListSweepsResponse) -> Iterator[str]:
    rows = [
        (
            each.run_id,
            enum_word(each, "state"),
            time_word(each.create_time),
            f"{each.progress.ended} of {each.plan.trials}",
            f"{each.progress.best_value:.3g} (trial {each.progress.best})" if each.progress.HasField("best") else "–",
            VERDICTS.get(each.result.verdict, "–").lower(),
            totals_word(each.totals),
        )
        for each in answer.sweeps
    ]
    headers = ("SWEEP", "STATE", "STARTED (UTC)", "TRIALS", "BEST", "VERDICT", "COST")
    lines = table(headers, rows, "No sweeps.")
    yield next(lines)
    for each, line in zip(answer.sweeps, lines, strict=True):
        yield line
        yield f"  {safe_line(each.title + ' (simulated)' * each.plan.simulated, _LINE)}"
    yield from more(answer)


def _trials(answer: trial_pb2.ListTrialsResponse) -> Iterator[str]:
    names = list(dict.fromkeys(each.name for trial in answer.trials for each in trial.parameters))
    headers = ("TRIAL", "STATE", "SCORE", "TO BASELINE", "COST/CASE", "TIME/CASE", "CASES", *names)
    yield from table(headers, [_trial(each, names) for each in answer.trials], "No trials are like that.")
    for each in answer.trials:
        if why := each.failure.message or each.reason:
            yield safe_line(f"{each.number}: {why}", _LINE)
    if len(answer.trials) < answer.count:
        yield f"{answer.count} trials in all."
    yield from more(answer)


def _trial(trial: sweeping_pb2.Trial, names: list[str]) -> Row:
    settings = {each.name: value_words(each) for each in trial.parameters}
    marks = "*" * trial.front + " (baseline)" * (trial.number == 0)
    return (
        f"{trial.number}{marks}",
        enum_word(trial, "state"),
        estimate(trial.quality),
        signed(trial.lift) if trial.number else "",
        dollars(round(trial.cost * _NANOS)) if trial.HasField("cost") else "–",
        f"{trial.latency.ToNanoseconds() / _NANOS:.2f} s" if trial.HasField("latency") else "–",
        f"{trial.scored_cases} of {trial.cases}",
        *(settings.get(name, "–") for name in names),
    )


def _cases(answer: trial_pb2.ListCasesResponse) -> Iterator[str]:
    if not answer.cases:
        yield "No cases are like that."
    yield from (safe_line(trial_words(each), _LINE) for each in answer.trials)
    for case in answer.cases:
        wanted = f" (reference: {case.item.reference})" if case.item.reference else ""
        yield ""
        yield safe_line(f"{case.item.item_id}: {safe_line(case.item.input, _TEXT)}{wanted}", _LINE)
        for cell in case.cells:
            yield from (f"  trial {cell.number:<4} {_answer(each)}" for each in cell.answers)
            if not cell.answers:
                yield f"  trial {cell.number:<4} no answer"
    yield from more(answer)


def _answer(answer: sweeping_pb2.TrialCase) -> str:
    outcome = short_enum_name(judging_pb2.Outcome.DESCRIPTOR, answer.outcome).replace("_", " ")
    score = f"{answer.score:.2f}" if answer.HasField("score") else outcome
    return f"{score:<9} {safe_line(answer.output or answer.failure.message, _TEXT)}".rstrip()


def _file(answer: Any) -> Iterator[str]:
    """A file's content as it is, but for what a terminal could obey: `--out` writes every letter."""
    yield safe(answer.content.rstrip("\n"))


def _hooks(answer: hook_pb2.ListHooksResponse) -> Iterator[str]:
    kinds = event_pb2.RunKind.DESCRIPTOR
    rows = [
        (
            each.name,
            each.url,
            ", ".join(short_enum_name(kinds, kind) for kind in each.kinds) or "sweep",
            "secret" if each.has_secret else "",
            time_word(each.create_time),
        )
        for each in answer.hooks
    ]
    yield from table(("WEBHOOK", "ADDRESS", "TELLS OF", "", "MADE (UTC)"), rows, "No webhooks.")


def _put_hook(answer: hook_pb2.PutHookResponse) -> Iterator[str]:
    yield from details(answer.hook, "")
    if answer.secret:
        yield f"secret: {safe(answer.secret)}"
        yield "The secret is shown this once. Whoever receives the requests checks their signature with it."


def _deliveries(answer: hook_pb2.ListDeliveriesResponse) -> Iterator[str]:
    rows = [_delivery(each) for each in answer.deliveries]
    headers = ("DELIVERY", "WEBHOOK", "RUN", "STATE", "ATTEMPTS", "LAST", "CAME UP (UTC)")
    yield from table(headers, rows, "No deliveries.")
    yield from more(answer)


def _delivery(delivery: hook_pb2.Delivery) -> Row:
    last = delivery.attempts[-1] if delivery.attempts else hook_pb2.DeliveryAttempt()
    what = " ".join(filter(None, (str(last.status) if last.status else "", last.error)))
    where = (delivery.delivery_id, delivery.hook, delivery.run_id or "test", enum_word(delivery, "state"))
    return (*where, str(len(delivery.attempts)), what, time_word(delivery.create_time))


def _tested(answer: hook_pb2.TestHookResponse) -> Iterator[str]:
    yield from table(
        ("DELIVERY", "WEBHOOK", "RUN", "STATE", "ATTEMPTS", "LAST", "CAME UP (UTC)"), [_delivery(answer.delivery)], ""
    )


SHOWN: Final[Mapping[type[Message], Callable[[Any], Iterator[str]]]] = {
    sweep_pb2.PlanSweepResponse: _plan,
    sweep_pb2.StartSweepResponse: _started,
    sweep_pb2.GetSweepResponse: _sweep,
    sweep_pb2.ControlSweepResponse: _sweep,
    sweep_pb2.ListSweepsResponse: _sweeps,
    sweep_pb2.ExportSweepResponse: _file,
    sweep_pb2.ReportSweepResponse: _file,
    trial_pb2.ListTrialsResponse: _trials,
    trial_pb2.ListCasesResponse: _cases,
    hook_pb2.ListHooksResponse: _hooks,
    hook_pb2.PutHookResponse: _put_hook,
    hook_pb2.ListDeliveriesResponse: _deliveries,
    hook_pb2.TestHookResponse: _tested,
}
"""Answers with a form of their own."""
