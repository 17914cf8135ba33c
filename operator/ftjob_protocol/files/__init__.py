"""Where things lie: in the private folder of a rank, and in the outputs of a job."""

# In a trainer's container, unless variables say otherwise.
AGENT_DIR = "/ftjob/agent"
"""Read-only: the agent, and the job's token."""
TOKEN = "token"  # noqa: S105  a name
RUN_DIR = "/ftjob/run"
"""What agent and ranks keep while they live."""
CODE_ARCHIVE = "code.tar.gz"
"""Beside the agent, and the key in its ConfigMap: the code that the user has brought along."""
CODE = "code"
"""In the folder of agent and ranks: that code, unpacked."""

# In a rank's private folder; from the hooks, but for PROGRESS.
STEPS = "steps.bin"
METRICS = "metrics.json"
CLOCK = "clock.bin"
"""How long the last steps took, and of what."""
WHERE = "where.json"
"""At which lines of the program its main thread was seen."""
FAILURE = "failure.json"
CHILD_FAILURE = "failure-child.json"
"""Of a Python process below the rank's first one."""
EARLIER_FAILURE = "failure-earlier.json"
"""What was `failure.json` before the shell that started that process started another one."""
HOOKS = "hooks.json"
OPTIMIZER = "optimizer"
"""Empty: it is there once the program has an optimizer whose steps the hooks can see."""
COMPILED = "compiled"
"""Empty: it was written anew whenever JAX has compiled something."""
STACKS = "stacks.txt"
CAPTURED = "captured.json"
"""Ids of the captures that the rank has finished in this attempt."""
CAPTURING = "capturing.json"
"""How far the rank is with a capture that was asked for."""
PROGRESS = "progress.jsonl"
"""From the script itself."""
TORCHELASTIC_FAILURE = "torchelastic_error.json"
"""From torchelastic's ``@record``."""

# In a rank's private folder; from the agent.
ORDER = "order.bin"
"""The order word: the agent counts it up when it has written CAPTURE anew."""
CAPTURE = "capture.json"

# In the outputs.
JOB = "job.yaml"
CAPTURES = "captures"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
PLUGINS = "plugins"
SYSTEM = "system"
VITALS = "vitals"
REPORT = "report.html"
"""The job's; one of a capture is in its folder."""
XPLANES = f"{PLUGINS}/profile"
"""Where TensorBoard's profile plugin looks for xplane files."""

# In the folder of a capture.
REQUEST = "request.json"
RAW = "raw"
DONE = "done.json"


def rank_name(rank: int) -> str:
    """Return what a rank's files and folders are called."""
    return f"rank-{rank:05d}"


def log(rank: int) -> str:
    """Return where in the outputs the log of a rank is."""
    return f"{LOGS}/{rank_name(rank)}.log"


def tails(path: str) -> tuple[str, str]:
    """Return where the end of a log, or of samples, is once it has reached its limit: the older file first.

    `path` is the file with the beginning.
    """
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}.tail-1{dot}{suffix}", f"{stem}.tail{dot}{suffix}"


def samples(rank: int) -> str:
    """Return where in the outputs the system samples of a rank are, a line of JSON each."""
    return f"{SYSTEM}/{rank_name(rank)}.jsonl"


def vitals(rank: int) -> str:
    """Return where in the outputs it is what the steps of a rank took, a line of JSON a block."""
    return f"{VITALS}/{rank_name(rank)}.jsonl"


def last_steps(rank: int) -> str:
    """Return where in the outputs it is what the last steps of a rank took that has failed."""
    return f"{VITALS}/{rank_name(rank)}.last.json"


def capture(capture_id: str) -> str:
    """Return the folder of a capture in the outputs."""
    return f"{CAPTURES}/{capture_id}"


def raw(capture_id: str, rank: int) -> str:
    """Return the folder in the outputs where a rank leaves what it has captured."""
    return f"{CAPTURES}/{capture_id}/{RAW}/{rank_name(rank)}"


def hang(attempt: int) -> str:
    """Return the id of the capture that holds the stacks of a hang."""
    return f"hang-{attempt}"
