"""What the plan tells this agent, and whether the container agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

from ftjob_protocol import agent_config, files, variables
from ftjob_protocol.values.document import DocumentError

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig


class ConfigError(Exception):
    """The ranks could not be started; the text says why and what to do about it."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read(environ: Mapping[str, str]) -> AgentConfig:
    """Read what the plan says; ConfigError names the field that is wrong."""
    try:
        return agent_config.parse(environ.get(variables.AGENT_CONFIG, ""))
    except DocumentError as error:
        raise ConfigError(str(error)) from None


def run_dir(environ: Mapping[str, str]) -> str:
    """Return the agent's private folder, in an emptyDir of the pod."""
    return environ.get(variables.RUN_DIR) or files.RUN_DIR


def code_folder(environ: Mapping[str, str]) -> str:
    """Return where the user's code lies: at the same path in each attempt."""
    return f"{run_dir(environ)}/{files.CODE}"


def token(environ: Mapping[str, str]) -> str:
    """Return the job's token; ConfigError says where it should be."""
    path = environ.get(variables.TOKEN_FILE) or f"{files.AGENT_DIR}/{files.TOKEN}"
    try:
        with open(path, encoding="ascii") as file:
            found = file.read().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} with the job's token can't be read: {error}") from None
    if not found:
        raise ConfigError(f"{path} is empty; the job's Secret must hold a token")
    return found


def check_identity(config: AgentConfig, environ: Mapping[str, str]) -> None:
    """Refuse variables that decide who a rank is when the container brings another value than the plan's.

    A name that ends in ``*`` stands for all that begin with what is before it.
    """
    for name in config.identity:
        found = [key for key in environ if key.startswith(name[:-1])] if name.endswith("*") else [name]
        for key in found:
            for spec in config.ranks:
                if key in environ and environ[key] != spec.env.get(key):
                    planned = (
                        f"the plan says {spec.env[key]!r}" if key in spec.env else "the plan does not set it"
                    )
                    raise ConfigError(
                        f"{key}={environ[key]!r} reaches the trainer by envFrom or from its image, but for "
                        f"rank {spec.rank} {planned}; remove {key} from that ConfigMap, Secret or image: "
                        "ftjob sets what tells a rank who it is"
                    )
