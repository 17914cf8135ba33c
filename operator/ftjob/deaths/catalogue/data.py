"""Workers of data loaders die, or the system gives no more processes, threads or files."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_DATA = "https://docs.pytorch.org/docs/stable/data.html"
_PID = r"\(pid(?:\(s\))? (?P<pid>[\d, ]{1,80})\)"

ROWS = (
    Row(
        "loader-worker-killed",
        Where.SAID,
        rf"DataLoader worker {_PID} is killed by signal: Killed",
        "A loader's worker (process {pid}) was killed, mostly for want of memory",
        "Raise resources.limits.memory, lower num_workers or prefetch_factor, and keep no large Python "
        "lists in the data set: each worker gets its copy",
        f"{_DATA}#multi-process-data-loading",
    ),
    Row(
        "loader-worker-crashed",
        Where.SAID,
        rf"DataLoader worker {_PID} is killed by signal: (?P<signal>[A-Z][\w ]{{1,40}})",
        "A loader's worker (process {pid}) crashed: {signal}",
        "Run once with num_workers=0: then the library that crashes is in the traceback "
        "(PYTHONFAULTHANDLER=1)",
        f"{_DATA}#multi-process-data-loading",
    ),
    Row(
        "loader-worker-exited",
        Where.SAID,
        rf"DataLoader worker {_PID} exited unexpectedly",
        "A loader's worker (process {pid}) ended without a word",
        "Run once with num_workers=0 for its exception; if it calls exit, or a library of its own forks, use "
        "multiprocessing_context='spawn'",
        f"{_DATA}#multi-process-data-loading",
    ),
    Row(
        "open-files",
        Where.SAID,
        r"Too many open files|received 0 items of ancdata",
        "The process may open no more files",
        "Close what is opened; for tensors of a loader call "
        "torch.multiprocessing.set_sharing_strategy('file_system'), or raise the limit (ulimit -n)",
        "https://docs.pytorch.org/docs/stable/multiprocessing.html#file-descriptor-file-descriptor",
    ),
    Row(
        "no-more-threads",
        Where.SAID,
        r"can't start new thread|System unable to allocate necessary resources for OMP thread"
        r"|Thread creation failed: Resource temporarily unavailable|pthread_create "
        r"failed[^\n]{0,60}Resource temporarily|fork: (?:retry: )?Resource temporarily unavailable",
        "The pod has as many processes and threads as it may have",
        "Lower num_workers and OMP_NUM_THREADS, or have the kubelet's podPidsLimit raised",
        "https://kubernetes.io/docs/concepts/policy/pid-limiting/",
    ),
    Row(
        "main-guard",
        Where.SAID,
        r"start a new process before the\s{1,12}current process has finished its bootstrapping phase",
        "The script starts processes by spawn while it is imported by one of them",
        'Put what it runs under `if __name__ == "__main__":`',
        "https://docs.python.org/3/library/multiprocessing.html#the-spawn-and-forkserver-start-methods",
    ),
    Row(
        "not-picklable",
        Where.RAISED,
        r"(?:Can't|[Cc]annot) pickle (?:local object |<function |'?)(?P<what>[^\n]{1,80})",
        "A loader's worker can't be given {what}",
        "Use functions and classes at the top of a module, not lambdas, for what is handed to processes "
        "started by spawn",
        "https://docs.python.org/3/library/pickle.html#what-can-be-pickled-and-unpickled",
    ),
)
