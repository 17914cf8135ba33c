"""Names of environment variables, and what in their values is filled in by the agent."""

from __future__ import annotations

from ftjob_protocol import Word

# What the agent is told.
AGENT_CONFIG = "FTJOB_AGENT_CONFIG"
TOKEN_FILE = "FTJOB_TOKEN_FILE"  # noqa: S105  a name
RUN_DIR = "FTJOB_RUN_DIR"
TERMINATION_LOG = "FTJOB_TERMINATION_LOG"
NODE_NAME = "FTJOB_NODE_NAME"
POD_NAME = "FTJOB_POD_NAME"

# What a rank is told by the plan.
JOB = "FTJOB_JOB"
NAMESPACE = "FTJOB_NAMESPACE"
ROLE = "FTJOB_ROLE"
INDEX = "FTJOB_INDEX"
ATTEMPT = "FTJOB_ATTEMPT"
RANK = "FTJOB_RANK"
WORLD_SIZE = "FTJOB_WORLD_SIZE"
LOCAL_RANK = "FTJOB_LOCAL_RANK"
OUTPUTS = "FTJOB_OUTPUTS"
CHECKPOINT_DIR = "FTJOB_CHECKPOINT_DIR"

# What a rank is told by its agent.
LOCAL_WORLD_SIZE = "FTJOB_LOCAL_WORLD_SIZE"
RANK_DIR = "FTJOB_RANK_DIR"
PROGRESS_FILE = "FTJOB_PROGRESS_FILE"
PROFILE = "FTJOB_PROFILE"
CLOCK = "FTJOB_CLOCK"
"""``1``: the hooks measure the rank's steps. Not there: the job's profiling is off."""
STACKS_SIGNAL = "FTJOB_STACKS_SIGNAL"

REPORTED_JOB = "FTJOB_REPORTED_JOB"
"""What a collector in the cluster is told: the job that it reports on, as JSON."""

PRIVATE = (TOKEN_FILE, AGENT_CONFIG)
"""Variables that ranks never see."""

LEADER_IP = "@LEADER_IP@"
"""Filled in by the agent: the address that the leader answered from."""
IFACE = "@IFACE@"
"""Filled in by the agent: the interface of the route to the leader."""
ATTEMPT_NOW = "@ATTEMPT@"
"""Filled in by the agent: the number of the attempt, which may follow others in the same pods."""


OWN_RANK = "@OWN_RANK@"
OWN_LOCAL_RANK = "@OWN_LOCAL_RANK@"
"""What is told once for all ranks of an agent has these for each rank's own numbers."""


class Number(Word):
    """What the order by which a rank of an elastic job is started says of its place in the group of now."""

    RANK = "RANK"
    SIZE = "SIZE"
    LOCAL_SIZE = "LOCAL_SIZE"
    CROSS_RANK = "CROSS_RANK"
    """Of the worker among those that are there."""
    CROSS_SIZE = "CROSS_SIZE"
    GENERATION = "GENERATION"
    """How often the group has changed."""
    HOSTNAME = "HOSTNAME"
    """What Horovod calls the worker's present life."""

    @property
    def placeholder(self) -> str:
        """What stands for it in the value of a variable."""
        return f"@{self}@"
