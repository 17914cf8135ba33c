"""Exit codes of ``ftjob``: the job's end, an invalid job or wrong usage, and Ctrl-C."""

SUCCEEDED, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
