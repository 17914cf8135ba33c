"""Installing CRDs into an API server of the tests."""

import subprocess
from pathlib import Path

from support.apiserver import CACHE, ApiServer

ROOT = Path(__file__).parents[2]
OURS = ROOT / "manifests" / "crd"
SETUP = ROOT / "tests" / "setup" / "tools.sh"


def of_others(name: str) -> Path:
    """Return the folder with the CRDs of another project, fetched if need be: kueue, volcano…"""
    subprocess.run([SETUP, "crds"], check=True, stdout=subprocess.DEVNULL, timeout=600)
    return max((CACHE / "crds").glob(f"{name}-*"))


def install(server: ApiServer, *others: str) -> None:
    """Install our CRD, and those of other projects."""
    # Theirs are too large for an apply that keeps a copy of the whole in an annotation.
    for path, how in ((OURS, ()), *((of_others(name), ("--server-side",)) for name in others)):
        applied = server.kubectl("apply", *how, "-f", str(path))
        assert applied.returncode == 0, applied.stderr
        waited = server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(path))
        assert waited.returncode == 0, waited.stderr
