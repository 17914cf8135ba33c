"""The job can't start: images, volumes, quotas, places."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_IMAGES = "https://kubernetes.io/docs/concepts/containers/images/"
_QUOTA = "https://kubernetes.io/docs/concepts/policy/resource-quotas/"
_SCHEDULING = "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/"
_IMAGE = r"(?:[\s\S]{0,300}?image \\?\"(?P<image>[\w./:@-]{1,200}?)\\?\")?"
_PULL = rf"(?:ErrImagePull|ImagePullBackOff|pull(?:ing)? (?:and unpack )?image){_IMAGE}"


def _waiting(name: str, pattern: str, cause: str, remedy: str, link: str) -> Row:
    return Row(name, Where.WAITING, pattern, cause, remedy, link)


ROWS = (
    _waiting(
        "image-rate-limit",
        r"toomanyrequests|429 Too Many Requests|pull rate limit",
        "The registry lets nobody pull more images for now",
        "Pull with a login (imagePullSecrets), or from a mirror of your own",
        "https://docs.docker.com/docker-hub/usage/",
    ),
    _waiting(
        "image-access",
        r"pull access denied|unauthorized|no basic auth credentials|403 Forbidden|authentication required"
        r"|requested access to the resource is denied",
        "The registry refuses the image: it needs a login, or there is no such repository",
        "Look at the image's name, and name a Secret of type dockerconfigjson in imagePullSecrets of the "
        "template",
        "https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/",
    ),
    _waiting(
        "image-platform",
        r"no match for platform|no matching manifest for",
        "The image is not built for the node's kind of processor",
        "Build it for that platform (docker buildx --platform), or choose nodes by kubernetes.io/arch",
        "https://docs.docker.com/build/building/multi-platform/",
    ),
    _waiting(
        "image-not-found",
        r"manifest unknown|manifest for [\w./:@-]{1,200} not found|[\w./:@-]{1,200}: not found|no such "
        r"manifest|repository does not exist|name unknown",
        "The registry has no such image",
        "Look at its name and tag; a tag that was just pushed may be for another registry or project",
        _IMAGES,
    ),
    _waiting(
        "registry-unreached",
        r"(?:ErrImagePull|ImagePullBackOff|[Ff]ailed to pull|failed to resolve|pull "
        r"access)[\s\S]{0,400}(?:no such host|i/o timeout|connection refused|dial tcp|TLS handshake timeout"
        r"|certificate signed by unknown authority|server misbehaving|network is unreachable)",
        "The node does not reach the image's registry",
        "Look at the registry's name, and whether nodes may reach it (proxy, firewall, certificate); or "
        "load the image into the nodes and set imagePullPolicy: IfNotPresent",
        _IMAGES,
    ),
    _waiting(
        "image-name",
        r"InvalidImageName",
        "The image's name is not a valid one",
        "Write it as registry/repository:tag, in lower case and without https://",
        _IMAGES,
    ),
    _waiting(
        "image-never",
        r"ErrImageNeverPull",
        "The node does not have the image, and imagePullPolicy is Never",
        "Load it into every node (kind load docker-image), or set imagePullPolicy: IfNotPresent",
        _IMAGES,
    ),
    _waiting(
        "image-pull",
        rf"(?:ErrImagePull|ImagePullBackOff){_IMAGE}",
        "The node can't pull the image[ {image}]",
        "See the registry's answer by kubectl describe pod; look at name, tag and imagePullSecrets",
        _IMAGES,
    ),
    _waiting(
        "key-missing",
        r"couldn't find key (?P<key>[\w.-]{1,120}) in (?P<kind>Secret|ConfigMap) (?P<name>[\w./-]{1,200})",
        "The {kind} {name} has no key {key}",
        "Add the key, or correct env.valueFrom in the template",
        "https://kubernetes.io/docs/concepts/configuration/secret/",
    ),
    _waiting(
        "object-missing",
        r"(?P<kind>secret|configmap) \"(?P<name>[\w.-]{1,200})\" not found",
        "The pod needs the {kind} {name}, which its namespace does not have",
        "Create it there, or correct its name in the template",
        "https://kubernetes.io/docs/concepts/configuration/secret/",
    ),
    _waiting(
        "runs-as-root",
        r"container has runAsNonRoot and image will run as root|image has non-numeric user",
        "The image runs as root, or as a user without a number, which runAsNonRoot forbids",
        "Set runAsUser: 1000 in the pod's securityContext, or USER 1000 in the image",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ),
    _waiting(
        "claim-missing",
        r"persistentvolumeclaim \"(?P<name>[\w.-]{1,253})\" not found",
        "There is no claim {name} in this namespace",
        "Create it, or correct outputs.claimName or the template's volume",
        "https://kubernetes.io/docs/concepts/storage/persistent-volumes/",
    ),
    _waiting(
        "claim-unbound",
        r"unbound immediate PersistentVolumeClaims|didn't find available persistent volumes to bind",
        "A claim of the job has no volume yet",
        "Look why by kubectl describe pvc: mostly its storage class does not exist, can't be ReadWriteMany, "
        "or has no volume of that size",
        "https://kubernetes.io/docs/concepts/storage/storage-classes/",
    ),
    _waiting(
        "volume-elsewhere",
        r"volume node affinity conflict|Multi-Attach error|exceed max volume count",
        "The volume can't be used on any of the nodes that have room",
        "Use a storage class whose volumes all nodes can mount (ReadWriteMany), or workers on one node",
        "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes",
    ),
    _waiting(
        "quota-used-up",
        r"exceeded quota: (?P<quota>[\w.-]{1,253}), requested: (?P<asked>[\w.,/=-]{1,200}), used: "
        r"(?P<used>[\w.,/=-]{1,200}), limited: (?P<limit>[\w.,/=-]{1,200})",
        "The quota {quota} has no room: {asked} are asked for, {used} used, {limit} allowed",
        "End other jobs of the namespace, ask for less, or have the quota raised; the job starts by itself "
        "when there is room",
        _QUOTA,
    ),
    _waiting(
        "quota-wants-numbers",
        r"failed quota: (?P<quota>[\w.-]{1,253}): must specify (?P<what>[\w.,/: -]{1,200})",
        "The quota {quota} wants each pod to say {what}",
        "Set these under resources of every container in the template, init containers and sidecars too",
        _QUOTA,
    ),
    _waiting(
        "limit-range",
        r"(?P<kind>maximum|minimum) (?P<what>[\w.-]{1,40}) usage per (?:Container|Pod) is "
        r"(?P<limit>[\w.]{1,20})",
        "The namespace's LimitRange allows a {kind} of {limit} of {what}",
        "Change resources in the template, or have the LimitRange changed",
        "https://kubernetes.io/docs/concepts/policy/limit-range/",
    ),
    _waiting(
        "pod-security",
        r"violates PodSecurity \"(?P<level>[\w:.-]{1,40})\": (?P<what>[^\n;]{1,160})",
        "The namespace enforces the Pod Security Standard {level}, and the template breaks it: {what}",
        "Set these in the securityContext of the template, or run the job in another namespace",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    ),
    _waiting(
        "service-account",
        r"error looking up service account (?P<name>[\w./-]{1,200}): ",
        "There is no service account {name}",
        "Create it, or correct serviceAccountName in the template",
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
    ),
    _waiting(
        "priority-class",
        r"no PriorityClass with name (?P<name>[\w.-]{1,253}) was found",
        "There is no PriorityClass {name}",
        "Create it, or correct priorityClassName in the template",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/",
    ),
    _waiting(
        "no-gpu-nodes",
        r"(?P<short>\d{1,6}) Insufficient (?P<what>(?:nvidia|amd)\.com/[\w-]{1,30}(?:\.[\w-]{1,20}){0,2}"
        r"|google\.com/tpu|gpu\.intel\.com/\w{1,20})",
        "On {short} of the nodes no {what} is left for a pod",
        "Wait for others to end or for the autoscaler, or ask for fewer; 0 on all nodes: the device plugin "
        "does not run (kubectl describe node)",
        "https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/",
    ),
    _waiting(
        "no-room",
        r"(?P<short>\d{1,6}) Insufficient (?P<what>cpu|memory|ephemeral-storage|pods)",
        "On {short} of the nodes too little {what} is left for a pod",
        "Wait for others to end, or lower resources.requests; a pod that is larger than every node never "
        "starts",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ),
    _waiting(
        "taints-and-labels",
        r"had untolerated taint[^\n]{1,300}didn't match (?:Pod's )?node (?:affinity|selector)"
        r"|didn't match (?:Pod's )?node (?:affinity|selector)[^\n]{1,300}had untolerated taint",
        "Some nodes are tainted for others, and the rest do not have the labels that the template asks for",
        "Compare nodeSelector and affinity with kubectl get nodes --show-labels; if a tainted node is meant, "
        "add a toleration to the template",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/",
    ),
    _waiting(
        "tainted-nodes",
        r"had untolerated taint(?:\(s\)|s? (?P<taint>\{[^}\n]{1,120}\}|\([^)\n]{1,120}\)))",
        "Nodes are tainted for others[: {taint}]",
        "Add a toleration to the template if the job may run there",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/",
    ),
    _waiting(
        "no-such-node",
        r"didn't match (?:Pod's )?node (?:affinity|selector)",
        "No node has the labels that the template asks for",
        "Compare nodeSelector and affinity with kubectl get nodes --show-labels",
        _SCHEDULING,
    ),
)
