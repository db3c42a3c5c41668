"""Pages of lists. A token names the last item that was given and is bound to the list it came from."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from whet.v1 import value_pb2
from whet_server.errors import InvalidField
from whet_server.values import Value

DEFAULT_SIZE: Final = 50
"""As the contract says: what fits a screen."""
MAX_SIZE: Final = 500
"""As the contract says: the largest page that is still one quick answer."""
_BOUND: Final = 8

ItemT = TypeVar("ItemT")


class PageOf(Value):
    """Which part of a list is wanted: `size` items before the id `before`. Read one more to know whether there is
    another page.
    """

    size: int
    before: str | None
    scope: bytes

    @property
    def limit(self) -> int:
        return self.size + 1

    def cut(self, items: Sequence[ItemT], id_of: Callable[[ItemT], str]) -> tuple[Sequence[ItemT], str]:
        """Return the page and the token of the next one, empty when there is none."""
        if len(items) <= self.size:
            return items, ""
        last = id_of(items[self.size - 1])
        return items[: self.size], base64.urlsafe_b64encode(self.scope + last.encode()).decode().rstrip("=")


def page_of(page: value_pb2.Page, *scope: object) -> PageOf:
    """Unpack a page. `scope` is everything else that decides what is listed: a token from another list is refused."""
    bound = hashlib.sha256(repr(scope).encode()).digest()[:_BOUND]
    size = min(page.size or DEFAULT_SIZE, MAX_SIZE)
    if not page.token:
        return PageOf(size=size, before=None, scope=bound)
    try:
        raw = base64.urlsafe_b64decode(page.token + "=" * (-len(page.token) % 4))
        before = raw[_BOUND:].decode()
    except (binascii.Error, ValueError):
        raw, before = b"", ""
    if raw[:_BOUND] != bound or not before:
        raise InvalidField(
            ("page.token", "This is no token of this list. Give the next_page_token of the previous answer, or none.")
        )
    return PageOf(size=size, before=before, scope=bound)
