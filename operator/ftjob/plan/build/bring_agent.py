"""How the agent and the user's code come into a pod: ConfigMaps, one volume, and a command."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ftjob.models.brought import NAME
from ftjob.models.names import LABEL_COMPONENT, MANAGED_BY
from ftjob.models.template import AGENT_VOLUME, RUN_VOLUME
from ftjob.plan.build.objects import secret_name
from ftjob_protocol.files import AGENT_DIR, CODE_ARCHIVE, RUN_DIR

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.brought import AgentFile
    from ftjob.models.manifest import Manifest

# What the container runs in front of the trainer's command: the image's own python3, and nothing else of the
# image. It runs the very bytes that it has checked: who replaces the ConfigMap later changes nothing. It is
# short, since every pod has it, and all versions of Python 3 read it, to say what is wrong with old ones.
_START = f"""\
import hashlib,sys
if sys.version_info<(3,9):sys.exit("ftjob: python3 of the image is "+sys.version.split()[0]+\
", and ftjob needs 3.9: use another image")
a=open("{AGENT_DIR}/{NAME}","rb").read()
if hashlib.sha256(a).hexdigest()!="@DIGEST@":sys.exit("ftjob: ConfigMap @NAME@ holds \
another agent than the operator's: delete it")
p="{RUN_DIR}/{NAME}"
open(p,"wb").write(a)
sys.path.insert(0,p)
from ftjob_agent.main import main
main()
"""


def config_map_name(agent: AgentFile) -> str:
    """Return the name of the ConfigMap, one in each namespace: other agents have other names."""
    return f"{AGENT_VOLUME}-{agent.digest[:16]}"


def build_config_map(namespace: str, agent: AgentFile) -> Manifest:
    """Return the ConfigMap that holds the agent. It belongs to no job: all of the namespace share it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(agent),
            "namespace": namespace,
            "labels": {**MANAGED_BY, LABEL_COMPONENT: "agent"},
        },
        # The kubelets need not watch it.
        "immutable": True,
        "binaryData": {NAME: base64.b64encode(agent.content).decode()},
    }


def agent_volumes(job: Job, agent: AgentFile) -> list[dict[str, Any]]:
    """Return the volumes: with the agent, the token and the code, and for what the agent keeps while it runs.

    A pod waits for a ConfigMap that is not there yet, as for any volume.
    """
    sources: list[dict[str, Any]] = [
        {"configMap": {"name": config_map_name(agent)}},
        {"secret": {"name": secret_name(job)}},
    ]
    if job.spec.code is not None:
        items = [{"key": CODE_ARCHIVE, "path": CODE_ARCHIVE}]
        sources.append({"configMap": {"name": job.spec.code.config_map, "items": items}})
    return [
        {"name": AGENT_VOLUME, "projected": {"sources": sources}},
        {"name": RUN_VOLUME, "emptyDir": {}},
    ]


def agent_mounts() -> list[dict[str, Any]]:
    """Return where the trainer sees them."""
    return [
        {"name": AGENT_VOLUME, "mountPath": AGENT_DIR, "readOnly": True},
        {"name": RUN_VOLUME, "mountPath": RUN_DIR},
    ]


def start_agent(agent: AgentFile) -> list[str]:
    """Return the command before the trainer's own: isolated, also from what the image has installed."""
    code = _START.replace("@DIGEST@", agent.digest).replace("@NAME@", config_map_name(agent))
    return ["python3", "-IS", "-c", code, "--"]
