"""Which answers the cache may hold, in memory."""

from whet_server.store.base import CachedAnswer, RemoveCached
from whet_server.values import Workspace


class CachedKeys:
    """The keys of all cached answers and when they expire, so that a miss, which every new call begins with, costs no
    query. A key too many only costs the query; keys are therefore followed as writes are submitted.
    """

    def __init__(self) -> None:
        self._expiry: dict[Workspace, dict[bytes, int]] = {}

    def has(self, workspace: Workspace, key: bytes) -> bool:
        return key in self._expiry.get(workspace, ())

    def add(self, workspace: Workspace, key: bytes, expire_ns: int) -> None:
        self._expiry.setdefault(workspace, {})[key] = expire_ns

    def follow(self, write: CachedAnswer | RemoveCached) -> None:
        if isinstance(write, CachedAnswer):
            self.add(write.workspace, write.key, write.expire_ns)
            return
        for workspace in [write.workspace] if write.workspace is not None else list(self._expiry):
            keys = self._expiry.pop(workspace, {})
            if write.expired_before_ns is not None:
                left = {key: expire_ns for key, expire_ns in keys.items() if expire_ns >= write.expired_before_ns}
                self._expiry[workspace] = left
