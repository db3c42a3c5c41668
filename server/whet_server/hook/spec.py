"""Webhooks and their deliveries as they are kept; `proto/whet/v1/hook.proto` documents each field under its name."""

from enum import StrEnum
from typing import Final

from whet_server.values import RunId, RunKind, Value, Workspace

MOST_ATTEMPTS: Final = 3
"""As the contract says."""


class NotPostedError(Exception):
    """No status came back from an address; `str()` says why."""


class Hook(Value):
    """A webhook of a workspace. Its secret is sealed for its name and its address's origin."""

    name: str
    url: str
    workspace: Workspace
    kinds: tuple[RunKind, ...] = (RunKind.SWEEP,)
    sealed_secret: bytes = b""
    secret_by: str = ""
    """The request id of the call for which the server made the secret: repeated, it gets the same answer."""
    create_ns: int = 0


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryAttempt(Value):
    """`status` is 0 when no answer came; `error` is empty when all went well."""

    start_ns: int
    latency_ns: int = 0
    status: int = 0
    error: str = ""


class Delivery(Value):
    """What a webhook is told of a run's end; without a run it is a test."""

    delivery_id: str
    hook: str
    workspace: Workspace
    run_id: RunId | None = None
    state: DeliveryState = DeliveryState.WAITING
    attempts: tuple[DeliveryAttempt, ...] = ()
    create_ns: int = 0
