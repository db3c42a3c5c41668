import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from whet_server.hook.post import _CheckedResolver, _why, post
from whet_server.hook.spec import NotPostedError
from whet_server.llm.address import may_answer


@pytest.mark.parametrize(
    ("address", "near", "over_https"),
    [
        ("127.0.0.1", True, True),
        ("10.1.2.3", True, True),
        ("::1", True, True),
        ("8.8.8.8", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),  # noqa: S104 -- nothing listens on it
        ("no address", False, False),
    ],
)
def test_what_a_name_may_stand_for(address: str, *, near: bool, over_https: bool) -> None:
    assert may_answer(address, near=True) is near
    assert may_answer(address, near=False) is over_https


class _Names(AbstractResolver):
    """Gives every name these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def looked_up(name: str, *addresses: str, near: bool) -> list[str]:
    return [each["host"] for each in await _CheckedResolver(_Names(*addresses), near=near).resolve(name)]


async def test_a_name_leads_only_where_something_may_be_sent_to() -> None:
    assert await looked_up("hooks.example", "8.8.8.8", "169.254.169.254", near=False) == ["8.8.8.8"]
    assert await looked_up("box.local", "8.8.8.8", "192.168.1.2", near=True) == ["192.168.1.2"]


async def test_a_name_that_was_pointed_elsewhere_after_it_was_checked_leads_nowhere() -> None:
    with pytest.raises(OSError, match="stands for an address that nothing is sent to") as caught:
        await looked_up("hooks.example", "169.254.169.254", near=False)
    assert _why(caught.value) == "its name stands for an address that nothing is sent to"
    with pytest.raises(OSError, match="nothing is sent to"):
        await looked_up("box.local", "8.8.8.8", near=True)


async def test_a_name_nobody_knows_is_said_in_words() -> None:
    with pytest.raises(NotPostedError, match=r"^The address cannot be reached: "):
        await post("https://nobody.invalid/", {}, b"", seconds=20)
