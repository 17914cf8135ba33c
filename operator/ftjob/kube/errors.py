"""Errors of requests to the API server, as types."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """The API server did not fulfil a request.

    Parameters
    ----------
    code
        HTTP status; 0 when there was no answer.
    reason
        The ``reason`` of the Status object: ``AlreadyExists``, ``Forbidden``…
    message
        The API server's own words.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}" if code else f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


class UnauthorizedError(ApiError):
    """401: the credentials are missing, wrong or out of date."""


class ForbiddenError(ApiError):
    """403: RBAC, quota or admission says no."""


class NotFoundError(ApiError):
    """404: the object, its namespace or its kind does not exist."""


class ConflictError(ApiError):
    """409: the name is taken, or the object has changed or been replaced since it was read."""


class GoneError(ApiError):
    """410: the resourceVersion or the continue token is too old."""


class InvalidError(ApiError):
    """400 or 422: the object is wrong and stays wrong."""


class UnavailableError(ApiError):
    """429, 5xx or no answer at all; the request may or may not have had an effect."""

    retry_after: float | None = None
    """Seconds that the API server asked to wait."""


_TYPES: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: UnavailableError,
}


def api_error(code: int, status: dict[str, Any]) -> ApiError:
    """Return the error for an answer that is not a success.

    Parameters
    ----------
    code
        HTTP status.
    status
        The body: a Status object (meta/v1), or anything else that a proxy has answered.
    """
    error_type = _TYPES.get(code, UnavailableError if code >= 500 else ApiError)
    return error_type(code, str(status.get("reason") or "Unknown"), str(status.get("message") or ""))
