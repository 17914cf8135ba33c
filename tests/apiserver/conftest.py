"""Both ends of the range of supported API servers, with the CRD installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer, Client, running_api_server

CRD = Path(__file__).parents[2] / "manifests" / "crd"


@pytest.fixture(scope="session", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(request.param, tmp_path_factory.mktemp("apiserver")) as running:
        applied = running.kubectl("apply", "-f", str(CRD))
        assert applied.returncode == 0, applied.stderr
        waited = running.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRD))
        assert waited.returncode == 0, waited.stderr
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with server.client() as client:
        yield client
