"""A row's place depends on itself alone."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.dataset.conftest import jsonl

from whet_server.dataset.intake import Before, Prepared, prepared
from whet_server.dataset.spec import DEFAULT_SHARES, Header, Split, SplitPolicy
from whet_server.dataset.split import by_share, filled

GROUPS = st.integers(0, 6)
TABLES = st.lists(st.tuples(GROUPS, st.text("abc", max_size=3)), min_size=2, max_size=25)
SHARES = st.tuples(*[st.floats(0, 10) for _ in Split]).filter(any)


def made(rows: list[tuple[int, str]], policy: SplitPolicy, before: Prepared | None = None) -> Prepared:
    header = Header(name="set", policy=policy, key="id")
    data = jsonl({"id": f"{group}-{at}-{text}", "group": group, "text": text} for at, (group, text) in enumerate(rows))
    if before is None:
        return prepared(header, data, Before())
    follows = Before(newest=before.dataset, holdouts=(before.holdout.written(),))
    return prepared(header, data, follows)


def places(version: Prepared) -> dict[str, Split]:
    return {row.row_id: row.split for row in version.rows}


@given(rows=TABLES, more=TABLES, shares=SHARES, grouped=st.booleans())
@settings(max_examples=30, deadline=None)
def test_rows_stay_where_they_are_when_others_come(
    rows: list[tuple[int, str]], more: list[tuple[int, str]], shares: tuple[float, float, float], *, grouped: bool
) -> None:
    train, dev, holdout = shares
    policy = SplitPolicy(train=train, dev=dev, holdout=holdout, group="group" if grouped else "")
    first = made(rows, policy)
    grown = made([*rows, *more], policy, first)
    assert places(first).items() <= places(grown).items()
    alone = made([*rows, *more], policy)
    assert places(alone) == places(grown), "the version before moves no row"


@given(rows=TABLES, seed=st.integers())
@settings(max_examples=15, deadline=None)
def test_the_order_of_a_file_moves_no_row_and_groups_stay_together(rows: list[tuple[int, str]], seed: int) -> None:
    policy = SplitPolicy(train=1, dev=1, holdout=1, group="group")
    file = [{"id": at, "group": group, "text": text} for at, (group, text) in enumerate(rows)]
    header = Header(name="set", policy=policy, key="id")
    straight = prepared(header, jsonl(file), Before())
    random.Random(seed).shuffle(file)
    shuffled = prepared(header, jsonl(file), Before())
    assert places(straight) == places(shuffled)
    by_group: dict[int, set[Split]] = {}
    for row in straight.rows:
        by_group.setdefault(row.fields["group"], set()).add(row.split)
    assert all(len(splits) == 1 for splits in by_group.values())


def test_shares_are_kept_and_an_empty_one_gets_nothing() -> None:
    policy = filled(SplitPolicy(), "set", "")
    assert (policy.train, policy.dev, policy.holdout) == DEFAULT_SHARES
    counts = Counter(by_share(policy, number) for number in range(20_000))
    for split, share in zip(Split, DEFAULT_SHARES, strict=True):
        assert abs(counts[split] / 20_000 - share) < 0.01
    for split in Split:
        only = SplitPolicy(**{split.value: 3.0}, salt="s")
        assert {by_share(only, number) for number in range(500)} == {split}


def test_another_salt_is_another_split() -> None:
    one, other = (SplitPolicy(train=1, holdout=1, salt=salt) for salt in ("a", "b"))
    assert [by_share(one, number) for number in range(50)] != [by_share(other, number) for number in range(50)]
