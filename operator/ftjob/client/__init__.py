"""Jobs in a cluster from Python: `Client` submits, finds and lists them, and a `JobHandle` follows one."""

from ftjob.client.client import Client
from ftjob.client.errors import ClusterError, JobFailed, JobInvalid, NoSuchJob
from ftjob.client.handle import JobHandle
from ftjob.client.logs.line import LogLine

__all__ = ["Client", "ClusterError", "JobFailed", "JobHandle", "JobInvalid", "LogLine", "NoSuchJob"]
