"""Exit codes of ``ftjob``: the job's end, an invalid job or usage, the cluster, the time, and Ctrl-C."""

SUCCEEDED, FAILED, INVALID, NO_CLUSTER, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 124, 130
PARTIAL = 3
"""Of `ftjob profile --wait`: some ranks were captured."""
