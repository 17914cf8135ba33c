"""TAB: names of jobs from a real API server, for `ftjob` and for `kubectl ftj`, in bash."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.apiserver import NEWEST, ApiServer, binary
from support.completion import install, tabs

if TYPE_CHECKING:
    from pathlib import Path

    from support.control_cluster import Namespace

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)


def test_names_of_jobs_are_completed(
    server: ApiServer, space: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.submit("ada-digits")
    space.submit("ada-lm")
    (tmp_path / "bin").mkdir()
    install(tmp_path / "bin")
    (tmp_path / "bin" / "kubectl").symlink_to(binary("kubectl", NEWEST))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path / "discovery"))
    there, elsewhere = f"-n {space.name}", f"-n {space.name}-other"
    for program in ("ftjob", "kubectl ftj"):
        asked = {
            f"{program} wait {there} ": ["ada-digits", "ada-lm"],
            f"{program} wait --for Finished {there} ada-d": ["ada-digits"],
            f"{program} wait {elsewhere} ": [],
            f"{program} wait --f": ["--for"],
        }
        assert tabs(*asked) == asked
