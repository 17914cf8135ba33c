"""Exit codes of ``ftjob``: the job's end, an invalid job or wrong usage, a partial capture, and Ctrl-C."""

SUCCEEDED, FAILED, INVALID, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
