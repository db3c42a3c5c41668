import os
from datetime import timedelta
from pathlib import Path

import pytest

from whet_server.datadir import DataDir
from whet_server.errors import RoleNotAllowed, TokenExpired, Unauthenticated
from whet_server.rpc.identity import ALLOWED, SERVICES, Tokens, authorise, bearer, check_allowed, digest_of
from whet_server.values import Principal, Role, Workspace

MINE = Workspace("mine")
METHODS = [f"{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]


@pytest.fixture
def directory(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path)


def tokens_of(directory: DataDir, now: int = 0) -> Tokens:
    return Tokens(directory.tokens, clock=lambda: now)


def test_a_token_names_its_workspace_and_role(directory: DataDir) -> None:
    token = directory.create_token(MINE, Role.AGENT)
    assert tokens_of(directory).principal(token) == Principal(workspace=MINE, role=Role.AGENT)


def test_a_token_made_while_the_server_runs_is_known_at_once(directory: DataDir) -> None:
    directory.create_token(MINE, Role.PERSON)
    tokens = tokens_of(directory)
    with pytest.raises(Unauthenticated):
        tokens.principal("whet_other")
    token = directory.create_token(MINE, Role.PERSON)
    assert tokens.principal(token).role is Role.PERSON


def test_an_expired_token_is_told_when_it_ended(directory: DataDir) -> None:
    token = directory.create_token(MINE, Role.PERSON, timedelta(days=1))
    with pytest.raises(TokenExpired) as caught:
        tokens_of(directory, now=2**62).principal(token)
    assert caught.value.metadata["expired_at"].endswith("Z")


def test_a_file_that_breaks_while_the_server_runs_locks_nobody_out(directory: DataDir) -> None:
    token = directory.create_token(MINE, Role.PERSON)
    tokens = tokens_of(directory)
    assert tokens.principal(token).workspace == MINE
    directory.tokens.write_text("[{")
    os.utime(directory.tokens, ns=(1, 1))
    assert tokens.principal(token).workspace == MINE


def test_the_file_holds_digests_and_no_token(directory: DataDir) -> None:
    token = directory.create_token(MINE, Role.PERSON)
    text = directory.tokens.read_text()
    assert token not in text
    assert digest_of(token) in text
    assert directory.tokens.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "metadata", [[], [("authorization", "Basic abc")], [("authorization", "Bearer ")], [("authorization-bin", b"x")]]
)
def test_a_call_without_a_bearer_token_is_told_how_to_send_one(metadata: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(Unauthenticated, match="authorization: Bearer"):
        bearer(metadata)


def test_every_method_has_its_roles_written_down() -> None:
    check_allowed(METHODS)
    with pytest.raises(LookupError, match="NewService/New"):
        check_allowed([*METHODS, "whet.v1.NewService/New"])
    with pytest.raises(LookupError, match="DecideApproval"):
        check_allowed(method for method in METHODS if not method.endswith("DecideApproval"))


def test_an_agent_may_not_decide_an_approval() -> None:
    with pytest.raises(RoleNotAllowed) as caught:
        authorise(Principal(workspace=MINE, role=Role.AGENT), "whet.v1.ApprovalService/DecideApproval")
    assert caught.value.metadata == {"role": "agent", "method": "whet.v1.ApprovalService/DecideApproval"}
    authorise(Principal(workspace=MINE, role=Role.PERSON), "whet.v1.ApprovalService/DecideApproval")


def test_a_method_nobody_knows_is_for_nobody() -> None:
    assert "whet.v1.NewService/New" not in ALLOWED
    with pytest.raises(RoleNotAllowed):
        authorise(Principal(workspace=MINE, role=Role.PERSON), "whet.v1.NewService/New")
