"""The reasons of conditions, Events and failures, with what they mean and what to do about them.

Beside these there are Kubernetes' own: a job whose pods wait, or were taken away, bears the reason that the
kubelet or a scheduler has given, such as ``Unschedulable``, ``ImagePullBackOff`` or ``TerminationByKubelet``.
``docs/reasons.md`` is made from this file (``make generate``).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ftjob_protocol import Word

if TYPE_CHECKING:
    from typing import Self


class Area(Enum):
    """Where in a job's life a reason is met; in this order the table shows them."""

    SPEC = "The job is refused"
    WAITING = "The job waits"
    QUEUE = "Kueue and MultiKueue"
    RUNNING = "The job runs"
    FAILURE = "A rank has failed, or was ended"
    RESTART = "Another attempt follows"
    END = "The job has ended"


class Reason(Word):
    """One reason.

    Parameters
    ----------
    value
        The word itself.
    area
        Where in a job's life it is met.
    meaning
        One line for people.
    remedy
        What to do about it, if anything.
    """

    area: Area
    meaning: str
    remedy: str

    def __new__(cls, value: str, area: Area, meaning: str, remedy: str = "") -> Self:
        """Make the text that is the reason, with the rest beside it."""
        self = str.__new__(cls, value)
        self._value_, self.area, self.meaning, self.remedy = value, area, meaning, remedy
        return self

    INVALID_SPEC = (
        "InvalidSpec",
        Area.SPEC,
        "The spec, or a pod made from it, can't work; the message names each field.",
        "Correct the spec and apply it again.",
    )
    NAME_CONFLICT = (
        "NameConflict",
        Area.SPEC,
        "An object that the job needs exists already and belongs to somebody else.",
        "Give the job another name, or delete that object.",
    )
    NO_OUTPUTS = (
        "NoOutputs",
        Area.SPEC,
        "`restart.limit` is set, but without `outputs` each attempt begins anew.",
        "Add `outputs: {}`.",
    )

    PREVIOUS_RUN = (
        "PreviousRunTerminating",
        Area.WAITING,
        "Pods or objects of an earlier job of this name are not gone yet.",
    )
    FORBIDDEN = (
        "CreationForbidden",
        Area.WAITING,
        "The API server refuses an object, by a quota or an admission webhook. It is tried again.",
        "See the message; raise the quota or ask who runs the webhook.",
    )
    TAKING_BACK = (
        "TakingBackPods",
        Area.WAITING,
        "Only a part of the pods could be created, so these are ended before all are tried again.",
    )
    OLD_PODS = (
        "OldPodsTerminating",
        Area.WAITING,
        "Pods of the last attempt still run, and two attempts never run at once.",
        "If a node does not answer, bring it back or delete it from the cluster.",
    )
    BACKING_OFF = (
        "BackingOff",
        Area.WAITING,
        (
            "The next attempt waits for `restart.backoffSeconds`, doubled with each failure, and for 10 s at "
            "least after one that lived less."
        ),
    )
    STARTING = ("Starting", Area.WAITING, "The workers are starting.")
    LEADER_UNREACHED = (
        "LeaderUnreached",
        Area.WAITING,
        "All pods run, and the operator can't ask the pod of index 0 whether their ranks do.",
        "See which NetworkPolicy or firewall keeps the operator from the agents' port; the job may run.",
    )
    WAITING = ("Waiting", Area.WAITING, "Pods wait, and nobody has said for what.")
    GATED_BY_KUEUE = (
        "GatedByKueue",
        Area.WAITING,
        "Kueue holds back the pods one by one, beside the job itself; nobody will ever let them in.",
        "Name FrameworkTrainingJob in `integrations.externalFrameworks` of Kueue's configuration.",
    )

    QUEUED = ("Queued", Area.QUEUE, "The job waits in Kueue's queue.")
    NOT_QUEUED = (
        "NotQueued",
        Area.QUEUE,
        "The job names a queue, but with `spec.suspend` it is not in it, and Kueue never resumes it.",
        "Leave `suspend` out, or `ftjob resume` the job: it waits for its queue by itself.",
    )
    EVICTED = (
        "Evicted",
        Area.QUEUE,
        "Kueue has taken back the job's admission; it runs again when it is let in.",
    )
    ADMITTED = ("Admitted", Area.QUEUE, "The job may run.")
    DEACTIVATED = (
        "Deactivated",
        Area.QUEUE,
        "The job's Workload is not active.",
        "Set the Workload's `spec.active` to true.",
    )
    WORKLOAD_FINISHED = (
        "WorkloadFinished",
        Area.QUEUE,
        "The job's Workload is over, so nobody admits the job any more.",
    )
    WORKLOAD_MISSING = (
        "WorkloadMissing",
        Area.QUEUE,
        "The prebuilt Workload that the job names is not there, or another's.",
        "Create it, or remove the label that names it.",
    )
    OUT_OF_SYNC = (
        "OutOfSync",
        Area.QUEUE,
        "The job's Workload was made for other pods than the spec asks for.",
        "Make the Workload anew, or put the spec back.",
    )
    KUEUE_UNREADABLE = (
        "KueueUnreadable",
        Area.QUEUE,
        "What the admission names, such as a ResourceFlavor, can't be read. It is tried again.",
        "See the message; the operator may lack the right to read it.",
    )
    NO_KUEUE = (
        "NoKueue",
        Area.QUEUE,
        "The job is for another cluster to run, but this one has no Kueue.",
        "Install Kueue, or make the job without `spec.managedBy`.",
    )
    WORKLOAD_NOT_CREATED = (
        "WorkloadNotCreated",
        Area.QUEUE,
        "The Workload of a job that another cluster runs could not be created. It is tried again.",
    )

    ALL_WORKERS_RUNNING = ("AllWorkersRunning", Area.RUNNING, "All workers run.")
    ENOUGH_WORKERS_RUNNING = (
        "EnoughWorkersRunning",
        Area.RUNNING,
        "As many workers of an elastic job run as it needs.",
    )
    NO_STEPS_SEEN = (
        "NoStepsSeen",
        Area.RUNNING,
        "The watchdog has no step to go by.",
        "Report steps in `$FTJOB_PROGRESS_FILE`, or limit the job by `activeDeadlineSeconds`.",
    )
    SLOW = (
        "Slow",
        Area.RUNNING,
        "The job loses time, and it is known by what; the message is the verdict of `status.profile`.",
        "`ftjob why JOB` shows the evidence and the next step.",
    )
    SLOW_ENDED = (
        "SlowEnded",
        Area.RUNNING,
        "What made the job slow is over; the message is the new verdict.",
    )
    ANSWER_REFUSED = (
        "AnswerRefused",
        Area.RUNNING,
        "The pod of index 0 answers what no leader says. It is asked again; there is no progress meanwhile.",
        "See the message; keep other programs from the port of the agent.",
    )
    WORKER_REPLACED = (
        "WorkerReplaced",
        Area.RUNNING,
        "A worker of an elastic job was lost; another takes its place.",
    )
    SUSPENDED = ("Suspended", Area.RUNNING, "`spec.suspend` is true.")
    RESUMED = ("Resumed", Area.RUNNING, "`spec.suspend` is false again.")
    NEWER_VERSION = (
        "NewerVersion",
        Area.RUNNING,
        "A newer ftjob has written the job's status, or started its spec; this one leaves the job alone.",
        "Upgrade the operator; then the job goes on.",
    )
    INTERNAL_ERROR = (
        "InternalError",
        Area.RUNNING,
        "The operator made a mistake with this job. It is tried again.",
        "Report it, with the operator's log.",
    )

    EXCEPTION = (
        "Exception",
        Area.FAILURE,
        "The rank's own uncaught exception.",
        "See the traceback in the message.",
    )
    EXIT = (
        "Exit",
        Area.FAILURE,
        "A non-zero exit code, without an exception on record.",
        "See the last lines of the log.",
    )
    SIGNAL = ("Signal", Area.FAILURE, "The rank was killed by a signal that did not come from ftjob.")
    OOM_KILLED = (
        "OOMKilled",
        Area.FAILURE,
        "The kernel has killed the rank: it used more memory than its container may.",
        "Raise the trainer's memory limit, or use less.",
    )
    HANG = (
        "Hang",
        Area.FAILURE,
        "No rank has made a step for too long, and this one holds up the others.",
        "See where it is in the message.",
    )
    CONFIG = (
        "Config",
        Area.FAILURE,
        "The agent could not start the ranks: a bad environment, a command that is not there.",
        "See the message, which names the remedy.",
    )
    PEER_LOST = ("PeerLost", Area.FAILURE, "Another rank went away; what became of that one is not known.")
    STOPPED = ("Stopped", Area.FAILURE, "The rank was ended because its pod, or another rank, has ended.")
    POD_DELETED = ("PodDeleted", Area.FAILURE, "Somebody has deleted the pod. A disruption.")
    POD_VANISHED = (
        "PodVanished",
        Area.FAILURE,
        "The pod is gone, and nobody saw its end. A disruption.",
        "Look for who deletes pods.",
    )
    NODE_LOST = ("NodeLost", Area.FAILURE, "The pod's node does not answer any more. A disruption.")
    LOST_CONTACT = (
        "LostContact",
        Area.FAILURE,
        "Agents did not hear each other for too long, so the ranks were ended. A disruption.",
        "See the node and the network of the pod that the message names.",
    )
    PEERS_ABSENT = (
        "PeersAbsent",
        Area.FAILURE,
        "Not all agents met in time, so no rank was started. A disruption.",
        "See why the pods that the message names do not run, or can't be reached.",
    )

    HALTED = (
        "Halted",
        Area.RESTART,
        "The ranks are dead, their pods live, and the ranks are started again there.",
    )
    NOT_IN_PLACE = (
        "NotInPlace",
        Area.RESTART,
        "The ranks could not be started again in the same pods; new ones are made.",
    )

    SUCCEEDED = ("Succeeded", Area.END, "All workers that count have succeeded.")
    EXCEPTION_SURVIVED = (
        "ExceptionSurvived",
        Area.END,
        "The job has succeeded, and a program of a rank ended by an exception: its shell ended with code 0.",
        "If that was no success, use `set -o pipefail` or `set -e` in the shell.",
    )
    FINISHED = ("Finished", Area.END, "The job has ended, in whatever way.")
    FAILED = ("Failed", Area.END, "The job has failed; the condition `Failed` says why.")
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        Area.END,
        "The job was active for `activeDeadlineSeconds`.",
        "Raise it, or see why the job is slow.",
    )
    START_TIMEOUT = (
        "StartTimeout",
        Area.END,
        "Not all workers ran within `scheduling.timeoutSeconds`.",
        "See the message for what kept them from running.",
    )
    INTERRUPTED = ("Interrupted", Area.END, "`ftjob run` was told to stop.")
    TIMED_OUT = ("TimedOut", Area.END, "The job ran longer than `ftjob run --timeout` allows.")
