"""What to search when somebody only says what they want: a sweep, and why each of its parts is as it is.

Code decides, from the data set and the prices; whoever thinks words it. The same wish and the same facts give the same
sweep, word for word, and every decision comes with its ground.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final, Literal, TypeAlias

from whet_agent.arguments import money_nanos
from whet_agent.json_object import JsonObject
from whet_agent.results import dollars

Goal: TypeAlias = Literal["better", "cheaper", "faster"]
Part: TypeAlias = Literal["prompt", "examples", "temperature", "model"]

STAGE: Final = "answer"
"""The name of the one stage of a proposed pipeline."""
MOST_LABELS: Final = 12
"""More different references than this are no labels; a list of them would be longer than the question."""
LONGEST_LABEL: Final = 40
"""Characters. What is longer is an answer in words."""
CASES_OF_A_LABEL: Final = 3
"""A label comes again: so many cases for each at least."""
MOST_MODELS: Final = 4
"""Each more model multiplies the space."""
HELD: Final = 0.02
"""How much worse counts as no worse: two points of the score."""
EXAMPLES: Final = 4
"""The most solved cases before the question; they are tried by twos."""
TEMPERATURE_STEP: Final = 0.25
"""Finer steps are beyond what so few cases can tell apart."""
TRIALS: Final = ((60, 20), (400, 30))
"""Trials for a space of up to so many combinations; `MOST_TRIALS` for a greater one."""
MOST_TRIALS: Final = 50
FEW_CASES: Final = 30
"""Below this only a large difference can be seen."""
INPUTS: Final = ("input", "text", "question", "message", "prompt")
"""Columns that are asked, the likeliest first."""
REFERENCES: Final = ("reference", "label", "answer", "category", "expected", "target")
"""Columns with right answers, the likeliest first."""
FOLLOWING: Final = 3
"""Sweeps that may follow a proposed one, each of them proposed, planned and decided like the first."""
_TOKENS_AROUND_A_LABEL: Final = 12
"""Room for a word too many and a full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model that could be asked. `price`: nanos for a million tokens in and as many out; None: not known."""

    name: str
    price: int | None = None
    simulated: bool = False
    in_panel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the data set and the models. Nothing: neither could be read."""

    version: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    """Rows of each split."""
    sealed: bool = False
    columns: Sequence[str] = ()
    input: str = ""
    """The column that is asked."""
    reference: str = ""
    """The column with what a right answer says."""
    references: Sequence[str] = ()
    """What right answers say, of the rows that were looked at."""
    models: Sequence[KnownModel] = ()
    """The workspace's, those of the panel first and in its order."""
    read: bool = False
    """The data set could be read."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The few answers there are, if the data set is one of classes."""
        found = tuple(sorted(set(self.references)))
        few = 1 < len(found) <= min(MOST_LABELS, len(self.references) // CASES_OF_A_LABEL)
        short = all(len(label) <= LONGEST_LABEL and "{" not in label and "\n" not in label for label in found)
        return found if few and short else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody has said. What is empty was not said."""

    dataset: str
    goal: Goal = "better"
    parts: frozenset[Part] = frozenset()
    """What may change."""
    version: int = 0
    limit: int = 0
    prompt: str = ""
    """The prompt as it is."""
    models: tuple[str, ...] = ()
    bigger: bool = False
    """Whether dearer models are worth their money is the question."""
    scorers: tuple[str, ...] = ()
    rubric: str = ""
    money: str = ""
    trials: int = 0
    seconds: float = 0.0
    sampler: str = ""
    final: bool = False
    """A final figure on the sealed hold-out is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A sweep with its grounds, one sentence each, or what stands against it."""

    spec: JsonObject = field(default_factory=dict)
    grounds: tuple[str, ...] = ()
    against: str = ""


def propose(wish: Wish, facts: Facts) -> Proposal:
    """Return the sweep that answers a wish."""
    if against := _against(wish, facts):
        return Proposal(against=against)
    grounds: list[str] = []
    models = _models(wish, facts, grounds)
    variants = _variants(wish, facts)
    space = _space(wish, facts, models, variants, grounds)
    if not space:
        return Proposal(
            against="There is nothing to choose from: one prompt, one model. Name models, or what may change."
        )
    stage: JsonObject = {"name": STAGE, "template": variants[0][1]}
    if models:
        stage["model"] = models[0].name
    if facts.labels:
        tokens = max(map(len, facts.labels)) // 2 + _TOKENS_AROUND_A_LABEL
        stage["parameters"] = {"max_tokens": tokens}
        grounds.append(f"An answer is a label, so {tokens} tokens are enough for one, and bound what a call can cost.")
    spec: JsonObject = {
        "pipeline": {"stages": [stage]},
        "space": space,
        "dataset": _dataset(wish, facts),
        "racing": {"method": "paired"},
        "chain": {"depth": FOLLOWING},
    }
    free = bool(models) and all(model.price == 0 for model in models)
    if free and wish.goal == "cheaper":
        grounds.append(
            "These models are free, so nothing can be cheaper: name one with a price, or ask for a faster one."
        )
    spec |= _measure(wish, facts, grounds) | _search(wish, space, grounds, free=free) | _holdout(wish, facts, grounds)
    return Proposal(spec=spec, grounds=tuple(grounds))


def _against(wish: Wish, facts: Facts) -> str:
    if not facts.read:
        return ""
    if not facts.splits.get("dev"):
        named = f"`/split_dataset {wish.dataset} --train 0.4 --dev 0.4 --holdout 0.2`"
        return f"{wish.dataset} has no rows in the split dev, on which trials are compared: {named} makes one."
    if not facts.input:
        return (
            f"Which column of {wish.dataset} is asked? None is called `input`. There are: {', '.join(facts.columns)}."
        )
    if not facts.references and not (wish.rubric or wish.scorers):
        return (
            f"{wish.dataset} has no column `reference` to score against: name a rubric or a scorer, and say it again."
        )
    return ""


def _models(wish: Wish, facts: Facts, grounds: list[str]) -> list[KnownModel]:
    """Return the models to choose from, the one that is asked today first. None: whatever the server's panel begins
    with.
    """
    known = {model.name: model for model in facts.models}
    if wish.models:
        return [known.get(name, KnownModel(name=name)) for name in wish.models]
    panel = [model for model in facts.models if model.in_panel]
    if not panel:
        grounds.append("The model is the first of the panel, of which no prices are known.")
        return []
    now = panel[0]
    others = [model for model in facts.models if model.name != now.name and model.simulated == now.simulated]
    if "model" not in parts_of(wish):
        grounds.append(f"The model stays {now.name}, the first of the panel: another one was not asked for.")
        return [now]
    if now.price is not None and (wish.goal == "cheaper" or wish.bigger):
        dearer = wish.bigger
        others = [each for each in others if each.price is not None and _is(each.price, now.price, dearer=dearer)]
        others.sort(key=lambda each: (each.price or 0, each.name), reverse=dearer)
        kind = "dearer" if dearer else "no dearer"
    else:
        others, kind = [each for each in others if each.in_panel], "of the panel"
    chosen = others[: MOST_MODELS - 1]
    names = ", ".join(each.name for each in chosen)
    found = f"against those {kind}: {names}" if names else f"as there is no other that is {kind}"
    grounds.append(f"Models: {now.name}, which is asked today, {found}.")
    return [now, *chosen]


def _is(price: int, now: int, *, dearer: bool) -> bool:
    return price > now if dearer else price <= now


def parts_of(wish: Wish) -> frozenset[Part]:
    """Return what may change: what was named, else what the goal is about."""
    if wish.parts:
        return wish.parts
    if wish.bigger:
        return frozenset({"model"})
    whole: frozenset[Part] = frozenset({"prompt", "examples", "temperature"})
    return whole | {"model"} if wish.goal != "better" or len(wish.models) > 1 else whole


def _variants(wish: Wish, facts: Facts) -> list[tuple[str, str]]:
    """Return prompts to choose from as label and template, the one of today first."""
    given = wish.prompt.strip()
    if given and "{{" not in given:
        given = f"{given}\n\n{{{{ input }}}}"
    variants = [("as given" if given else "plain", given or "{{ input }}")]
    if facts.labels:
        listed = ", ".join(facts.labels)
        orders = {
            "labels": f"Answer with exactly one of these labels and nothing else: {listed}.",
            "labels, best fit": f"Decide which one of these labels fits best, even when in doubt: {listed}. "
            "Reply with the label alone, spelt as here.",
        }
    else:
        orders = {
            "answer only": "Give only the answer itself, without any explanation.",
            "careful": "Read carefully what is asked, check your answer, then give only the answer itself.",
        }
    return variants + [(label, f"{order}\n\n{variants[0][1]}") for label, order in orders.items()]


def _space(
    wish: Wish, facts: Facts, models: Sequence[KnownModel], variants: Sequence[tuple[str, str]], grounds: list[str]
) -> list[JsonObject]:
    parts, space = parts_of(wish), list[JsonObject]()
    if "prompt" in parts:
        choices = [{"label": label, "text": text} for label, text in variants]
        space.append({"name": f"{STAGE}.template", "choices": {"choices": choices}})
        found = (
            f"its {len(facts.labels)} labels ({', '.join(facts.labels)})" if facts.labels else "no fixed set of labels"
        )
        base = "the prompt you gave" if wish.prompt else "the bare question"
        grounds.append(f"Prompts: {base} and {len(variants) - 1} with instructions, as the data set has {found}.")
    if "examples" in parts and (facts.splits.get("train") or not facts.read):
        counts = {"low": 0, "high": EXAMPLES, "step": 2}
        space.append({"name": f"{STAGE}.examples.count", "int_range": counts})
        rows = f" of {facts.splits['train']} rows" if facts.read else ""
        grounds.append(
            f"Solved examples: 0, 2 or {EXAMPLES}, from the split train{rows}, never from the cases themselves."
        )
    elif "examples" in parts:
        grounds.append("No solved examples: the data set has no rows in the split train.")
    if "temperature" in parts:
        warm = {"low": 0.0, "high": 1.0, "step": TEMPERATURE_STEP}
        space.append({"name": f"{STAGE}.temperature", "float_range": warm})
        grounds.append(f"Temperature: 0 to 1 by {TEMPERATURE_STEP}, finer than that so few cases cannot tell apart.")
    if len(models) > 1:
        space.append({"name": f"{STAGE}.model", "choices": {"choices": [{"label": each.name} for each in models]}})
    return space


def _dataset(wish: Wish, facts: Facts) -> JsonObject:
    ref: JsonObject = {"name": wish.dataset, "split": "dev"}
    version = wish.version or facts.version
    ref |= {"version": version} if version else {}
    for role, column in (("input", facts.input), ("reference", facts.reference)):
        ref |= {role: column} if column and column != role else {}
    return ref | ({"limit": wish.limit} if wish.limit else {})


def _measure(wish: Wish, facts: Facts, grounds: list[str]) -> JsonObject:
    """Return the objectives and what scores an answer."""
    measure: JsonObject = {}
    if wish.rubric:
        measure["judge"] = {"rubric": wish.rubric}
        grounds.append(f"A judge scores by the rubric {wish.rubric}, as you said.")
    if wish.scorers:
        measure["scorers"] = list(wish.scorers)
        grounds.append(f"Scored by {', '.join(wish.scorers)}, as you said.")
    elif not wish.rubric and (facts.labels or not facts.read):
        measure["scorers"] = ["exact"]
        grounds.append("Scored by exact match with the reference, as answers are to be one of few.")
    elif not wish.rubric:
        measure["scorers"] = ["overlap:token_f1"]
        grounds.append("Scored by the words shared with the reference (token F1), as answers are in free words.")
    if wish.goal == "better":
        measure["objectives"] = [{"kind": "quality"}]
        return measure
    kind = "cost" if wish.goal == "cheaper" else "latency"
    measure["objectives"] = [{"kind": kind}, {"kind": "quality", "margin": HELD}]
    grounds.append(
        f"The {kind} of a case is brought down; quality is held: no more than {HELD:g} below the baseline's counts as "
        "no worse."
    )
    return measure


def _search(wish: Wish, space: Sequence[JsonObject], grounds: list[str], *, free: bool) -> JsonObject:
    """Return the sampler and the budget."""
    size = prod(map(_values, space))
    trials = wish.trials or next((enough for most, enough in TRIALS if size <= most), MOST_TRIALS)
    kind = wish.sampler or ("grid" if size <= trials else "tpe")
    why = {
        "grid": f"all {size} combinations are tried, as there are no more than that",
        "tpe": f"TPE chooses {trials} of {size:,} combinations, each by what the ones before it showed",
    }
    said = f"{kind.replace('_', '-')} over {size:,} combinations, as you said"
    grounds.append(f"Search: {said if wish.sampler else why[kind]}; a paired test stops bad trials early.")
    budget: JsonObject = {"trials": min(trials, size)}
    if wish.money:
        budget["money"] = wish.money
        grounds.append(
            f"It may spend {dollars(money_nanos(wish.money, 'money'))} at most and stops before it would cross that."
        )
    elif not free:
        grounds.append("You named no sum: the worst cost of the plan below is the most that it can come to.")
    if wish.seconds:
        budget["time"] = wish.seconds
    return {"sampler": {"kind": kind}, "budget": budget}


def _values(dimension: JsonObject) -> int:
    if "choices" in dimension:
        return len(dimension["choices"]["choices"])
    range_: Mapping[str, float] = dimension.get("int_range") or dimension["float_range"]
    return round((range_["high"] - range_["low"]) / range_["step"]) + 1


def _holdout(wish: Wish, facts: Facts, grounds: list[str]) -> JsonObject:
    cases = min(wish.limit or facts.splits.get("dev", 0), facts.splits.get("dev", 0))
    if facts.read and cases < FEW_CASES:
        grounds.append(f"Only {cases} cases: a small difference cannot be told from chance.")
    if wish.final and facts.sealed:
        grounds.append("The final figure is read off the sealed hold-out at the end: once and for good.")
        return {"holdout": True}
    if wish.final and facts.read:
        grounds.append("No final figure: the data set has no hold-out under seal.")
    elif facts.sealed:
        grounds.append("The sealed hold-out stays closed, as no final figure was asked for.")
    return {}
