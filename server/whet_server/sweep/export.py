"""A trial's configuration as a file that can be used without Whet: JSON, YAML, or lines of NAME=value.

Prompts stand in it in full, with whatever their labels stand for, and beside them what the sweep found: who takes a
configuration over sees with which interval it was better, on what, and whether it was simulated.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from whet_server.errors import TrialNotFound
from whet_server.judging import Estimate
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.places import NO
from whet_server.sweep.resolved import resolved, stands_for
from whet_server.sweep.spec import SweepRecord, SweepSpec
from whet_server.sweep.spec_file import yaml_text
from whet_server.sweeping import Configuration, Objective, ObjectiveKind, SweepResult, Trial
from whet_server.values import NANOSECONDS, Run, Value

_UNITS: Final = {
    ObjectiveKind.QUALITY: "share of 1",
    ObjectiveKind.COST: "US dollars a case",
    ObjectiveKind.LATENCY: "seconds a case",
}
_PREFIX: Final = "WHET_"
"""Of every name in a .env file: a dimension may be called `path`, and whoever sources the file has a PATH already."""
_AS_JSON: Final = "_JSON"
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f'\\$]*")
"""What every reader of .env files takes from single quotes as it stands."""
_ESCAPED: Final = str.maketrans({"'": "\\u0027", "$": "\\u0024", "\x7f": "\\u007f"})
"""As JSON may write them too; the file's readers give them meanings of their own."""


class ExportFormat(StrEnum):
    JSON = "json"
    YAML = "yaml"
    ENV = "env"


class Exported(Value):
    """A configuration as a file."""

    content: str
    file_name: str
    trial: int


def exported(run: Run, fold: SweepFold, number: int | None, file_format: ExportFormat) -> Exported:
    """Export a trial. Raises `TrialNotFound`; without a number, when there is no best one yet."""
    if number is None or number not in fold.trials:
        which = "The sweep has no best trial yet." if number is None else f"The sweep has no trial {number}."
        raise TrialNotFound(f"{which} See its trials with list_trials.", metadata={"run_id": run.run_id})
    document = document_of(run, fold, fold.trials[number])
    write = {ExportFormat.JSON: _json, ExportFormat.YAML: yaml_text, ExportFormat.ENV: _env}[file_format]
    return Exported(content=write(document), file_name=f"{run.run_id}-trial-{number}.{file_format}", trial=number)


def document_of(run: Run, fold: SweepFold, trial: TrialFold) -> dict[str, Any]:
    """Return the configuration with its grounds as plain data: `metadata`, `parameters`, `target`, and `texts` and
    `models` where labels stand for some.
    """
    spec, configuration = fold.record.spec, trial.configuration
    choices = {
        name: stands_for(name, setting, spec.space, trial.texts)
        for name, setting in configuration.items()
        if isinstance(setting, str)
    }
    document = {
        "metadata": _metadata(run, fold, trial),
        "parameters": configuration,
        "texts": {name: choice.text for name, choice in choices.items() if choice.text},
        "models": {name: list(choice.models) for name, choice in choices.items() if choice.models},
        "target": _switched(target_of(resolved(spec, configuration, trial.texts)), configuration),
    }
    return {name: part for name, part in document.items() if part}


def target_of(spec: SweepSpec) -> dict[str, Any]:
    """Return the target as plain data, by the names of the contract; what is at its default is left out."""
    if spec.pipeline is not None:
        return {"stages": [_stage(stage) for stage in msgspec.to_builtins(spec.pipeline.stages)]}
    if spec.fanout is not None:
        fanout: dict[str, Any] = msgspec.to_builtins(spec.fanout)
        kept = ("messages", "branches", "parameters", "enough", "deadline", "synthesis")
        return {name: fanout[name] for name in kept if name in fanout}
    return {"outside": spec.outside.description} if spec.outside is not None else {}


def _switched(target: dict[str, Any], configuration: Configuration) -> dict[str, Any]:
    """Say which stages are off: one hands on what came to it."""
    for stage in target.get("stages", ()):
        if configuration.get(f"{stage['name']}.on") == NO:
            stage["on"] = False
    return target


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in stage.items() if part not in ("", {})}


def _metadata(run: Run, fold: SweepFold, trial: TrialFold) -> dict[str, Any]:
    record, result, end = fold.record, fold.result, trial.end
    winner = result is not None and result.best == trial.number
    found = {
        "run_id": run.run_id,
        "title": run.title,
        "date": day_of(run.end_ns or run.create_ns),
        "trial": trial.number,
        "best_of_sweep": winner,
        "verdict": result.verdict.value if result is not None else "unfinished",
        "finding": result.finding if result is not None else "",
        "lift": _lift(record, result, trial, winner=winner),
        "p_value": result.p_value if result is not None and winner else None,
        "comparisons": result.comparisons if result is not None and winner else None,
        "holdout_lift": _estimate(result.holdout.lift) if result and result.holdout and winner else None,
        **(_standing(end) if end is not None else {}),
        "data": record.plan.origin,
        "seed": record.plan.seed,
        "trials": len(fold.trials),
        "record_digest": digest_of(record),
        "simulated": record.plan.simulated or (end is not None and end.simulated),
    }
    return {name: part for name, part in found.items() if part is not None and part != ""}


def _standing(end: Trial) -> dict[str, Any]:
    return {
        "quality": _estimate(end.quality),
        "cost_per_case_usd": end.cost,
        "latency_per_case_seconds": None if end.latency_ns is None else end.latency_ns / NANOSECONDS,
        "cases": end.cases,
    }


def digest_of(record: SweepRecord) -> str:
    """SHA-256 over everything that was to run, in hexadecimal: equal digests, equal sweeps."""
    return hashlib.sha256(msgspec.json.encode(record, order="deterministic")).hexdigest()


def day_of(nanoseconds: int) -> str:
    """Return a time as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def objective_of(record: SweepRecord) -> Objective:
    """Return the first objective."""
    return next((each for each in record.plan.objectives if each.margin is None), Objective(kind=ObjectiveKind.QUALITY))


def unit_of(objective: Objective) -> str:
    """Return what an objective's values are counted in."""
    return _UNITS[objective.kind or ObjectiveKind.QUALITY]


def _lift(record: SweepRecord, result: SweepResult | None, trial: TrialFold, *, winner: bool) -> dict[str, Any] | None:
    """The difference to the baseline: of the winner as it was concluded, of another trial of the score alone."""
    if winner and result is not None:
        objective = objective_of(record)
        found = _estimate(result.lift)
        return found and found | {"objective": str(objective.kind), "unit": unit_of(objective)}
    found = _estimate(trial.end.lift) if trial.end is not None else None
    return found and found | {"objective": "quality", "unit": _UNITS[ObjectiveKind.QUALITY], "uncorrected": True}


def _estimate(estimate: Estimate) -> dict[str, Any] | None:
    if estimate.value is None:
        return None
    interval = {} if estimate.low is None else {"low": estimate.low, "high": estimate.high, "level": estimate.level}
    return {"value": estimate.value} | interval


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _env(document: dict[str, Any]) -> str:
    """Lines that a shell, python-dotenv and Docker Compose read alike: see docs/sweeps.md for the rules."""
    metadata, target = document["metadata"], document.get("target", {})
    lines = [f"# {_word(name)}: {_one_line(part)}" for name, part in metadata.items()]
    named: dict[str, Any] = {"run_id": metadata["run_id"], "trial": metadata["trial"]}
    named |= document.get("parameters", {}) | {f"{name}.models": m for name, m in document.get("models", {}).items()}
    named |= document.get("texts", {})
    for stage in target.get("stages", ()):
        settings = {name: part for name, part in stage.items() if name in {"template", "system", "model"}}
        settings |= stage.get("parameters", {}) | {f"examples.{n}": p for n, p in stage.get("examples", {}).items()}
        named |= {f"{stage['name']}.{name}": part for name, part in settings.items()}
    if "messages" in target:
        named["messages"] = target["messages"]
    taken: set[str] = set()
    lines += [f"{_named(name, setting, taken)}={_quoted(setting)}" for name, setting in named.items()]
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    return name.replace("_", " ")


def _one_line(part: Any) -> str:
    """A part of the metadata as a comment's words."""
    text = part if isinstance(part, str) else json.dumps(part)
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _named(name: str, setting: Any, taken: set[str]) -> str:
    """The name of a variable, which no other one has; `_JSON` at its end says how its value is written."""
    ending = _AS_JSON if _needs_json(setting) else ""
    bare = _PREFIX + re.sub(r"[^A-Z0-9_]", "_", name.upper())
    numbered = (bare + (f"_{number}" if number > 1 else "") + ending for number in range(1, len(taken) + 2))
    found = next(each for each in numbered if each not in taken)
    taken.add(found)
    return found


def _needs_json(setting: Any) -> bool:
    return not isinstance(setting, int | float) and not (isinstance(setting, str) and _PLAIN.fullmatch(setting))


def _quoted(setting: Any) -> str:
    if isinstance(setting, int | float):
        return f"'{setting}'"
    if not _needs_json(setting):
        return f"'{setting}'"
    written = json.dumps(setting).replace("\\\\", "\\u005c").replace('\\"', "\\u0022")
    return f"'{written.translate(_ESCAPED)}'"
