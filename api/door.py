"""The door: nobody reaches a guarded resource without a credential that may, from where it may.

In this order: who asks, whether they may from there, whether not too often, whether they may this.
"""

from typing import cast

from falcon.asgi import Request, Response

from api.addresses import Address, Addresses, within
from api.caller import Guarded, permit
from api.credentials import Credentials, Identified
from api.rates import Rates, Wanted
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
        found = await self._credentials.identify(req)
        req.context.caller = found.caller
        admit(found, address)
        limit = found.rate_limit or self._rate_limit
        await self._rates.spend(req, resp, Wanted(found.counted_as, limit))
        permit(found.caller, needs)


def admit(found: Identified, address: Address | None) -> None:
    """Refuse who asks from elsewhere, or from nobody knows where."""
    if found.networks and (address is None or not within(address, found.networks)):
        raise NotFromHere


class NotFromHere(Forbidden):
    """The client may not ask from this address."""
