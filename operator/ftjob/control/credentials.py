"""Address and credentials of the API server: a service account in a pod, a kubeconfig elsewhere.

kopf's own public readers are used, so that its watches and our requests agree by construction.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import kopf

if TYPE_CHECKING:
    from collections.abc import Mapping


def connection_info() -> kopf.ConnectionInfo:
    """Return address and credentials of the API server, read anew.

    Raises
    ------
    kopf.LoginError
        Neither a service account nor a kubeconfig is there.
    """
    settings = kopf.OperatorSettings()
    in_pod = kopf.login_with_service_account(settings=settings)
    if in_pod is not None:
        return replace(in_pod, server=_server(os.environ) or in_pod.server)
    info = kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.LoginError(
            "no way to the API server: not in a pod with a service account token, and no kubeconfig; "
            "set KUBECONFIG to a file with a current context"
        )
    return info


def _server(environ: Mapping[str, str]) -> str | None:
    """Return the API server by the address that the kubelet puts into each container, as client-go takes it.

    kopf would ask the cluster's DNS, without which a restarted operator would then get nowhere.

    Notes
    -----
    https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return None
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
