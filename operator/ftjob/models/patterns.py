"""Patterns of strings, each with what to write instead of a string that does not match.

In the CRD they become CEL rules: the API server's own message for a pattern only shows the pattern.
"""

RANK_LIST = r"^(All|OnePerWorker|[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*)$"
EXIT_CODES = r"^[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?)*$"
TOPOLOGY = r"^[1-9][0-9]*x[1-9][0-9]*(x[1-9][0-9]*)?$"
MEBIBYTES = r"^[1-9][0-9]{0,8}(Mi|Gi|Ti)$"
"""The quantities that are whole mebibytes, and no less than one."""
QUANTITY = r"^([1-9][0-9]{0,14}([.][0-9]+)?|0[.]0*[1-9][0-9]*)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
SHA256 = r"^[0-9a-f]{64}$"
FOLDER = r"^[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$|^$"
CONTROLLER_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"

EXPECTED = {
    RANK_LIST: 'All, OnePerWorker, or a list of ranks such as "0,8-15"',
    EXIT_CODES: 'a list of exit codes such as "42,128-255"',
    TOPOLOGY: "the chips in each direction, such as 2x4 or 4x4x4",
    QUANTITY: "an amount of bytes such as 500Mi or 2Gi",
    MEBIBYTES: "an amount of bytes of at least 1Mi, in Mi, Gi or Ti, such as 500Mi or 2Gi",
    SUBDOMAIN: "a name of lower-case letters, digits, - and ., such as team-pvc",
    LABEL_KEY: "the key of a node label such as topology.kubernetes.io/zone",
    SHA256: "a SHA-256 of 64 hexadecimal digits, in lower case",
    FOLDER: "a relative path without control characters, such as team-a/digits",
    CONTROLLER_NAME: "a name such as example.com/controller",
}
"""What to write, for each pattern."""
