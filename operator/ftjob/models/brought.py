"""What is brought into a job's pods: the agent and the user's code, each known by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from ftjob.models import patterns
from ftjob.models.schema import Model

NAME = "ftjob-agent.pyz"


@dataclass(frozen=True)
class AgentFile:
    """The agent's zipapp."""

    content: bytes

    @cached_property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


class Code(Model):
    """The code that the ranks run, as `ftjob submit --code` brings it."""

    config_map: Annotated[
        str,
        Field(
            max_length=253,
            pattern=patterns.SUBDOMAIN,
            description="ConfigMap of the job's namespace that holds it under code.tar.gz.",
        ),
    ]
    sha256: Annotated[
        str,
        Field(
            max_length=64,
            pattern=patterns.SHA256,
            description="SHA-256 of code.tar.gz: nothing else is run.",
        ),
    ]
