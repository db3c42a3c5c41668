"""RubricService: unpack, call, pack."""

from typing import Final

from msgspec import structs

from whet.v1 import rubric_pb2, rubric_pb2_grpc
from whet_server.judge.rubric import Rubric
from whet_server.judge.rubrics import Rubrics
from whet_server.rpc import calls
from whet_server.rpc.changing import Changing
from whet_server.rpc.convert.mirror import message_of
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Turn

_PUT: Final = "whet.v1.RubricService/PutRubric"


class RubricServicer(rubric_pb2_grpc.RubricServiceServicer):
    """The rubrics of the workspace that calls."""

    def __init__(self, rubrics: Rubrics, changing: Changing) -> None:
        self._rubrics = rubrics
        self._changing = changing

    async def PutRubric(self, request: rubric_pb2.PutRubricRequest, context: Context) -> rubric_pb2.PutRubricResponse:
        workspace = calls.principal().workspace

        async def put(turn: Turn) -> tuple[Rubric, bool]:
            return await self._rubrics.put(
                workspace,
                request.name,
                request.text,
                also=lambda kept, new: turn.record(f"{kept.name}@{kept.version} {new:d}"),
            )

        async def again(answer: str) -> tuple[Rubric, bool]:
            kept, _, new = answer.partition(" ")
            return await self._rubrics.get(workspace, kept), new == "1"

        rubric, created = await self._changing.once(_PUT, request, put, again)
        return rubric_pb2.PutRubricResponse(rubric=message_of(rubric, rubric_pb2.Rubric), created=created)

    async def GetRubric(self, request: rubric_pb2.GetRubricRequest, context: Context) -> rubric_pb2.GetRubricResponse:
        name = f"{request.name}@{request.version}" if request.version else request.name
        rubric = await self._rubrics.get(calls.principal().workspace, name)
        return rubric_pb2.GetRubricResponse(rubric=message_of(rubric, rubric_pb2.Rubric))

    async def ListRubrics(
        self, request: rubric_pb2.ListRubricsRequest, context: Context
    ) -> rubric_pb2.ListRubricsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "rubrics", workspace, request.name)
        if request.name:
            found = await self._rubrics.versions(workspace, request.name)
            left = [rubric for rubric in found if page.before is None or rubric.version < int(page.before)]
            shown, token = page.cut(left, lambda rubric: str(rubric.version))
        else:
            found = await self._rubrics.newest(workspace)
            left = [rubric for rubric in found if page.before is None or rubric.name > page.before]
            shown, token = page.cut(left, lambda rubric: rubric.name)
        bare = [structs.replace(rubric, text="") for rubric in shown]
        return rubric_pb2.ListRubricsResponse(
            rubrics=[message_of(rubric, rubric_pb2.Rubric) for rubric in bare], next_page_token=token
        )
