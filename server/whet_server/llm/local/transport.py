"""The transport of the local model: waits until it is loaded, then leaves the talking to HTTP."""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from whet_server.errors import Reason, failure_of
from whet_server.llm.base import Answer, ProviderFault, Request, Sink, Transport
from whet_server.llm.local.child import Child, ChildFailed
from whet_server.llm.local.host import LocalHost
from whet_server.llm.local.settings import MODEL, LocalModelMissing
from whet_server.values import Failure

_TOO_LONG: Final = re.compile(r"\((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")
"""What llama.cpp says of a prompt that does not fit."""
_DEATH_SECONDS: Final = 1.0
"""A broken connection is noticed before the end of the process is; this long it is waited for."""
_BROKEN: Final = frozenset({Reason.STREAM_CUT.value, Reason.PROVIDER_UNREACHABLE.value})


class LocalTransport:
    """Asks the local model over `http`, the transport for loopback's HTTP."""

    def __init__(self, host: LocalHost, http: Transport) -> None:
        self._host = host
        self._http = http

    async def send(self, request: Request, sink: Sink) -> Answer:
        """Load the model if need be and ask it. Raises `ProviderFault`."""
        if request.model != MODEL:
            raise _fault(Reason.MODEL_NOT_FOUND, f"There is one local model, local/{MODEL}.", transient=False)
        loop = asyncio.get_running_loop()
        end = loop.time() + request.total
        waiting: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(request.total) as waiting, self._host.lease(sink.loading) as child:
                waiting.reschedule(None)  # from here on the HTTP transport keeps the time
                left = max(0.001, end - loop.time())
                asked = msgspec.structs.replace(request, base_url=f"{child.address}/v1", total=left, key=None)
                return await self._ask(asked, sink, child)
        except LocalModelMissing as missing:
            failure = msgspec.structs.replace(failure_of(missing), reason=Reason.LOCAL_MODEL_FAILED.value)
            raise ProviderFault(failure, billed=False) from None
        except ChildFailed as failed:
            raise _fault(Reason.LOCAL_MODEL_FAILED, str(failed), transient=True) from None
        except TimeoutError:
            if waiting is None or not waiting.expired():
                raise
            message = "The local model was not loaded before the call's time was over."
            raise _fault(Reason.TOTAL_TIMEOUT, message, transient=False) from None

    async def models(self, request: Request) -> Sequence[str]:
        """Return the one model's name; nothing is loaded for it."""
        return [MODEL]

    async def _ask(self, request: Request, sink: Sink, child: Child) -> Answer:
        try:
            return await self._http.send(request, sink)
        except ProviderFault as fault:
            raise await _explained(fault, child) from None


async def _explained(fault: ProviderFault, child: Child) -> ProviderFault:
    """Say what is behind a fault that HTTP alone cannot know: the process died, or the prompt does not fit."""
    failure = fault.failure
    if failure.reason in _BROKEN:
        try:
            async with asyncio.timeout(_DEATH_SECONDS):
                await child.ended.wait()
        except TimeoutError:
            return fault
        return _fault(
            Reason.LOCAL_MODEL_FAILED,
            f"The local model's process died{child.last_words()}",
            transient=failure.transient,
        )
    if (sizes := _TOO_LONG.search(failure.message)) is not None:
        said = (
            f"The prompt has {int(sizes[1]):,} tokens; the local model takes {int(sizes[2]):,}, prompt and answer"
            " together. Shorten the prompt or ask a larger model."
        )
        return ProviderFault(msgspec.structs.replace(failure, message=said), billed=False, status=fault.status)
    return fault


def _fault(reason: Reason, message: str, *, transient: bool) -> ProviderFault:
    return ProviderFault(Failure(reason=reason.value, message=message, transient=transient), billed=False)
