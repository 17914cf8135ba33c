"""No memory is left: of the GPU, of the container, or shared memory."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where
from ftjob_protocol.reasons import Reason

_SIZE = r"[\d.]{1,12} (?:bytes|[KMGT]iB)"
_TORCH_CUDA = "https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management"
_SHM = "https://docs.pytorch.org/docs/stable/multiprocessing.html#sharing-strategies"

ROWS = (
    Row(
        "cuda-out-of-memory",
        Where.SAID,
        rf"CUDA out of memory\. Tried to allocate (?P<asked>{_SIZE})"
        rf"(?:[^\n]{{0,40}}total capac[it]{{1,2}}y of (?P<total>{_SIZE}) of which (?P<free>{_SIZE}) is free"
        rf"|[^\n]{{0,20}}; (?P<all>{_SIZE}) total capacity)?",
        "The GPU has no memory for another {asked}[: {free} of {total} are free][ (it has {all})]",
        "Use a smaller batch and accumulate gradients, or activation checkpointing, bf16 or FSDP; if much is "
        "reserved but unallocated, set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
        _TORCH_CUDA,
    ),
    Row(
        "tensorflow-gpu-out-of-memory",
        Where.SAID,
        r"OOM when allocating tensor with "
        r"shape\[(?P<shape>[\d,]{0,80})\][^\n]{0,160}device:GPU:(?P<gpu>\d{1,3})",
        "GPU {gpu} has no memory for a tensor of shape ({shape})",
        "Use a smaller batch or mixed precision; if several ranks share the GPU, call "
        "tf.config.experimental.set_memory_growth first",
        "https://www.tensorflow.org/guide/gpu#limiting_gpu_memory_growth",
    ),
    Row(
        "tensorflow-out-of-memory",
        Where.SAID,
        r"OOM when allocating tensor with shape\[(?P<shape>[\d,]{0,80})\]",
        "There is no memory for a tensor of shape ({shape})",
        "Use a smaller batch, or raise resources.limits.memory of the trainer",
        "https://www.tensorflow.org/guide/data_performance#reducing_memory_footprint",
    ),
    Row(
        "cuda-library-out-of-memory",
        Where.SAID,
        r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUDA error: out of memory"
        r"|CUDA_ERROR_OUT_OF_MEMORY",
        "The GPU has no memory left, or another process uses it",
        "Use a smaller batch; look with nvidia-smi whether another rank or job is on the same GPU",
        _TORCH_CUDA,
    ),
    Row(
        "jax-out-of-memory",
        Where.SAID,
        r"RESOURCE_EXHAUSTED: Out of memory (?:while trying to allocate|allocating) (?P<bytes>\d{1,18}) "
        r"bytes",
        "The device has no memory for another {bytes}",
        "Use a smaller batch, or shard the arrays over more devices; on a GPU that is shared set "
        "XLA_PYTHON_CLIENT_PREALLOCATE=false",
        "https://docs.jax.dev/en/latest/gpu_memory_allocation.html",
    ),
    Row(
        "container-out-of-memory",
        Where.SAID,
        r"",
        "The kernel has killed a process because the trainer's memory limit is reached",
        "Raise resources.limits.memory of the trainer; or keep less in memory: fewer loader workers, a "
        "smaller prefetch, no whole data set in a list (/dev/shm counts, too)",
        "https://kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource/",
        reasons=(Reason.OOM_KILLED,),
    ),
    Row(
        "torch-host-out-of-memory",
        Where.SAID,
        r"DefaultCPUAllocator: (?:can't allocate memory: you tried to allocate|not enough memory: you tried "
        r"to allocate) (?P<bytes>\d{1,20}) bytes",
        "The machine has no memory for a tensor of {bytes}",
        "Look at the shape of that tensor; if it is right, use a smaller batch or raise "
        "resources.limits.memory",
        "https://docs.pytorch.org/docs/stable/notes/faq.html",
    ),
    Row(
        "numpy-out-of-memory",
        Where.RAISED,
        r"MemoryError: Unable to allocate (?P<asked>[\d.]{1,12} [KMGTPE]?i?B(?:ytes)?) for an array with "
        r"shape \((?P<shape>[\d, ]{0,80})\)",
        "The machine has no memory for an array of {asked}, shape ({shape})",
        "Read the data in parts (numpy.memmap, a generator), use a smaller type, or raise "
        "resources.limits.memory",
        "https://numpy.org/doc/stable/reference/generated/numpy.memmap.html",
    ),
    Row(
        "python-out-of-memory",
        Where.SAID,
        r"(?:^|\n)MemoryError\b|std::bad_alloc|\[Errno 12\] Cannot allocate memory",
        "The machine gives the process no more memory",
        "Raise resources.limits.memory of the trainer, or keep less in memory; see the memory in system/ of "
        "the outputs",
        "https://docs.python.org/3/library/exceptions.html#MemoryError",
    ),
    Row(
        "shm-nccl",
        Where.SAID,
        r"Error while creating shared memory segment /dev/shm/nccl-[\w-]{1,40} \(size (?P<bytes>\d{1,18})\)"
        r"|failed to extend /dev/shm/nccl-[\w-]{1,40} to (?P<more>\d{1,18}) bytes",
        "/dev/shm is too small for NCCL[, which wants {bytes} there]",
        "/dev/shm is as large as the trainer's memory limit: raise resources.limits.memory, remove a smaller "
        "/dev/shm of your own from the template, or set NCCL_SHM_DISABLE=1",
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html#shared-memory",
    ),
    Row(
        "shm-data-loader",
        Where.SAID,
        r"DataLoader worker \(pid(?:\(s\))? [\d, ]{1,80}\) is killed by signal: Bus error"
        r"|Unexpected bus error encountered in worker",
        "/dev/shm is too small for the batches that the loader's workers hand over",
        "/dev/shm is as large as the trainer's memory limit: raise resources.limits.memory, remove a smaller "
        "/dev/shm of your own from the template, or lower num_workers or prefetch_factor",
        _SHM,
    ),
    Row(
        "shm-full",
        Where.SAID,
        r"unable to (?:write to|mmap|resize|allocate shared memory\(shm\) for) (?:file )?</torch_[\w-]{1,60}>"
        r"[^\n]{0,60}(?:No space left on device|Cannot allocate memory)|\[Errno 28\][^\n]{0,60}/dev/shm/",
        "/dev/shm is full",
        "/dev/shm is as large as the trainer's memory limit: raise resources.limits.memory, or lower "
        "num_workers or prefetch_factor",
        _SHM,
    ),
)
