"""What operator, agent, hooks, local runner and readers of a job's outputs say to each other.

Standard library only, Python 3.9 or newer: it lies beside the agent in its zipapp and runs in the user's
image. ``docs/agent-protocol.md`` says what the words mean; here each of them is spelt, once.
"""

VERSION = 1
"""Of every document."""
