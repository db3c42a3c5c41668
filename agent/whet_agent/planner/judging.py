"""Sentences about judges, scorers, calibration and data sets.

As everywhere in the planner a wrong guess must not spend or change anything. A sentence is an order when, its names
taken out, every word that is left is one of ours, and the concepts of these words are exactly those of one form. What
is ours and is not that clear is asked about. Everything else is left to the rest of the planner.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonObject
from whet_agent.planner.commands import usage_of
from whet_agent.planner.lexicon import Lexicon, ask_back
from whet_agent.planner.named import Named, names_in
from whet_agent.planner.plan import RUNS_OF, Call, Plan, Say, Situation
from whet_agent.planner.words import NEGATIONS

_CONCEPTS: Final[Mapping[str, str]] = {
    "AGREE": "agree agrees agreement",
    "ANSWERS": "answer answers result results response responses candidates outputs texts text",
    "AUDIT": "audit audits auditing",
    "BEHIND": "background bg wait waiting",
    "BIAS": "bias biases biased fair unfair",
    "CALIBRATE": "calibrate recalibrate calibrating",
    "CALIBRATED": "calibrated stale trusted trustworthy weak",
    "CALIBRATIONS": "calibration calibrations",
    "CANCEL": "cancel stop abort kill end halt",
    "COLUMNS": "column columns schema",
    "COST": "cost costs price pay expensive estimate plan",
    "DATASET": "dataset",
    "DATASETS": "datasets",
    "DIFFER": "disagree disagrees disagreement disagreements differ",
    "EXPORT": "export download dump",
    "FILE": "file files csv jsonl parquet",
    "FIND": "find found finds",
    "GATE": "gate gates pass passes passed bar",
    "HOLDOUT": "holdout",
    "HOW": "how",
    "JUDGE": "judge judges judging judged evaluate evaluating grade grading assess",
    "JUDGEMENT": "judgement judgment",
    "JUDGEMENTS": "judgements judgments",
    "OPEN": "open unlock break",
    "PEOPLE": "people humans human person raters us",
    "PUT": "store import load make create put add save upload change",
    "RATED": "rated",
    "RATINGS": "rating ratings",
    "REFERENCE": "reference references",
    "REMOVE": "remove drop delete",
    "ROWS": "row rows lines examples items",
    "RUBRIC": "rubric",
    "RUBRICS": "rubrics",
    "RUN": "run fanout question",
    "SCORE": "score scores scoring scored",
    "SCORERS": "scorer scorers metric metrics",
    "SEAL": "seal sealed",
    "SHOW": "show list see display view look details get give read",
    "SPLIT": "split splits divide shares",
    "START": "start begin",
    "TAG": "tag tags",
    "UNSEAL": "unseal",
    "WATCH": "watch follow tail",
    "WORTH": "trust reliable",
}
_WEAK: Final = frozenset({"SHOW", "FILLER", "MARK"})
_MORE_FILLERS: Final = (
    "well against between where whose say says there? new version parts part both very then together all my "
    "newest latest same using called into against but until done far finished because also again against me"
)
_STRONG: Final = frozenset(_CONCEPTS.keys()) - frozenset(
    {"AGREE", "ANSWERS", "BEHIND", "CANCEL", "COST", "DIFFER", "EXPORT", "FILE", "FIND", "HOW", "OPEN", "PEOPLE", "PUT"}
    | {"REFERENCE", "REMOVE", "RUN", "SHOW", "START", "WATCH", "WORTH"}
)
"""Concepts of which one must be there: without them a sentence is not about judging."""

_FORMS: Final[Mapping[str, str]] = {
    "judge": "JUDGE ANSWERS? RUN? ROWS? | SCORE ANSWERS? RUN? ROWS? | JUDGE SCORE ANSWERS?",
    "start_judgement": "JUDGE START? BEHIND ANSWERS? RUN? ROWS? | JUDGE START ANSWERS? RUN?"
    " | SCORE START? BEHIND ANSWERS? RUN? ROWS? | START JUDGEMENT BEHIND? ROWS?",
    "plan_judgement": "JUDGE COST HOW? ANSWERS? RUN? ROWS? | SCORE COST HOW? ANSWERS? RUN? | JUDGEMENT COST HOW?",
    "watch_judgement": "WATCH JUDGEMENT? | WATCH AUDIT",
    "get_judgement": "JUDGEMENT? | JUDGE? DIFFER JUDGEMENT? | JUDGEMENT? SCORE | JUDGEMENT? ANSWERS | JUDGEMENT ROWS",
    "list_judgements": "JUDGEMENTS RUN?",
    "cancel_judgement": "CANCEL JUDGEMENT? | CANCEL AUDIT",
    "gate_judgement": "GATE JUDGEMENT?",
    "list_ratings": "RATINGS PEOPLE? | RATED PEOPLE",
    "calibrate": "CALIBRATE JUDGE? JUDGEMENT? | AGREE JUDGE HOW? PEOPLE? JUDGEMENT? RATINGS?",
    "list_calibrations": "CALIBRATIONS JUDGE? | CALIBRATED JUDGE",
    "check_judge": "JUDGE? CALIBRATED | JUDGE GATE | JUDGE WORTH | JUDGE CALIBRATIONS",
    "plan_audit": "AUDIT COST HOW? JUDGE?",
    "audit_judge": "AUDIT JUDGE? BIAS? START? | BIAS JUDGE",
    "get_audit": "AUDIT FIND? | AUDIT ANSWERS",
    "put_rubric": "PUT RUBRIC",
    "get_rubric": "RUBRIC",
    "list_rubrics": "RUBRICS",
    "list_scorers": "SCORERS HOW? | HOW SCORE ANSWERS",
    "score_items": "SCORE HOW? ANSWERS? REFERENCE?",
    "put_dataset": "PUT DATASET? FILE? | FILE DATASET PUT?",
    "get_dataset": "DATASET | COLUMNS | SPLIT | SEAL | HOW ROWS",
    "list_datasets": "DATASETS",
    "list_rows": "ROWS SEAL?",
    "export_dataset": "EXPORT FILE? | PUT FILE",
    "split_dataset": "SPLIT HOLDOUT? | PUT HOLDOUT? | DATASET",
    "tag_dataset": "TAG PUT? REMOVE?",
    "open_seal": "OPEN SEAL HOLDOUT? | UNSEAL HOLDOUT? | OPEN HOLDOUT",
}
"""Which concepts together mean which tool; those with a question mark may be there. A data set or a
rubric that is named is a concept only where nothing else is.
"""

_WORDS: Final = Lexicon(_CONCEPTS, _MORE_FILLERS, _FORMS)
TOOLS: Final = frozenset(_FORMS)

_REF: Final = frozenset({"dataset", "version", "split", "limit"})
_WORK: Final = _REF | {"model", "rubric", "scorer", "fanout", "cap"}
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "judge": _WORK,
    "start_judgement": _WORK,
    "plan_judgement": _WORK,
    "watch_judgement": frozenset({"judgement", "audit"}),
    "get_judgement": frozenset({"judgement"}),
    "cancel_judgement": frozenset({"judgement", "audit"}),
    "gate_judgement": frozenset({"judgement", "bar"}),
    "calibrate": frozenset({"judgement"}),
    "list_calibrations": frozenset({"rubric"}),
    "check_judge": frozenset({"model", "rubric"}),
    "plan_audit": _REF | {"model", "rubric", "axis"},
    "audit_judge": _REF | {"model", "rubric", "axis", "cap"},
    "get_audit": frozenset({"audit"}),
    "put_rubric": frozenset({"rubric", "as", "text"}),
    "get_rubric": frozenset({"rubric", "version"}),
    "list_ratings": frozenset({"rubric"}),
    "score_items": frozenset({"quote", "scorer"}),
    "put_dataset": frozenset({"file", "as", "dataset"}),
    "get_dataset": frozenset({"dataset", "version"}),
    "list_rows": _REF,
    "export_dataset": frozenset({"dataset", "version", "split", "format"}),
    "split_dataset": frozenset({"dataset", "version", "shares", "split"}),
    "tag_dataset": frozenset({"dataset", "version", "tag"}),
    "open_seal": frozenset({"dataset", "version", "reason", "split"}),
}
"""The names that a call has a place for. A sentence with another one means something else."""

_ORDERED: Final = frozenset({"JUDGE", "SCORE", "START", "AUDIT", "CALIBRATE", "PUT", "FILE", "SPLIT", "TAG", "REMOVE"})
_ORDERS: Final = _ORDERED | {"OPEN", "UNSEAL", "CANCEL"}
"""What a sentence that orders begins with."""
_POLITE: Final = re.compile(
    r"^(?:(?:please|pls|can you|could you|would you|i want (?:you )?to|i'd like to|let's|now|and)[, ]+)+", re.IGNORECASE
)
_POINTS: Final = re.compile(r"\b(?:that|this|the|last|latest|it|its|my)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[\w'’-]+|[^\w\s]")
_OF_THE_WORLD: Final = re.compile(
    r"what (?:is|are|does|do) an? |how (?:do|does|should|would) (?:i|you|we|one|people)\b|(?:why|who|explain|define)\b",
    re.IGNORECASE,
)


def read(text: str, situation: Situation, tools: Mapping[str, Tool]) -> Plan | None:
    """Return what a sentence about judging asks for; None for one that is not about it, or not surely."""
    bare = _POLITE.sub("", text.strip())
    named = names_in(bare, known=situation.names)
    said = [_WORDS.concept(word) for word in _WORD.findall(named.rest)]
    concepts, sure_of = frozenset(concept for concept in said if concept) - _WEAK, frozenset[str]()
    for thing in ("DATASET", "RUBRIC"):
        if thing.lower() in named.found and concepts - {thing} and (thing, "PUT" in concepts) != ("RUBRIC", True):
            sure_of |= {thing} & concepts
            concepts -= {thing}
    ours = bool(sure_of or concepts & _STRONG or named.found.keys() & {"judgement", "audit"})
    ours |= ("file" in named.found and "PUT" in concepts) or ("format" in named.found and "EXPORT" in concepts)
    if "fanout" in named.found and not concepts & {"JUDGE", "SCORE"}:
        return None  # it is about a fan-out
    if not ours or "http" in bare or _OF_THE_WORLD.match(named.rest):
        return None
    if foreign := said.count(""):
        sealed = "dataset" in named.found and bool(concepts & {"SEAL", "UNSEAL"})
        sure = len(named.found.keys() & {"judgement", "audit", "model"}) + ("DATASET" in concepts | sure_of or sealed)
        return (
            ask_back(_WORDS.nearest(concepts), tools) if foreign <= sure and (sure_of or concepts & _STRONG) else None
        )
    fitting = [name for name in _FORMS if _fits(name, concepts, named)]
    chosen = _chosen(fitting, said, named)
    if chosen is None:
        return ask_back(fitting or _WORDS.nearest(concepts), tools) if sure_of or concepts & _STRONG else None
    effect = tools[chosen].effect
    if effect != "reads" and not _is_ordered(chosen, said, bare):
        arguments, lacking = _FILLED[chosen](named.found, situation, bare, tools[chosen])
        return ask_back([chosen], tools, "" if lacking else f" {json.dumps(arguments, ensure_ascii=False)}")
    return _call(tools[chosen], named, situation, bare)


def _fits(name: str, concepts: frozenset[str], named: Named) -> bool:
    if not named.found.keys() <= _TAKES.get(name, frozenset()):
        return False
    return _WORDS.fits(name, concepts)


def _chosen(fitting: Sequence[str], said: Sequence[str], named: Named) -> str | None:
    """Return the one tool that is meant. Where a word is both what is done and a thing, the names decide."""
    left = list(fitting)
    found = named.found.keys()
    for one, other, first in (
        ("get_audit", "audit_judge", "audit" in found or not (found & {"model", "dataset"})),
        ("score_items", "judge", "quote" in found),
        ("list_calibrations", "check_judge", "model" not in found),
        ("list_scorers", "score_items", "quote" not in found),
        ("get_dataset", "split_dataset", "shares" not in found and said[:1] != ["SPLIT"]),
        ("put_dataset", "export_dataset", "dataset" not in found),
    ):
        if one in left and other in left:
            left.remove(other if first else one)
    return left[0] if len(left) == 1 else None


def _is_ordered(tool: str, said: Sequence[str], bare: str) -> bool:
    """Whether a call that spends or changes something is plainly asked for: not denied, not wondered about."""
    if NEGATIONS.search(re.sub(r"\b(?:do not|don'?t) wait\b|\bwithout waiting\b", "", bare, flags=re.IGNORECASE)):
        return False
    if tool == "calibrate" and "AGREE" in said:
        return True  # how well a judge agrees is asked, and calibrating is the answer
    first = next((concept for concept in said if concept not in {"FILLER", "MARK"}), "")
    begins = _WORDS.concept(next(iter(_WORD.findall(bare)), ""))
    return first in _ORDERS | {"BEHIND"} and begins in _ORDERS | {"BEHIND"}


def _call(tool: Tool, named: Named, situation: Situation, bare: str) -> Plan:
    arguments, lacking = _FILLED.get(tool.name, _nothing)(named.found, situation, bare, tool)
    if not lacking:
        return Call(tool=tool.name, arguments=arguments)
    return Say(
        text=f"I understand `{tool.name}`, but not {lacking}? Say it in the same sentence, or type {usage_of(tool)}"
    )


_Found = Mapping[str, Any]
_Filled = tuple[JsonObject, str]
"""The arguments, and what is lacking in words."""


def _nothing(_: _Found, __: Situation, ___: str, ____: Tool) -> _Filled:
    return {}, ""


def _dataset_ref(found: _Found) -> JsonObject:
    ref = {"name": found["dataset"]} if "dataset" in found else {}
    ref |= {name: found[name] for name in ("version", "limit") if name in found}
    return ref | ({"split": found["split"][0]} if "split" in found else {})


def _judge_of(found: _Found) -> JsonObject:
    judge: JsonObject = {"models": found["model"]} if "model" in found else {}
    return judge | ({"rubric": found["rubric"]} if "rubric" in found else {})


def _work(found: _Found, situation: Situation, bare: str, _: Tool) -> _Filled:
    spec: JsonObject = {}
    if "dataset" in found:
        spec["dataset"] = _dataset_ref(found)
    elif "fanout" in found:
        spec["fanout_run_id"] = found["fanout"]
    elif situation.last("fan_") and re.search(
        r"\b(?:answers?|results?|responses?|run|fan-?out|question|it|that)\b", bare, re.IGNORECASE
    ):
        spec["fanout_run_id"] = situation.last("fan_")
    else:
        return {}, "what to judge: which data set, or which fan-out"
    if judge := _judge_of(found):
        spec["judge"] = judge
    if "scorer" in found:
        spec["scorers"] = found["scorer"]
    elif re.match(r"score\b", bare, re.IGNORECASE) and not judge:
        return {}, "by which scorer, such as rouge or exact"
    if "cap" in found:
        spec["cap"] = found["cap"]
    return {"spec": spec}, ""


def _audit(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    if "dataset" not in found:
        return {}, "on which data set"
    spec: JsonObject = {"judge": _judge_of(found), "dataset": _dataset_ref(found)}
    if "axis" in found:
        spec["axes"] = list(dict.fromkeys(found["axis"]))
    if "cap" in found:
        spec["cap"] = found["cap"]
    return {"spec": spec}, ""


def _run(found: _Found, situation: Situation, bare: str, tool: Tool) -> _Filled:
    """The run that is named, or the last one of its kind where the sentence points at it."""
    named = found.get("audit") or found.get("judgement")
    run_id = named or (situation.last(*RUNS_OF[tool.name]) if _POINTS.search(bare) else "")
    if not run_id:
        return {}, "which one"
    arguments = {"run_id": run_id}
    if tool.name == "get_judgement" and re.search(r"disagree|differ", bare, re.IGNORECASE):
        arguments["order"] = "disagreement"
    if tool.name == "gate_judgement" and "bar" in found:
        arguments["min_mean"] = found["bar"]
    return arguments, ""


def _checked(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    return ({"judge": _judge_of(found)}, "") if "model" in found else ({}, "which judge: name its model")


def _of_dataset(*fields: str, needs: Mapping[str, str]) -> Callable[[_Found, Situation, str, Tool], _Filled]:
    """Return what fills a call about one data set. `needs` are what must be said, and how it is asked for."""

    def fill(found: _Found, _: Situation, bare: str, tool: Tool) -> _Filled:
        if "dataset" not in found:
            return {}, "which data set"
        for name, words in needs.items():
            if name not in found:
                return {}, words
        values: JsonObject = {"name": found["dataset"]}
        values |= {name: found[name] for name in ("version", "format", "reason") if name in found and name in fields}
        if "split" in fields and "split" in found:
            values["split"] = found["split"][0]
        if "page" in fields and "limit" in found:
            values["page"] = {"size": found["limit"]}
        if "policy" in fields:
            values["policy"] = found["shares"]
        if "tag" in found:
            values["remove" if re.match(r"(?:remove|drop|delete)\b", bare, re.IGNORECASE) else "add"] = [found["tag"]]
        return values, ""

    return fill


def _upload(found: _Found, _: Situation, __: str, tool: Tool) -> _Filled:
    if "file" not in found:
        return {}, "which file"
    stem = re.sub(r"[^a-z0-9._-]+", "-", found["file"].rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()).strip("-._")
    path = next(iter(tool.schema.get("required", ("file",))))
    return {path: found["file"], "name": found.get("dataset") or found.get("as") or stem}, ""


def _put_rubric(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    name = found.get("rubric") or found.get("as")
    if not name or "text" not in found:
        return {}, "which name and which text"
    return {"name": name, "text": found["text"]}, ""


def _rubric(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    if "rubric" not in found:
        return {}, "which rubric"
    return {"name": found["rubric"]} | ({"version": found["version"]} if "version" in found else {}), ""


def _texts(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    quotes = found.get("quote", [])
    if not 1 <= len(quotes) <= 2 or "scorer" not in found:
        return {}, "which text, in quotation marks, and by which scorer"
    item = {"candidates": [quotes[0]]} | ({"reference": quotes[1]} if len(quotes) > 1 else {})
    return {"items": [item], "scorers": found["scorer"]}, ""


def _listed(found: _Found, _: Situation, __: str, ___: Tool) -> _Filled:
    return ({"rubric": found["rubric"]} if "rubric" in found else {}), ""


_FILLED: Final[Mapping[str, Callable[[_Found, Situation, str, Tool], _Filled]]] = {
    "judge": _work,
    "start_judgement": _work,
    "plan_judgement": _work,
    "watch_judgement": _run,
    "get_judgement": _run,
    "cancel_judgement": _run,
    "gate_judgement": _run,
    "calibrate": _run,
    "check_judge": _checked,
    "plan_audit": _audit,
    "audit_judge": _audit,
    "get_audit": _run,
    "list_ratings": _listed,
    "list_calibrations": _listed,
    "put_rubric": _put_rubric,
    "get_rubric": _rubric,
    "score_items": _texts,
    "put_dataset": _upload,
    "get_dataset": _of_dataset("version", needs={}),
    "list_rows": _of_dataset("version", "split", "page", needs={}),
    "export_dataset": _of_dataset("version", "split", "format", needs={}),
    "split_dataset": _of_dataset("version", "policy", needs={"shares": "into which shares, such as 60 20 20"}),
    "tag_dataset": _of_dataset("version", needs={"tag": "which tag"}),
    "open_seal": _of_dataset("version", "reason", needs={"version": "which version", "reason": "why: because ..."}),
}
