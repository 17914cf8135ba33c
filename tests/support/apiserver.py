"""A real API server with its etcd, as processes on the loopback interface; no kubelet, no controllers.

``make setup`` leaves the binaries in the cache. A fixture for the newest supported Kubernetes::

    from support.apiserver import NEWEST, ApiServer, running_api_server

    @pytest.fixture(scope="session")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
        with running_api_server(NEWEST, tmp_path_factory.mktemp("apiserver")) as server:
            yield server
"""

import http.client
import json
import os
import re
import select
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from support.ports import free_port

OLDEST = "v1.32"
NEWEST = "v1.37"
"""The range of Kubernetes that is supported."""

GANGS = (
    "--feature-gates=GenericWorkload=true",
    "--runtime-config=scheduling.k8s.io/v1beta1=true,scheduling.k8s.io/v1alpha3=true",
)
"""Flags by which the newest one serves Kubernetes' own gang scheduling, as in kind-config.yaml."""

TOKEN = "admin-of-a-test"
START_SECONDS = 90

_WRITES_ONLY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Answer:
    """What the API server answered."""

    code: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """The message of a Status; empty for an object."""
        return str(self.body.get("message", ""))


@dataclass(frozen=True)
class Client:
    """Raw requests to the API server."""

    connection: http.client.HTTPSConnection
    token: str

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> Answer:
        """Send a request; ``body`` is data, or bytes that are sent as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        sock = self.connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self.connection.close()  # it was idle for longer than the server keeps one open
        self.connection.request(method, f"{path}?{urlencode(query)}", data, headers)
        response = self.connection.getresponse()
        text = response.read()
        try:
            return Answer(response.status, json.loads(text))
        except (ValueError, RecursionError):
            return Answer(response.status, {"message": text.decode(errors="replace")})


@dataclass(frozen=True)
class ApiServer:
    """A running API server, and the credentials of its administrator (group ``system:masters``)."""

    version: str
    url: str
    token: str
    ca_file: Path
    kubeconfig: Path
    audit_log: Path

    def writes(self, namespace: str) -> list[tuple[str, str]]:
        """Return which objects of a namespace were written so far, by resource and name, in that order.

        Also those writes that changed nothing, as the objects themselves do not show. Only of an audited one.
        """
        found = []
        for line in self.audit_log.read_text().splitlines():
            if f'"namespace":"{namespace}"' in line:
                about = json.loads(line)["objectRef"]
                found.append((about["resource"], about["name"]))
        return found

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this server and return what it said; the caller looks at the exit code."""
        return subprocess.run(
            [binary("kubectl", NEWEST), "--kubeconfig", self.kubeconfig, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            # Discovery is cached here and not in the user's home, where it would outlive the server.
            env={**os.environ, "KUBECACHEDIR": str(self.kubeconfig.parent / "discovery")},
        )

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open one connection for many raw requests."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=60, context=context)
        try:
            yield Client(connection, self.token)
        finally:
            connection.close()


CACHE = Path(
    os.environ.get("FTJOB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftjob"
)


def binary(name: str, version: str) -> Path:
    """Return the newest binary of this name and minor version in the cache."""
    folder = CACHE / "kind" / "bin"
    found = sorted(folder.glob(f"{name}-{version}.*"), key=lambda path: _numbers(path.name))
    if not found:
        raise FileNotFoundError(
            f"no {name}-{version}.* in {folder}: "
            "tests/setup/tools.sh etcd kubectl kube-apiserver kube-apiserver-oldest builds them"
        )
    return found[-1]


@contextmanager
def running_api_server(
    version: str, folder: Path, *flags: str, service_accounts: bool = False, audited: bool = False
) -> Iterator[ApiServer]:
    """Run an API server of a minor version (``v1.32``) until the block ends.

    Parameters
    ----------
    folder
        Where its files are.
    service_accounts
        Whether pods get a service account's token, as in any cluster; a controller must make the accounts.
    audited
        Whether `ApiServer.writes` is wanted; measurements do without its cost.
    """
    certificate, key = _certificate(folder)
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    audit_log = folder / "audit.log"
    client_port, peer_port, port = (free_port() for _ in range(3))
    etcd = f"http://127.0.0.1:{client_port}"
    with ExitStack() as stack:
        stack.enter_context(
            process(
                folder / "etcd.log",
                binary("etcd", "v3.7"),
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                "--unsafe-no-fsync",  # nobody needs the data after a power cut
            )
        )
        running = stack.enter_context(
            process(
                folder / "apiserver.log",
                binary("kube-apiserver", version),
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={certificate}",
                f"--service-account-signing-key-file={key}",
                *(_audit(audit_log) if audited else []),
                *([] if service_accounts else ["--disable-admission-plugins=ServiceAccount"]),
                *flags,
            )
        )
        server = ApiServer(
            version=version,
            url=f"https://127.0.0.1:{port}",
            token=TOKEN,
            ca_file=certificate,
            kubeconfig=folder / "kubeconfig",
            audit_log=audit_log,
        )
        _write_kubeconfig(server)
        _await_ready(server, running, folder / "apiserver.log")
        yield server


@contextmanager
def process(log: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, its output in a file."""
    with log.open("wb") as output:
        # Where Linux can, it ends the process with the tests, however they end.
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        started = subprocess.Popen([*tied, *command], stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=5)
        except subprocess.TimeoutExpired:  # the API server waits for open watches
            started.kill()
            started.wait()


def _await_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with server.client() as client:
                ready = client.send("GET", "/readyz").code == 200
                if ready and client.send("GET", "/api/v1/namespaces/default").code == 200:
                    return
        except OSError:
            pass  # not listening yet
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the API server does not get ready:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def _write_kubeconfig(server: ApiServer) -> None:
    name = "ftjob-test"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server.url, "certificate-authority": str(server.ca_file)}}
        ],
        "users": [{"name": name, "user": {"token": server.token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    server.kubeconfig.write_text(json.dumps(config))


def _audit(log: Path) -> list[str]:
    """Return the flags that let the API server write down who writes what."""
    policy = log.with_name("audit-policy.json")
    policy.write_text(json.dumps(_WRITES_ONLY))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", *command.split(), *names, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
