"""The token of a job: derived, so that no one has to read Secrets."""

from __future__ import annotations

import hashlib
import hmac


def job_token(key: bytes, uid: str) -> str:
    """Return the token that a job's agents and the operator share.

    Derived from the installation's key and the job's UID (HMAC-SHA256, RFC 2104), so that the operator
    needs no right to read Secrets in users' namespaces, and a restarted operator knows it again.
    """
    return hmac.new(key, uid.encode(), hashlib.sha256).hexdigest()
