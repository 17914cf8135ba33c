"""Names of the API: group, kind, labels and annotations. Each stands here once."""

GROUP = "ftjob.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FrameworkTrainingJob"
PLURAL = "frameworktrainingjobs"
SINGULAR = "frameworktrainingjob"
SHORT_NAME = "ftj"
CATEGORY = "all"

CONTROLLER = f"{GROUP}/operator"
"""The value of ``spec.managedBy`` that this operator answers to, and its field manager."""

LABEL_JOB = f"{GROUP}/job"
LABEL_UID = f"{GROUP}/uid"
LABEL_ROLE = f"{GROUP}/role"
LABEL_INDEX = f"{GROUP}/index"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_SLICE = f"{GROUP}/slice"
LABEL_STRATEGY = f"{GROUP}/strategy"
LABEL_USER = f"{GROUP}/user"
"""Label of a job: who has submitted it."""
LABEL_COLLECTS = f"{GROUP}/collects"
"""Label of a collector's pod: what it reports on."""

POD_GROUP = "PodGroup"
NATIVE_GANGS = ("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha3", "scheduling.k8s.io/v1alpha2")
"""API versions of Kubernetes' own PodGroup (KEP-4671), best first: 1.37 has the first two, 1.36 the last."""
VOLCANO_GANGS = ("scheduling.volcano.sh/v1beta1",)
COSCHEDULING_GANGS = ("scheduling.x-k8s.io/v1alpha1",)

WORKLOAD = "Workload"
KUEUE_VERSIONS = ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1")
"""API versions of Kueue's Workload, best first."""
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
KUEUE_CLASS = "kueue.x-k8s.io/priority-class"
"""Names a WorkloadPriorityClass: when the job is let in, whatever priority its pods have."""
KUEUE_POD_SET = "kueue.x-k8s.io/podset"
"""Label of a pod: its pod set in the Workload."""
KUEUE_WORKLOAD = "kueue.x-k8s.io/workload"
"""Annotation of a pod: the Workload that it was admitted by."""
KUEUE_TOPOLOGY_GATE = "kueue.x-k8s.io/topology"
"""Scheduling gate of a pod until Kueue says on which nodes it runs."""
KUEUE_GATE = "kueue.x-k8s.io/admission"
"""Scheduling gate of pods that Kueue itself manages."""
MULTIKUEUE = "kueue.x-k8s.io/multikueue"
"""The value of ``spec.managedBy`` of a job that Kueue runs in another cluster."""
MULTIKUEUE_ORIGIN = "kueue.x-k8s.io/multikueue-origin"
"""Label of the copy that runs in a worker cluster."""
KUEUE_PREBUILT = "kueue.x-k8s.io/prebuilt-workload-name"
"""Annotation (from Kueue 0.18 on) or label (before) of a job whose Workload somebody else has made."""

ANNOTATION_CAPTURE = f"{GROUP}/capture"
ANNOTATION_RAW_LOGS = f"{GROUP}/raw-logs"
"""Annotation of a job: ``"true"`` leaves the marks out by which lines in a pod say whose they are."""

LABEL_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "ftjob"}
"""Recommended labels (kubernetes.io/docs/concepts/overview/working-with-objects/common-labels)."""

JOB_NAME_MAX = 40
"""Leaves room for ``-<role>-<attempt>-<index>`` within the 63 characters of a DNS label (RFC 1035)."""


WORKER = "worker"

ROLES = ("chief", WORKER, "ps", "evaluator")
"""All roles, in rank order."""
