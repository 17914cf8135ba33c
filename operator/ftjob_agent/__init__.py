"""The parent of a worker's ranks: it starts, watches and stops them and tells the operator what it sees.

Standard library only, Python 3.9 or newer, since it runs in the user's image. What it says to others is
written down in ``docs/agent-protocol.md``.
"""
