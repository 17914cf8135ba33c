"""Both ends of the range of supported API servers, with the CRD installed."""

from collections.abc import Iterator

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer, Client, running_api_server
from support.control_cluster import Namespace, new_namespace
from support.crds import install


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
