"""The door: nobody reaches a guarded resource without a credential that may, from where it may.

In this order: who asks, whether they may from there, whether not too often, whether they may this.
"""

from typing import cast

from falcon.asgi import Request, Response

from api.addresses import Address, Addresses, within
from api.caller import DISTRICT, Guarded, permit
from api.credentials import Credentials, Identified, Proven
from api.rates import Left, Rates, Wanted
from api.tokens import Claims
from schemas.errors import Forbidden


class Door:
    """Middleware."""

    def __init__(
        self, credentials: Credentials, addresses: Addresses, rates: Rates, rate_limit: int
    ) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._rates = rates
        self._rate_limit = rate_limit

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """Let what is written behind answers come to its end."""
        await self._credentials.close()
        await self._rates.close()

    async def process_resource(
        self, req: Request, resp: Response, resource: object, _params: object
    ) -> None:
        """Identify the caller, then compare with what the resource needs."""
        address = req.context.address = self._addresses.of(req)
        needs = cast("Guarded", resource).needs
        if needs is None:
            return
        found = await self._known(req)
        req.context.found, req.context.caller = found, found.caller
        admit(found, address)
        await self._rates.spend(req, resp, self._wanted(found))
        permit(found.caller, needs)

    async def _known(self, req: Request) -> Identified:
        """Who asks; raises what was found out about that in front of the door already."""
        if (refused := req.scope.get(REFUSED)) is not None:
            raise cast("Exception", refused)
        credential = self._credentials.presented(req)
        return await self._credentials.identify(credential, req.get_header(DISTRICT))

    async def again(self, by: Proven | Claims, named: str | None) -> Identified:
        """Whoever was let in before, as they are by now."""
        return await self._credentials.identify(by, named)

    async def count(self, found: Identified) -> Left | None:
        """Count a read of theirs, as `Rates.count` does."""
        return await self._rates.count("GET", self._wanted(found))

    def _wanted(self, found: Identified) -> Wanted:
        """What the requests of a caller are counted against."""
        return Wanted(found.counted_as, found.rate_limit or self._rate_limit)


REFUSED = "rosterhub.refused"
"""Of a scope: the error that identifying the caller has ended with."""


def admit(found: Identified, address: Address | None) -> None:
    """Refuse who asks from elsewhere, or from nobody knows where."""
    if found.networks and (address is None or not within(address, found.networks)):
        raise NotFromHere


class NotFromHere(Forbidden):
    """The client may not ask from this address."""
