"""Renders the chart with helm and reads what comes out."""

from __future__ import annotations

import functools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the CRD takes a second without libyaml

REPO = Path(__file__).resolve().parents[2]
CHART = REPO / "charts" / "ftjob"
CRD = REPO / "manifests" / "crd" / "ftjob.dev_frameworktrainingjobs.yaml"

Object = dict[str, Any]


class ChartError(Exception):
    """What helm said when it refused."""


@dataclass(frozen=True, order=True)
class Grant:
    """One verb on one resource; an empty name is any."""

    group: str
    resource: str
    verb: str
    name: str = ""


@functools.cache
def helm() -> str:
    """Return the helm program's path, after building it if it is missing."""
    tools = [str(REPO / "tests/setup/tools.sh"), "helm"]
    done = subprocess.run(tools, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[-1]


def run_helm(*args: str) -> str:
    """Run helm without any configuration of the user's and return what it prints."""
    home = dict.fromkeys(("HELM_REPOSITORY_CONFIG", "HELM_REGISTRY_CONFIG", "KUBECONFIG"), os.devnull)
    done = subprocess.run(
        [helm(), *args], capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **home}
    )
    if done.returncode:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout


def objects_in(text: str) -> list[Object]:
    """Return the objects of a YAML stream."""
    return [found for found in yaml.load_all(text, Loader=LOADER) if found]


def render(*settings: str, namespace: str = "ftjob-system", crds: bool = False) -> list[Object]:
    """Return what the chart makes of ``settings`` (``key=value``, as for ``--set``)."""
    wanted = [f"crds.enabled={str(crds).lower()}", *settings]
    flags = [part for setting in wanted for part in ("--set", setting)]
    return objects_in(run_helm("template", "ftjob", str(CHART), "--namespace", namespace, *flags))


def pick(objects: Iterable[Object], kind: str, name: str) -> Object:
    """Return the object of that kind and name."""
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def _spelled_out(rules: Iterable[Object]) -> Iterator[Grant]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Grant(group, resource, verb, name)


def granted(role: Object) -> frozenset[Grant]:
    """Return all that a Role or ClusterRole grants."""
    return frozenset(_spelled_out(role["rules"]))
