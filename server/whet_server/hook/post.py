"""One request of a webhook over HTTP: the status that came back, or why none did."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from whet_server.hook.spec import NotPostedError
from whet_server.llm.address import may_answer

_NO_LIMITS: Final = aiohttp.ClientTimeout(total=None)
"""The caller's limit holds for the whole attempt, names and handshakes included."""


async def post(url: str, headers: Mapping[str, str], body: bytes, *, seconds: float) -> int:
    """Send a body and return the status of the answer, of which nothing else is read. Redirects are not followed.
    Raises `NotPostedError`.
    """
    near = url.startswith("http:")
    # A connection of its own: hours lie between two deliveries, and what a name stands for is looked at anew.
    resolver = _CheckedResolver(aiohttp.ThreadedResolver(), near=near)
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, timeout=_NO_LIMITS
            ) as session,
            session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False, skip_auto_headers=("accept",)
            ) as response,
        ):
            response.close()
            return response.status
    except TimeoutError:
        raise NotPostedError(f"No answer came within {seconds:g} seconds.") from None
    except aiohttp.ClientConnectorError as error:
        raise NotPostedError(f"The address cannot be reached: {_why(error.os_error)}.") from None
    except aiohttp.ClientResponseError:
        raise NotPostedError("What answers there does not speak HTTP.") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise NotPostedError("The connection broke before an answer came.") from None


class _CheckedResolver(AbstractResolver):
    """Looks names up and leaves out addresses that nothing may be sent to, so that a name which is pointed elsewhere
    after its webhook was made leads nowhere.
    """

    def __init__(self, inner: AbstractResolver, *, near: bool) -> None:
        self._near = near
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [each for each in found if may_answer(each["host"], near=self._near)]
        if not allowed:
            raise OSError(errno.EACCES, "its name stands for an address that nothing is sent to")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


def _why(error: Any) -> str:
    if error.errno == errno.EACCES and error.strerror:
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno and error.errno > 0 else "its name is not known"
