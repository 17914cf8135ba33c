"""CUDA can't be used as the program means to."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/"

ROWS = (
    Row(
        "no-gpu",
        Where.RAISED,
        r"Found no NVIDIA driver on your system|No CUDA GPUs are available|no CUDA-capable device is "
        r"detected",
        "The rank sees no GPU",
        "Ask for one: resources.limits nvidia.com/gpu: 1 in the trainer; don't set CUDA_VISIBLE_DEVICES to "
        "nothing; on a machine without a GPU let the script choose the CPU",
        "https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/",
    ),
    Row(
        "torch-without-cuda",
        Where.RAISED,
        r"Torch not compiled with CUDA enabled",
        "The torch in this image is built for the CPU alone",
        "Install a build of torch for CUDA in the image, or let the script choose the CPU",
        "https://pytorch.org/get-started/locally/",
    ),
    Row(
        "driver-too-old",
        Where.SAID,
        r"The NVIDIA driver on your system is too old \(found version (?P<version>\d{1,6})\)"
        r"|CUDA driver version is insufficient for CUDA runtime version",
        "The node's NVIDIA driver is older than this image's CUDA[ (the driver offers {version})]",
        "Use an image for an older CUDA, or have the node's driver updated; a nodeSelector can choose newer "
        "nodes",
        _COMPATIBILITY,
    ),
    Row(
        "driver-mismatch",
        Where.SAID,
        r"Failed to initialize NVML: Driver/library version mismatch",
        "The node's driver was updated, and its kernel module is still the old one",
        "Have the node rebooted; until then keep the job from it by an affinity",
        _COMPATIBILITY,
    ),
    Row(
        "gpu-not-supported",
        Where.SAID,
        r"no kernel image is available for execution on the device"
        r"|with CUDA capability (?P<arch>sm_\d{1,4}[a-z]?) is not compatible",
        "A library in this image is not built for the node's kind of GPU[ ({arch})]",
        "Use a torch, or rebuild the extension, for that kind (TORCH_CUDA_ARCH_LIST), or choose other nodes",
        "https://docs.pytorch.org/docs/stable/cpp_extension.html",
    ),
    Row(
        "device-ordinal",
        Where.RAISED,
        r"CUDA error: invalid device ordinal",
        "The rank asks for a GPU that its pod does not have",
        "Use LOCAL_RANK, not RANK, as the number of the device; processesPerWorker must not exceed the GPUs "
        "that the trainer asks for",
        "https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables",
    ),
    Row(
        "fork-after-cuda",
        Where.SAID,
        r"Cannot re-initialize CUDA in forked subprocess",
        "A process was forked after CUDA had been used, and uses it too",
        "Start workers before CUDA is used, or by spawn: multiprocessing_context='spawn' of the DataLoader; "
        "let data sets return tensors on the CPU",
        "https://docs.pytorch.org/docs/stable/notes/multiprocessing.html#cuda-in-multiprocessing",
    ),
    Row(
        "device-side-assert",
        Where.SAID,
        r"device-side assert triggered",
        "A kernel was given values out of range: mostly a label or a token that is not below the number of "
        "classes",
        "Compare the data with the sizes of the last layer and of the embeddings; run once on the CPU, or "
        "with CUDA_LAUNCH_BLOCKING=1, for the line",
        "https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution",
    ),
    Row(
        "illegal-memory-access",
        Where.SAID,
        r"an illegal memory access was encountered|CUDA_ERROR_ILLEGAL_ADDRESS",
        "A kernel has read or written outside of its memory: a fault in a custom kernel or library",
        "Run once with CUDA_LAUNCH_BLOCKING=1 for the line; update torch and the extensions",
        "https://docs.nvidia.com/compute-sanitizer/ComputeSanitizer/index.html",
    ),
    Row(
        "gpu-broken",
        Where.SAID,
        r"uncorrectable ECC error encountered|CUDA_ERROR_ECC_UNCORRECTABLE|GPU has fallen off the bus"
        r"|CUDA error: unspecified launch failure",
        "The GPU is faulty, or its driver has lost it",
        "Have the node looked at (Xid in its kernel log) and keep the job from it by an affinity; "
        "restart.limit lets the next attempt run elsewhere",
        "https://docs.nvidia.com/deploy/xid-errors/index.html",
    ),
)
