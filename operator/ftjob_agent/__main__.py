"""``python -m ftjob_agent -- command args``."""

from ftjob_agent.main import main

main()
