"""How the API server is reached: a service account in a pod, a kubeconfig elsewhere.

kopf's own public readers are used, so that its watches and our requests agree by construction.
"""

from __future__ import annotations

from pathlib import Path

import kopf

TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def connection_info() -> kopf.ConnectionInfo:
    """Return address and credentials of the API server, read anew.

    Raises
    ------
    kopf.LoginError
        Neither a service account nor a kubeconfig is there.
    """
    settings = kopf.OperatorSettings()
    info = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.LoginError(
            "no way to the API server: not in a pod with a service account token, and no kubeconfig; "
            "set KUBECONFIG to a file with a current context"
        )
    return info


def rotates() -> bool:
    """Whether the kubelet rewrites the token from time to time, so that it must be read again."""
    return TOKEN_FILE.exists()
