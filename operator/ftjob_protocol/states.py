"""In which state an agent and its ranks are, and what the leader commands."""

from __future__ import annotations

from ftjob_protocol import Word


class State(Word):
    """State of an agent, of a rank, or of all agents of a job; not each of them knows all."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    HALTING = "Halting"
    """Of a job: not all of its agents are halted yet."""
    HALTED = "Halted"
    """Of an agent and a job: the ranks are dead and wait for a word that starts them again."""


class Command(Word):
    """What the leader wants of an agent."""

    WAIT = "Wait"
    START = "Start"
    HALT = "Halt"
    """End the ranks, but stay: they may be started again."""
    STOP = "Stop"
