"""The command with which a person grants what the server asked for. Light: the command line's exits need it too."""


def decide_command(approval_id: str, digest: str, *, program: str = "whet") -> str:
    """Return the command; `program` is `whet` with the options that lead to the same server."""
    return f"{program} approval decide --approval-id {approval_id} --decision grant --digest {digest}"
