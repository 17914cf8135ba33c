"""Requests to an API server by the official client: as the user that the kubeconfig names, and on raw JSON.

The client knows how to get there (exec plugins, OIDC, proxies, certificates). Its models are not used: they
refuse what a newer server answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config
from kubernetes.config import new_client_from_config as client_from_kubeconfig
from urllib3.exceptions import HTTPError, ReadTimeoutError
from yaml import YAMLError

from ftjob.client.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    JobInvalid,
    NoSuchJob,
    NotFound,
    NotServed,
    Refused,
)
from ftjob.models.manifest import mapping
from ftjob.models.names import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

PAGE = 500
"""Objects of a list in one answer."""
SECONDS = 30.0
"""For how long an answer is waited for."""
SILENCE_SECONDS = 60.0
"""After so long without a word a log is asked for anew: nobody says so where a connection is lost."""
CONNECTIONS = 64
"""That are kept: more than there are logs at a time."""
CHUNK = 1 << 16
IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
MERGE_PATCH = "application/merge-patch+json"
Body = dict[str, Any]
Query = Mapping[str, str | int]


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Query
    body: Body | None = None
    content_type: str = "application/json"
    seconds: float = SECONDS
    """For how long there may be silence."""


@dataclass(frozen=True)
class Cluster:
    """An API server, and the namespace that is meant where none is named."""

    api: ApiClient
    namespace: str

    @property
    def server(self) -> str:
        """Its address."""
        return str(self.api.configuration.host)

    def get(self, path: str, **query: str | int) -> Body:
        """Return what stands at a path."""
        return self._answer("GET", path, query)

    def items(self, path: str, *, pages: int = 0, **query: str | int) -> list[Body]:
        """Return the objects of a list.

        Parameters
        ----------
        pages
            How many pages of it at most; 0: all.
        """
        return self.items_as_of(path, pages=pages, **query)[0]

    def items_as_of(self, path: str, *, pages: int = 0, **query: str | int) -> tuple[list[Body], str]:
        """Return the objects of a list, and the version from which on a watch has all changes."""
        found: list[Body] = []
        query |= {"limit": PAGE}
        while True:
            page = self.get(path, **query)
            found += page.get("items") or []
            meta = mapping(page, "metadata")
            pages -= 1
            if not meta.get("continue") or not pages:
                return found, str(meta.get("resourceVersion") or "")
            query["continue"] = str(meta["continue"])

    def create(self, path: str, body: Body, **query: str | int) -> Body:
        """Create an object and return it as it was stored."""
        return self._answer("POST", path, query, body)

    def patch(self, path: str, body: Body, **query: str | int) -> Body:
        """Change some fields of an object (RFC 7386) and return it as it was stored."""
        return self._answer("PATCH", path, query, body)

    def delete(self, path: str, body: Body | None = None) -> Body:
        """Have an object deleted."""
        return self._answer("DELETE", path, {}, body)

    def watch(self, path: str, *, seconds: int, **query: str | int) -> Iterator[Body]:
        """Yield the events of a watch, until the server ends it or `seconds` have passed.

        Raises
        ------
        ClusterError
            The connection was lost, or the server says that the watch can't go on (410, Expired).
        """
        query |= {"watch": "true", "timeoutSeconds": seconds}
        response = self._send(_Request("GET", path, query, seconds=seconds + SECONDS))
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    raise _refusal(int(event["object"].get("code") or 0), json.dumps(event["object"]), path)
                yield event
        except (HTTPError, OSError, ValueError) as error:
            raise ClusterError(f"{self.server} has ended the watch: {error}; try again") from None
        finally:
            response.close()

    def stream(self, path: str, **query: str | int) -> Iterator[bytes]:
        """Yield the bytes that stand at a path as they come, until the server ends it or is silent for long.

        Raises
        ------
        ClusterError
            The connection was lost.
        """
        response = self._send(_Request("GET", path, query, seconds=SILENCE_SECONDS))
        try:
            yield from response.stream(CHUNK, decode_content=False)
        except ReadTimeoutError:
            return
        except (HTTPError, OSError) as error:
            raise ClusterError(f"{self.server} has ended the log: {_short(error)}") from None
        finally:
            response.close()

    def _answer(self, method: str, path: str, query: Query, body: Body | None = None) -> Body:
        content_type = MERGE_PATCH if method == "PATCH" else "application/json"
        response = self._send(_Request(method, path, query, body, content_type))
        try:
            answer = json.loads(response.read())
        except (HTTPError, OSError, ValueError) as error:
            raise ClusterError(f"{self.server} answers what is no JSON: {error}") from None
        if not isinstance(answer, dict):
            raise ClusterError(f"{self.server} answers no object; is this a Kubernetes API server?")
        return answer

    def _send(self, request: _Request) -> BaseHTTPResponse:
        headers = {"Accept": "application/json, */*", "Content-Type": request.content_type}
        try:
            method, url, headers, body, _ = self.api.param_serialize(
                request.method,
                request.path,
                query_params=list(request.query.items()),
                header_params=headers,
                body=request.body,
                auth_settings=["BearerToken"],
            )
            wait = (SECONDS, request.seconds)
            response: BaseHTTPResponse = self.api.call_api(
                method, url, headers, body, _request_timeout=wait
            ).response
        except (HTTPError, OSError, ApiException, ConfigException) as error:
            raise ClusterError(
                f"{self.server} can't be reached: {_short(error)}; see that the cluster runs and that "
                "`kubectl get --raw /version` answers, or name another by --context"
            ) from None
        if response.status >= 400:
            raise _refusal(response.status, response.read().decode(errors="replace"), request.path)
        return response


def connect(
    namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None
) -> Cluster:
    """Return the cluster that kubectl would talk to, or the one that this process runs in.

    Raises
    ------
    ClusterError
        There is no such file or context, or it can't be read.
    """
    if not (context or kubeconfig or _has_kubeconfig()) and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _within(namespace)
    # Not left to the library, which looks at $KUBECONFIG when it is imported.
    files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    try:
        contexts, active = list_kube_config_contexts(files)  # type: ignore[no-untyped-call]
        chosen = active if context is None else next((c for c in contexts if c["name"] == context), None)
        if chosen is None:
            known = ", ".join(sorted(str(each["name"]) for each in contexts))
            raise ClusterError(f"--context {context}: the kubeconfig has no such context; it has {known}")
        api = client_from_kubeconfig(files, chosen["name"])  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, TypeError, KeyError, ValueError, YAMLError) as error:
        raise ClusterError(
            f"{files}: {_short(error)}; name a kubeconfig by --kubeconfig or in $KUBECONFIG"
        ) from None
    return Cluster(
        _with_connections(api), namespace or chosen.get("context", {}).get("namespace") or "default"
    )


def _has_kubeconfig() -> bool:
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path)


def _within(namespace: str | None) -> Cluster:
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        own = IN_CLUSTER.read_text().strip()
    except (ConfigException, OSError) as error:
        raise ClusterError(f"no kubeconfig, and this pod has no service account: {error}") from None
    return Cluster(_with_connections(ApiClient(configuration)), namespace or own)


def _with_connections(api: ApiClient) -> ApiClient:
    """Let it keep as many connections as there are logs: the library warns of each that it throws away."""
    api.rest_client.pool_manager.connection_pool_kw["maxsize"] = CONNECTIONS
    return api


def _lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(CHUNK, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _short(error: BaseException) -> str:
    """Return the innermost cause in one line: what lies around it are this library's retries."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _short(reason)
    text = str(error).rpartition(">: ")[2] or str(error)
    return text.splitlines()[0] if text else type(error).__name__


def _refusal(code: int, text: str, path: str) -> Exception:
    """Return what an answer other than 2xx means to a user, in the server's own words."""
    try:
        status = json.loads(text)
        said = str(status.get("message") or text)
    except (ValueError, AttributeError):
        said = text
    said = said.strip() or f"code {code}"
    if code == 404:
        return _absent(said, path)
    if code in _KINDS:
        kind, remedy = _KINDS[code]
        return kind(f"{said}; {remedy}" if remedy else said)
    return ClusterError(f"the API server answers {code}: {said}")


def _absent(said: str, path: str) -> ClusterError:
    name = path.rpartition("/")[2]
    if said.startswith("namespaces "):
        return ClusterError(f"{said}; name another by -n, or have it made: kubectl create namespace")
    if f'"{name}" not found' in said:
        return NoSuchJob(f"{said}; `ftjob list` shows what there is") if _is_ours(path) else NotFound(said)
    if _is_ours(path):
        return NotServed(f"{said}: the cluster has no ftjob; install it, or name another by --context")
    return NotServed(f"{said}: the cluster does not serve {path}")


def _is_ours(path: str) -> bool:
    return path.startswith(f"/apis/{GROUP}/")


_KINDS: Mapping[int, tuple[type[Exception], str]] = {
    400: (JobInvalid, ""),
    401: (Refused, "the cluster doesn't know you: renew your login or its token"),
    403: (Forbidden, "ask whoever runs the cluster for a role such as `edit` there"),
    409: (Conflict, ""),
    422: (JobInvalid, ""),
}
