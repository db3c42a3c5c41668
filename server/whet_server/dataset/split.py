"""Where a row belongs. Its place depends on its own group and the salt alone: others that come do not move it."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from whet_server.dataset.seal import canonical, row_digest
from whet_server.dataset.spec import DEFAULT_SHARES, Column, RowFields, Split, SplitPolicy
from whet_server.errors import InvalidField

_RANGE: Final = 2.0**64
_ORDER: Final = (Split.TRAIN, Split.DEV, Split.HOLDOUT)


def filled(policy: SplitPolicy, name: str, key: str) -> SplitPolicy:
    """Return the policy with everything said, so that later versions inherit exactly this one."""
    shares = (policy.train, policy.dev, policy.holdout)
    train, dev, holdout = shares if any(shares) else DEFAULT_SHARES
    return replace(policy, train=train, dev=dev, holdout=holdout, group=policy.group or key, salt=policy.salt or name)


def check_policy(policy: SplitPolicy, columns: Iterable[Column]) -> None:
    """Raise `InvalidField` for a policy that names no column of these."""
    there = [column.name for column in columns]
    wrong = [
        (f"policy.{field}", f"There is no column {wanted!r}. There are: {', '.join(there)}.")
        for field in ("group", "column")
        if (wanted := getattr(policy, field)) and wanted not in there
    ]
    if wrong:
        raise InvalidField(*wrong)


def place(policy: SplitPolicy, fields: RowFields) -> Split | None:
    """Return the row's split; None when its column names none."""
    if policy.column:
        word = fields.get(policy.column)
        return Split(word) if word in _ORDER else None
    value = fields.get(policy.group) if policy.group else None
    return by_share(policy, row_digest(fields) if value is None else value)


def by_share(policy: SplitPolicy, group: Any) -> Split:
    """Return the split of a group: SHA-256 of salt and value, as a number from 0 to 1, among the shares."""
    digest = hashlib.sha256(policy.salt.encode() + b"\0" + canonical(group)).digest()
    at = int.from_bytes(digest[:8]) / _RANGE * (policy.train + policy.dev + policy.holdout)
    if at < policy.train:
        return Split.TRAIN
    # The last share takes what rounding leaves, unless it is empty.
    if at < policy.train + policy.dev or not policy.holdout:
        return Split.DEV if policy.dev else Split.TRAIN
    return Split.HOLDOUT
