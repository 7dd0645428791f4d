"""`/api/v1/origins`: the web sites whose pages may ask about a district (`api/cors.py`)."""

import re
from typing import Annotated

from falcon.asgi import Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.bodies import read_json
from api.caller import SETTINGS, caller_of
from api.cors import SQL
from api.database import Database
from api.form import send
from api.openapi import answers
from api.openapi.described import described

ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
MOST = 100


def origin(text: str) -> str:
    """An origin as browsers send it: scheme, host, and a port that is not the usual one."""
    if not ORIGIN.fullmatch(text):
        raise ValueError("must be an origin such as https://lms.example.jp, without a path")
    return text


class Listed(BaseModel):
    """The origins of a district."""

    model_config = ConfigDict(extra="forbid")

    origins: list[Annotated[str, AfterValidator(origin)]] = Field(max_length=MOST)


class Origins:
    """`/api/v1/origins`."""

    needs = SETTINGS

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.OriginsShown)
    async def on_get(self, req: Request, resp: Response) -> None:
        """All of them."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["of_district"], [caller_of(req).tenant])
            rows = await cursor.fetchall()
        send(resp, {"origins": [row["origin"] for row in rows]})

    @described(answers.OriginsShown, body=Listed)
    async def on_put(self, req: Request, resp: Response) -> None:
        """These and no others, from the next request on."""
        listed = await read_json(req, Listed, self._json_max)
        tenant_id, origins = caller_of(req).tenant, sorted({*listed.origins})
        async with self._database.control() as connection:
            # Two who put a list at the same time take turns, or one would meet the other's rows.
            await connection.execute(SQL["take_turns"], [tenant_id])
            await connection.execute(SQL["clear"], [tenant_id])
            await connection.execute(SQL["put"], [tenant_id, origins])
        send(resp, {"origins": origins})
