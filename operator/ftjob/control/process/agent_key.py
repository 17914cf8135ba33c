"""The key of this installation, from which every job's token is derived."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from ftjob.kube.errors import ConflictError, NotFoundError
from ftjob.kube.resources import SECRET
from ftjob.models.names import MANAGED_BY

if TYPE_CHECKING:
    from ftjob.kube.client import Kube

NAME = "ftjob-agent-key"
FIELD = "key"
BYTES = 32


async def agent_key(kube: Kube, namespace: str) -> bytes:
    """Return the key; create it if there is none. All operators get the same, whichever creates it.

    Raises
    ------
    ValueError
        The Secret is there, but holds no key.
    """
    try:
        secret = await kube.get(SECRET, namespace, NAME)
    except NotFoundError:
        try:
            secret = await kube.create(_manifest(namespace))
        except ConflictError:
            secret = await kube.get(SECRET, namespace, NAME)
    key = base64.b64decode((secret.get("data") or {}).get(FIELD) or "")
    if len(key) < BYTES:
        raise ValueError(
            f"Secret {namespace}/{NAME} holds no `{FIELD}` of {BYTES} bytes; delete it to get a new one"
        )
    return key


def _manifest(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {"name": NAME, "namespace": namespace, "labels": MANAGED_BY},
        "type": "Opaque",
        "data": {FIELD: base64.b64encode(secrets.token_bytes(BYTES)).decode()},
    }
