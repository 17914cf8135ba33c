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

ANNOTATION_CAPTURE = f"{GROUP}/capture"

JOB_NAME_MAX = 40
"""Leaves room for ``-<role>-<attempt>-<index>`` within the 63 characters of a DNS label (RFC 1035)."""
