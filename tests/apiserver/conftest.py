"""Both ends of the range of supported API servers, with the CRD installed."""

from collections.abc import Callable, Iterator

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer, Client, running_api_server
from support.control_cluster import Namespace, new_namespace
from support.crds import install

from ftjob.cli.main import main


@pytest.fixture(scope="session", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(request.param, tmp_path_factory.mktemp("apiserver"), audited=True) as running:
        install(running)
        yield running


@pytest.fixture
def space(client: Client) -> Namespace:
    return new_namespace(client)


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def ftjob(
    server: ApiServer, space: Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return what runs `ftjob VERB -n NAMESPACE …` and says how it ended and what it printed."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))

    def run(verb: str, *words: str) -> tuple[int, str, str]:
        code = main([verb, "-n", space.name, *words])
        return (code, *capsys.readouterr())

    return run
