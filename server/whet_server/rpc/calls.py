"""The call being answered: who makes it and under which id. Set once by the interceptors, read by servicers and logs.

Tasks that a call starts inherit it, so a run's own log lines carry the ids of the call that started it.
"""

from contextvars import ContextVar
from typing import Final

from whet_server.values import Principal, Value


class Call(Value):
    """One RPC under way. `request_id` is the one in the metadata, for logs; requests that change something have
    their own in the message.
    """

    method: str
    """As `whet.v1.FanoutService/RunFanout`."""
    request_id: str
    principal: Principal | None = None


_CALL: Final[ContextVar[Call | None]] = ContextVar("whet_call", default=None)
_RUN: Final[ContextVar[str]] = ContextVar("whet_run", default="")


def enter(call: Call) -> None:
    """Make `call` the one being answered in this task."""
    _CALL.set(call)


def enter_run(run_id: str) -> None:
    """Name the run that this task works for, for logs."""
    _RUN.set(run_id)


def current() -> Call | None:
    """Return the call being answered, or None outside of one."""
    return _CALL.get()


def current_run() -> str:
    """Return the run that this task works for, or an empty string."""
    return _RUN.get()


def principal() -> Principal:
    """Return who calls. Only for methods behind the identity interceptor."""
    call = _CALL.get()
    if call is None or call.principal is None:
        raise LookupError("no identified call is being answered here")
    return call.principal
