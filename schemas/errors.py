"""What can go wrong with a request, a moment, or a job. The docstring is the default message."""

from typing import ClassVar


class RosterHubError(Exception):
    """RosterHub could not do what was asked."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_server_error"

    def __init__(self, message: str = "", **facts: object) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.facts = facts
        super().__init__(self.message)


class Rejected(RosterHubError):
    """The request can never be accepted as it is; retrying is useless."""

    status = 422
    code = "invaliddata"


class BadRequest(RosterHubError):
    """The request is malformed."""

    status = 400
    code = "invaliddata"


class Unauthorised(RosterHubError):
    """A valid key is needed: Authorization: Bearer <key>."""

    status = 401
    code = "unauthorisedrequest"


class OAuthRefused(RosterHubError):
    """The token endpoint refuses in the words of RFC 6749 (section 5.2), which are its codes."""

    status = 400
    code = "invalid_request"


class Forbidden(RosterHubError):
    """The key may not do that."""

    status = 403
    code = "forbidden"


class Missing(RosterHubError):
    """There is no record with this identifier."""

    status = 404
    code = "unknownobject"


class Conflict(RosterHubError):
    """Something with this name exists already."""

    status = 409
    code = "conflict"


class Gone(RosterHubError):
    """It was there once and is deleted."""

    status = 410
    code = "gone"


class LengthRequired(RosterHubError):
    """An upload announces its length: send Content-Length, not a chunked body."""

    status = 411
    code = "length_required"


class Outdated(RosterHubError):
    """It has changed since it was read: read it again."""

    status = 412
    code = "precondition_failed"


class TooLarge(RosterHubError):
    """The body is larger than this hub accepts."""

    status = 413
    code = "too_large"


class Unavailable(RosterHubError):
    """A service we depend on did not answer; trying again may help."""

    status = 429
    code = "server_busy"


class TooLongAddress(RosterHubError):
    """The query of the address is longer than this hub accepts."""

    status = 414
    code = "uri_too_long"


class TooLargeHeaders(RosterHubError):
    """The headers are larger than this hub accepts."""

    status = 431
    code = "headers_too_large"


class RateLimited(RosterHubError):
    """Too many requests in one minute: come back after the seconds in Retry-After."""

    status = 429
    code = "rate_limited"

    def __init__(self, retry_after: int = 60) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after=retry_after)
