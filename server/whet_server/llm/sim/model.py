"""What the name of a simulated model says: a preset and settings, like a path and its query."""

import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from whet_server.errors import InvalidField, ModelNotFound
from whet_server.ledger.ledger import Price
from whet_server.llm.sim.classify import Classifier
from whet_server.llm.sim.judge import Bias, Manner
from whet_server.values import Value

PREFIX: Final = "sim/"
JUDGE: Final = "judge"
"""The preset that judges; the settings of a judge are for it alone."""
CLASSIFY: Final = "classify"
"""The preset that classifies, with settings of its own too."""
_HOUR_MS: Final = 3_600_000
_MOST_TOKENS: Final = 20_000
"""An answer as long as a short book: longer ones would only fill memory."""
_MOST_RATE: Final = 1_000_000
"""Tokens a second at which the clock, not the rate, decides."""
_MOST_PRICE: Final = 1_000_000_000_000_000
"""A million dollars for a million tokens."""
_MOST_TEXT: Final = 4_000
_MOST_COUNT: Final = 1_000_000


class Fault(StrEnum):
    """What goes wrong. The first group answers with an error status, the second breaks off an answer."""

    UNREACHABLE = "unreachable"
    CONNECT_HANG = "connect_hang"
    RATE_LIMITED = "rate_limited"
    RATE_LIMITED_RETRY_AFTER = "rate_limited_retry_after"
    QUOTA_EXHAUSTED = "quota_exhausted"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    KEY_REFUSED = "key_refused"
    REQUEST_REFUSED = "request_refused"

    CUT = "cut"
    HANG = "hang"
    SLOW_DRIP = "slow_drip"
    GARBAGE = "garbage"
    EMPTY = "empty"
    CONTENT_FILTERED = "content_filtered"


class Stance(StrEnum):
    """How an answer stands to those of the other simulated models."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"


class SimModel(Value):
    """One simulated model. Times are in milliseconds, `rate` is in tokens a second, prices are in nanos of a US dollar
    for a million tokens. `times` None: every call is faulted.
    """

    name: str
    preset: str
    first_ms: int = 200
    rate: int = 100
    tokens: int = 80
    seed: int = 0
    text: str = ""
    stance: Stance = Stance.AGREES
    fault: Fault | None = None
    times: int | None = None
    every: int = 0
    after: int = 0
    retry_after_ms: int = 1000
    usage_reported: bool = True
    price_in: int = 0
    price_out: int = 0
    manner: Manner | None = None
    """How it judges; None for what is no judge."""
    classifier: Classifier | None = None
    """How it classifies; None for what is no classifier."""

    def faulted(self, call: int) -> Fault | None:
        """The fault of call number `call` (from 0) under this name, None where it works."""
        place = call % self.every if self.every else call
        return self.fault if self.times is None or place < self.times else None


class Preset(Value):
    """A named model to start from."""

    name: str
    description: str
    query: str = ""


class Setting(Value):
    """A setting that a name may carry."""

    name: str
    description: str


_PRESETS: Final = (
    Preset(name="any", description="Answers in a fifth of a second at 100 tokens a second; a blank to set things on."),
    Preset(name="fast", description="Answers almost at once, 400 tokens a second.", query="first_ms=40&rate=400"),
    Preset(name="steady", description="Half a second to the first token, 60 a second.", query="first_ms=500&rate=60"),
    Preset(name="slow", description="Five seconds to the first token, 20 a second.", query="first_ms=5000&rate=20"),
    Preset(name="long", description="A long answer of 600 tokens, 150 a second.", query="tokens=600&rate=150"),
    Preset(name="terse", description="One or two sentences.", query="first_ms=100&tokens=24"),
    Preset(
        name="contrarian",
        description="Contradicts in one point what the other simulated models say.",
        query="first_ms=300&rate=80&stance=contradicts",
    ),
    Preset(
        name="flaky",
        description="Every other call fails with a server error, so that a retry gets through.",
        query="fault=server_error&times=1&every=2",
    ),
    Preset(
        name="limited",
        description="Every other call is answered 429 with a wait of half a second.",
        query="fault=rate_limited_retry_after&times=1&every=2&retry_after_ms=500",
    ),
    Preset(name="broken", description="Breaks every answer off after 12 tokens.", query="fault=cut&after=12"),
    Preset(name="silent", description="Takes the question and never answers.", query="fault=hang"),
    Preset(
        name="costly",
        description="Like any, at 5 dollars a million tokens read and 25 written: for trying out caps.",
        query="price_in=5000000000&price_out=25000000000",
    ),
    Preset(
        name=JUDGE,
        description="Judges by what an answer says; noise, a bias and garbage can be set.",
        query="first_ms=100&rate=2000",
    ),
    Preset(
        name=CLASSIFY,
        description="Gives a label, and is right as often as its settings plant it.",
        query="first_ms=20&rate=2000",
    ),
)
_BY_NAME: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _PRESETS}


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text[:20]) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _number(high: int) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= high:
            raise ValueError(f"must be a number from 0 to {high}")
        return number

    return read


def _choice(kind: type[StrEnum]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in set(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return text

    return read


def _usage(text: str) -> bool:
    if text not in {"reported", "missing"}:
        raise ValueError("must be reported or missing")
    return text == "reported"


def _labels(text: str) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in text.split(","))
    if len(labels) < 2 or not all(labels) or len({label.lower() for label in labels}) < len(labels):
        raise ValueError("must be two or more different labels, joined by commas")
    return labels


def _text(text: str) -> str:
    if not text.strip() or len(text) > _MOST_TEXT:
        raise ValueError(f"must be a text of at most {_MOST_TEXT} characters")
    return text


_SETTINGS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "first_ms": (_integer(0, _HOUR_MS), "milliseconds to the first token"),
    "rate": (_integer(1, _MOST_RATE), "tokens a second"),
    "tokens": (_integer(1, _MOST_TOKENS), "the most tokens of the answer, which ends with a whole sentence"),
    "seed": (_integer(0, 2**63 - 1), "another seed, another answer"),
    "text": (_text, "this very text as the answer"),
    "stance": (_choice(Stance), f"how it stands to the other simulated models: {', '.join(Stance)}"),
    "fault": (_choice(Fault), f"what goes wrong: {', '.join(Fault)}"),
    "times": (_integer(1, _MOST_COUNT), "how many calls under this name are faulted before it works; not set: all"),
    "every": (_integer(1, _MOST_COUNT), "count the calls of `times` anew after so many"),
    "after": (_integer(0, _MOST_TOKENS), "how many tokens come before the fault"),
    "retry_after_ms": (_integer(0, _HOUR_MS), "the wait that rate_limited_retry_after asks for"),
    "usage": (_usage, "whether the tokens are reported: reported, missing"),
    "price_in": (_integer(0, _MOST_PRICE), "nanos of a US dollar for a million tokens of the request"),
    "price_out": (_integer(0, _MOST_PRICE), "nanos of a US dollar for a million tokens of the answer"),
}
_JUDGES: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "noise": (_number(1), "how far a judge strays from one request to the next, as a share of its scale"),
    "bias": (_choice(Bias), f"what a judge is biased by: {', '.join(Bias)}"),
    "strength": (_number(1), "how much of a judge's scale its bias is worth; 0.5 unless said"),
    "garbage": (_number(1), "the share of a judge's answers that are no verdict"),
    "abstain": (_number(1), "the share of a judge's answers that abstain"),
    "refuse": (_number(1), "the share of a judge's answers that refuse"),
}
"""What only a judge's name may carry."""
_CLASSIFIERS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "labels": (_labels, "the labels that a classifier gives, joined by commas; yes and no unless said"),
    "skill": (_number(1), "how often a classifier is right; 0.7 unless said"),
    "cue": (_text, "words in the prompt that make a classifier better"),
    "lift": (_number(1), "how much better the cue makes it; 0.2 unless said"),
    "cool": (_number(2), "the highest temperature at which a classifier follows its cue; 2 unless said"),
    "heat": (_number(1), "how much worse a degree of temperature makes a classifier"),
    "shot": (_number(1), "how much better each of up to four solved cases makes a classifier"),
    "luck": (_number(1), "the share of a classifier's answers that are as good by chance; 0.2 unless said"),
}
"""What only a classifier's name may carry."""
_OWN: Final = {JUDGE: ("manner", _JUDGES), CLASSIFY: ("classifier", _CLASSIFIERS)}
"""Presets with settings of their own, and the field of the model that those make."""
_FIELDS: Final[Mapping[str, str]] = {"usage": "usage_reported"}


def parse(model: str) -> SimModel:
    """Return what `model` says, such as `sim/slow?seed=7`; the `sim/` may be left out.

    Raises `ModelNotFound` for an unknown preset, `InvalidField` for a setting that is unknown, given twice or absurd.
    """
    name = model.removeprefix(PREFIX)
    preset_name, mark, query = name.partition("?")
    preset = _BY_NAME.get(preset_name)
    if preset is None:
        raise ModelNotFound(
            f"There is no simulated model {preset_name[:60]!r}. There are: {', '.join(_BY_NAME)}; settings follow"
            " after a question mark, as in sim/slow?first_ms=5000.",
            metadata={"model": model[:200]},
        )
    given = _read(preset.query, preset_name) | (_read(query, preset_name) if mark else {})
    said: dict[str, object] = {"name": name, "preset": preset_name, "seed": zlib.crc32(preset_name.encode())}
    if preset_name in _OWN:
        field, own = _OWN[preset_name]
        said[field] = {name: given.pop(name) for name in own if name in given}
    return msgspec.convert(said | given, SimModel)


def price(model: str) -> Price:
    """Return the price that the name says. Raises what `parse` raises."""
    sim = parse(model)
    return Price(input=sim.price_in, output=sim.price_out, source="sim")


def presets() -> tuple[Preset, ...]:
    """Return the presets; `sim/` and a preset's name is a model."""
    return _PRESETS


def settings() -> tuple[Setting, ...]:
    """Return the settings that may follow after the question mark."""
    return tuple(
        Setting(name=name, description=description)
        for name, (_, description) in {**_SETTINGS, **_JUDGES, **_CLASSIFIERS}.items()
    )


def _read(query: str, preset: str) -> dict[str, object]:
    known = {**_SETTINGS, **(_OWN[preset][1] if preset in _OWN else {})}
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=len(known))
    except ValueError:
        raise InvalidField(("model", "settings are written as name=value, joined by &")) from None
    found: dict[str, object] = {}
    for name, text in pairs:
        if name not in known:
            raise InvalidField(
                ("model", f"the simulated model {preset} has no setting {name[:60]!r}; there are {', '.join(known)}")
            )
        field = _FIELDS.get(name, name)
        if field in found:
            raise InvalidField(("model", f"the setting {name} is given twice"))
        reader, _ = known[name]
        try:
            found[field] = reader(text)
        except ValueError as wrong:
            raise InvalidField(("model", f"the setting {name} {wrong}")) from None
    return found
