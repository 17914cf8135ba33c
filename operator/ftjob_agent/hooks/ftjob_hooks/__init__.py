"""What runs inside a rank, unasked: progress, profiles and the record of a failure.

Standard library only, Python 3.9 and later, importable from a zip. Nothing here may ever hurt the rank: every
entry point is guarded, and what could not be done is a note in `hooks.json`. The files that come out of it
are described in `docs/agent-protocol.md`, section 3.
"""
