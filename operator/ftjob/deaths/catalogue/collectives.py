"""Ranks do not find each other, lose each other, or say different things."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where
from ftjob_protocol.failures import FailureClass

_NCCL_ENV = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html"
_NCCL = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html"
_TORCH = "https://docs.pytorch.org/docs/stable/distributed.html"
_HOROVOD = "https://horovod.readthedocs.io/en/stable/troubleshooting.html"
_PEER = r"Connection (?:closed by peer|reset by peer)|[Ss]ocket (?:c|C)losed|Broken pipe"

ROWS = (
    Row(
        "nccl-timeout",
        Where.SAID,
        r"Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=(?P<number>\d{1,12}), "
        r"OpType=(?P<operation>\w{1,40})[^\n]{0,200}Timeout\(ms\)=(?P<limit>\d{1,12})",
        "Not all ranks came to {operation} number {number} within {limit} ms",
        "Look for the rank that does something else meanwhile: an evaluation or a save on rank 0 alone, "
        "uneven data, an exception that was caught; watchdog.hangSeconds names it with its stack",
        f"{_TORCH}#torch.distributed.init_process_group",
    ),
    Row(
        "nccl-version",
        Where.SAID,
        r"Mismatched NCCL version detected[^\n]{0,8}rank (?P<one>\d{1,7}) version (?P<first>\d{1,9}) rank "
        r"(?P<two>\d{1,7}) version (?P<second>\d{1,9})",
        "Ranks {one} and {two} have different versions of NCCL ({first} and {second})",
        "Use one image, by digest, for all roles, and no LD_LIBRARY_PATH that finds another NCCL on some "
        "nodes",
        _NCCL,
    ),
    Row(
        "nccl-interface",
        Where.SAID,
        r"Bootstrap : no socket interface found"
        r"|NCCL_SOCKET_IFNAME set to (?P<name>[^\s]{1,40})[\s\S]{0,400}ncclSocketInit: connecting to address",
        "NCCL finds no network interface of the wanted name[ ({name})]",
        "Remove NCCL_SOCKET_IFNAME, or set it to a name that `ip address` shows in the pod (mostly eth0)",
        f"{_NCCL_ENV}#nccl-socket-ifname",
    ),
    Row(
        "nccl-duplicate-gpu",
        Where.SAID,
        r"Duplicate GPU detected : rank (?P<one>\d{1,7}) and rank (?P<two>\d{1,7}) both on CUDA device "
        r"(?P<device>\w{1,12})",
        "Ranks {one} and {two} use the same GPU ({device})",
        "Call torch.cuda.set_device(int(os.environ['LOCAL_RANK'])) before anything else; processesPerWorker "
        "must not exceed the GPUs of a pod",
        f"{_TORCH}#torch.distributed.init_process_group",
    ),
    Row(
        "nccl-system-error",
        Where.SAID,
        r"ncclSystemError: System call|ncclUnhandledCudaError|unhandled system error|unhandled cuda error",
        "NCCL's call of the system or of CUDA failed, and its reason was not logged",
        "Set NCCL_DEBUG=WARN and run again: the log then names the cause, such as /dev/shm, an interface or "
        "a driver",
        _NCCL,
    ),
    Row(
        "gloo-interface",
        Where.SAID,
        r"Unable to find (?:address|interface) for: (?P<name>[^\s\]]{1,60})|Unable to find interface "
        r"(?P<other>\w{1,40})",
        "Gloo finds no network interface or address [{name}][{other}]",
        "Remove GLOO_SOCKET_IFNAME (HOROVOD_GLOO_IFACE), or set it to a name that `ip address` shows in the "
        "pod",
        f"{_TORCH}#choosing-the-network-interface-to-use",
    ),
    Row(
        "store-timeout",
        Where.SAID,
        r"Timed out after (?P<seconds>\d{1,7}) seconds waiting for clients\. (?P<joined>\d{1,7}/\d{1,7}) "
        r"clients joined",
        "{joined} ranks joined the group within {seconds} s",
        "Each rank has to call init_process_group with the same world size: use the variables that ftjob "
        "sets, and look why the others came late or not at all",
        f"{_TORCH}#tcp-initialization",
    ),
    Row(
        "store-unreached",
        Where.SAID,
        r"client socket has timed out after \d{1,9}ms while trying to connect to \((?P<address>[^)\s]{1,120})"
        r"(?:, (?P<port>\d{1,5}))?\)|failed to connect to TCPStore",
        "The rank does not reach the store of rank 0[ at {address}][ port {port}]",
        "Leave MASTER_ADDR and MASTER_PORT as ftjob sets them; look for a NetworkPolicy or a firewall "
        "between the pods, and whether rank 0 has called init_process_group",
        f"{_TORCH}#environment-variable-initialization",
    ),
    Row(
        "not-launched",
        Where.RAISED,
        r"environment variable (?P<name>RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|LOCAL_RANK) expected, but "
        r"not set|KeyError: '(?P<key>RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT)'",
        "The script expects the variables of torchrun[ ({name})][ ({key})], and nobody has set them",
        "Use strategy: Torchrun",
        "https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables",
    ),
    Row(
        "no-process-group",
        Where.RAISED,
        r"Default process group has not been initialized",
        "torch.distributed is used before init_process_group",
        "Call torch.distributed.init_process_group() first, in each rank; under strategy Torchrun it needs "
        "no arguments",
        f"{_TORCH}#initialization",
    ),
    Row(
        "ddp-unused-parameters",
        Where.RAISED,
        r"Expected to have finished reduction in the prior iteration before starting a new one",
        "Some parameters of the model got no gradient in the last step, which DDP waits for",
        "Pass find_unused_parameters=True to DistributedDataParallel, or use all outputs of forward in the "
        "loss; TORCH_DISTRIBUTED_DEBUG=DETAIL names the parameters",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",
    ),
    Row(
        "ddp-models-differ",
        Where.RAISED,
        r"DDP expects same model across all ranks|\[(?P<rank>\d{1,7})\]: params?\[\d{1,6}\] in this process "
        r"with sizes|appears not to match (?:sizes|strides) of the same param in process 0",
        "The ranks have built different models",
        "Build the model from the same configuration in each rank: number of classes and vocabulary must "
        "not come from a rank's own part of the data",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",
    ),
    Row(
        "collective-mismatch",
        Where.SAID,
        r"Detected mismatch between collectives on ranks|op\.preamble\.length <= op\.nbytes"
        r"|NCCL WARN Mismatched collective detected",
        "The ranks call different collectives, or with tensors of different sizes",
        "Let each rank do the same operations in the same order and with the same shapes (drop_last=True "
        "for the last batch); TORCH_DISTRIBUTED_DEBUG=DETAIL names the first that differs",
        "https://docs.pytorch.org/docs/stable/distributed.html#debugging-torch-distributed-applications",
    ),
    Row(
        "horovod-mismatch",
        Where.SAID,
        r"Mismatched (?P<operation>allreduce|allgather|broadcast|alltoall|reducescatter|data types?|"
        r"MPI operations?)[^\n]{0,20}(?:tensor shapes|: One or more)",
        "Ranks have given Horovod tensors of different shape or type ({operation})",
        "Give the same tensors in each rank: the same model, and no batch of another size in what is "
        "exchanged",
        _HOROVOD,
    ),
    Row(
        "horovod-not-initialised",
        Where.RAISED,
        r"Horovod has not been initialized; use hvd\.init\(\)",
        "Horovod is used before hvd.init()",
        "Call hvd.init() once, first; with two frameworks in one process, that of each (horovod.torch, "
        "horovod.tensorflow)",
        "https://horovod.readthedocs.io/en/stable/summary_include.html#usage",
    ),
    Row(
        "horovod-without-framework",
        Where.RAISED,
        r"Extension horovod\.(?P<framework>\w{1,20}) has not been built",
        "The image's Horovod was built without support for {framework}",
        "Rebuild it with HOROVOD_WITH_TENSORFLOW=1 or HOROVOD_WITH_PYTORCH=1 beside the installed "
        "framework, or use the images of this project",
        "https://horovod.readthedocs.io/en/stable/install_include.html",
    ),
    Row(
        "port-in-use",
        Where.SAID,
        r"EADDRINUSE|\[Errno 98\] Address already in use|errno: 98 - Address already in use",
        "A port is taken by another process",
        "Take a free one (port 0), not a fixed number: ranks of a pod share its ports, with hostNetwork "
        "those of the node; leave MASTER_PORT as ftjob sets it",
        _TORCH,
    ),
    Row(
        "unknown-host",
        Where.SAID,
        r"\[Errno -[235]\] (?:Name or service not known|Temporary failure in name resolution|No address)"
        r"|gai error: -\d - |Failed to resolve '(?P<host>[^'\n]{1,120})'|Could not resolve host: "
        r"(?P<other>[^\s]{1,120})|Name or service not known",
        "A host's name could not be resolved[: {host}][: {other}]",
        "Look at the name; outside the cluster it needs egress to the DNS and to the host (NetworkPolicy, "
        "proxy), and names of pods exist once their pods do",
        "https://kubernetes.io/docs/tasks/administer-cluster/dns-debugging-resolution/",
    ),
    Row(
        "certificate",
        Where.RAISED,
        r"CERTIFICATE_VERIFY_FAILED",
        "A server's certificate is not signed by an authority that the image knows",
        "Install ca-certificates and your proxy's authority in the image, and set SSL_CERT_FILE and "
        "REQUESTS_CA_BUNDLE",
        "https://docs.python.org/3/library/ssl.html#ssl.SSLContext.load_verify_locations",
    ),
    Row(
        "hub-unreached",
        Where.RAISED,
        r"couldn't connect to '(?P<host>https?://[^'\s]{1,120})' to load|LocalEntryNotFoundError"
        r"|OfflineModeIsEnabled",
        "A model or data set is not in the cache, and its hub can't be reached[ ({host})]",
        "Put it into a volume beforehand, point HF_HOME there and set HF_HUB_OFFLINE=1; or allow the egress",
        "https://huggingface.co/docs/transformers/installation#offline-mode",
    ),
    Row(
        "hub-refuses",
        Where.RAISED,
        r"GatedRepoError|401 Client Error[^\n]{0,80}huggingface\.co|Access to model [^\n]{1,120} is "
        r"restricted",
        "The hub refuses a model that needs a login or a licence",
        "Accept its licence, and give the token as HF_TOKEN from a Secret (env.valueFrom.secretKeyRef)",
        "https://huggingface.co/docs/hub/models-gated",
    ),
    Row(
        "peer-lost",
        Where.SAID,
        rf"(?:gloo|NCCL|nccl|Horovod|Collective ops|TCPStore|DistNetworkError|DistBackendError|UNAVAILABLE"
        rf"|Unavailable)[\s\S]{{0,600}}(?:{_PEER}|[Tt]imed out waiting)|ncclRemoteError|HorovodInternalError"
        r"|stopped sending heartbeats|Application timeout caused pair closure",
        "Another rank went away in the middle of an exchange, and has left no word of its own",
        "Look at the other ranks' last lines and memory: one that is killed says nothing; then at the "
        "network between the nodes",
        _TORCH,
        reasons=(FailureClass.PEER_LOST,),
    ),
)
