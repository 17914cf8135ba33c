"""Messages of each known way to die, as somebody has met them: facts, with where they were read.

`RUN` are those that tests/local/test_deaths.py provokes with the installed versions.
"""

from __future__ import annotations

from dataclasses import dataclass

RUN = "tests/local/test_deaths.py"
GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Recorded:
    """One message."""

    row: str
    """The row of the catalogue that knows it."""
    text: str
    """What the exception, the output, the pod or the condition says."""
    source: str
    shows: tuple[str, ...] = ()
    """What the hint takes from it: names and sizes."""
    reason: str = "Exception"
    exit_code: int | None = 1


def _output(row: str, text: str, source: str, *shows: str, reason: str = "Exit", code: int = 1) -> Recorded:
    return Recorded(row, text, source, shows, reason, code)


def _waits(row: str, text: str, source: str, *shows: str) -> Recorded:
    return Recorded(row, text, source, shows, "", None)


def _ended(row: str, reason: str, text: str, source: str, *shows: str) -> Recorded:
    return Recorded(row, text, source, shows, reason, 137)


MEMORY = (
    Recorded(
        "cuda-out-of-memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total "
        "capacity of 31.47 GiB of which 12.73 GiB is free. Including non-PyTorch memory, this process has "
        "18.73 GiB memory in use.",
        f"{GITHUB}murong-xu/CADS/issues/4",
        ("22.78 GiB", "31.47 GiB", "12.73 GiB"),
    ),
    Recorded(
        "cuda-out-of-memory",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.70 GiB. GPU 0 has a total "
        "capacty of 6.00 GiB of which 0 bytes is free.",
        f"{GITHUB}carolchenyx/MGFN./issues/35",
        ("1.70 GiB", "6.00 GiB", "0 bytes"),
    ),
    Recorded(
        "cuda-out-of-memory",
        "RuntimeError: CUDA out of memory. Tried to allocate 2.26 GiB (GPU 0; 6.00 GiB total capacity; "
        "781.59 MiB already allocated; 3.03 GiB free)",
        f"{GITHUB}pytorch/pytorch/issues/59778",
        ("2.26 GiB", "6.00 GiB"),
    ),
    Recorded(
        "tensorflow-gpu-out-of-memory",
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with "
        "shape[64,256,56,56] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by allocator "
        "GPU_0_bfc",
        "tensorflow/core/common_runtime/bfc_allocator.cc, tensorflow/core/framework/op_kernel.cc",
        ("64,256,56,56", "GPU 0"),
    ),
    Recorded(
        "tensorflow-out-of-memory",
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node __wrapped__Fill}} "
        "OOM when allocating tensor with shape[1048576,1048576] and type float on "
        "/job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu [Op:Fill] name: ",
        RUN,
        ("1048576,1048576",),
    ),
    Recorded(
        "cuda-library-out-of-memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "aten/src/ATen/cuda/CublasHandlePool.cpp",
    ),
    Recorded(
        "jax-out-of-memory",
        "jaxlib._jax.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 4398046511104 bytes.",
        RUN,
        ("4 TiB",),
    ),
    Recorded(
        "container-out-of-memory",
        "rank 1 was killed by the kernel",
        "tests/cluster/test_scenarios.py",
        (),
        "OOMKilled",
        137,
    ),
    Recorded(
        "torch-host-out-of-memory",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)",
        RUN,
        ("4 TiB",),
    ),
    Recorded(
        "numpy-out-of-memory",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 TiB for an array with shape "
        "(1048576, 1048576) and data type float64",
        RUN,
        ("8.00 TiB", "1048576, 1048576"),
    ),
    Recorded("python-out-of-memory", "MemoryError", RUN),
    _output(
        "python-out-of-memory",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
        "rank 0 was killed by SIGABRT",
        "libstdc++ (N4950 18.6.4.1)",
        reason="Signal",
        code=134,
    ),
    _output(
        "shm-nccl",
        "misc/shmutils.cc:88 NCCL WARN Error: failed to extend /dev/shm/nccl-WU88OE to 9637892 bytes, "
        "error: No space left on device (28)\nmisc/shmutils.cc:132 NCCL WARN Error while creating shared "
        "memory segment /dev/shm/nccl-WU88OE (size 9637888), error: No space left on device (28)",
        f"{GITHUB}pytorch/ci-infra/pull/490",
        "/dev/shm",
    ),
    Recorded(
        "shm-data-loader",
        "RuntimeError: DataLoader worker (pid 11011) is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory. Please try to raise your shared memory limit.",
        f"{GITHUB}pytorch/pytorch/issues/108861",
    ),
    Recorded(
        "shm-full",
        "RuntimeError: unable to write to file </torch_18692_1954506624>: No space left on device (28)",
        "aten/src/ATen/MapAllocator.cpp",
    ),
)
GPUS = (
    Recorded(
        "no-gpu",
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
        "installed a driver from http://www.nvidia.com/Download/index.aspx",
        RUN,
    ),
    Recorded(
        "torch-without-cuda", "AssertionError: Torch not compiled with CUDA enabled", "torch/cuda/__init__.py"
    ),
    Recorded(
        "driver-too-old",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update "
        "your GPU driver",
        f"{GITHUB}lllyasviel/Fooocus/issues/1313",
        ("11040",),
    ),
    _output(
        "driver-mismatch",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124",
        f"{GITHUB}tinygrad/open-gpu-kernel-modules/issues/47",
    ),
    Recorded(
        "gpu-not-supported",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\nCUDA kernel "
        "errors might be asynchronously reported at some other API call, so the stacktrace below might be "
        "incorrect.",
        f"{GITHUB}Comfy-Org/ComfyUI/issues/10326",
    ),
    Recorded(
        "device-ordinal",
        "torch.AcceleratorError: CUDA error: invalid device ordinal",
        "cudaErrorInvalidDevice",
    ),
    Recorded(
        "fork-after-cuda",
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
        "you must use the 'spawn' start method",
        f"{GITHUB}facebookresearch/pycls/issues/183",
    ),
    Recorded(
        "device-side-assert",
        "RuntimeError: CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously "
        "reported",
        f"{GITHUB}karpathy/nanoGPT/issues/470",
    ),
    Recorded(
        "illegal-memory-access",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "cudaErrorIllegalAddress",
    ),
    Recorded(
        "gpu-broken",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "cudaErrorECCUncorrectable",
    ),
)
COLLECTIVES = (
    _output(
        "nccl-timeout",
        "[rank1]:[E626 06:24:44.903881913 ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective "
        "operation timeout: WorkNCCL(SeqNum=808, OpType=ALLREDUCE, NumelIn=9801523, NumelOut=9801523, "
        "Timeout(ms)=600000) ran for 600020 milliseconds before timing out.",
        f"{GITHUB}XPixelGroup/BasicSR/issues/737",
        "ALLREDUCE",
        "808",
        "600000",
        reason="Signal",
        code=134,
    ),
    Recorded(
        "nccl-version",
        "torch.distributed.DistBackendError: NCCL error: invalid usage\nncclInvalidUsage: This usually "
        "reflects invalid usage of NCCL library.\nLast error:\nMismatched NCCL version detected : rank 1 "
        "version 22705 rank 0 version 22703",
        "NVIDIA/nccl src/init.cc",
        ("22705", "22703"),
    ),
    _output(
        "nccl-interface",
        "NCCL INFO NCCL_SOCKET_IFNAME set to eth2\nncclInternalError: Internal check failed.\nLast error:\n"
        "ncclSocketInit: connecting to address  with family 59936 is neither AF_INET(2) nor AF_INET6(10)",
        f"{GITHUB}NVIDIA/nccl/issues/1837",
        "eth2",
    ),
    _output(
        "nccl-interface",
        "NCCL WARN Bootstrap : no socket interface found",
        f"{GITHUB}marin-community/marin/issues/6940",
    ),
    Recorded(
        "nccl-duplicate-gpu",
        "torch.distributed.DistBackendError: NCCL error in: "
        "../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1691, invalid usage (run with NCCL_DEBUG=WARN "
        "for details), NCCL version 2.19.3\nncclInvalidUsage: This usually reflects invalid usage of NCCL "
        "library.\nLast error:\nDuplicate GPU detected : rank 0 and rank 1 both on CUDA device 2000",
        f"{GITHUB}Peterande/D-FINE/issues/289",
        ("0", "1", "2000"),
    ),
    Recorded(
        "nccl-system-error",
        "RuntimeError: NCCL error in: /pytorch/torch/lib/c10d/ProcessGroupNCCL.cpp:410, unhandled system "
        "error, NCCL version 2.4.8",
        f"{GITHUB}NVIDIA/nccl/issues/286",
    ),
    Recorded(
        "gloo-interface",
        "RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:83] ifa != nullptr. Unable to find "
        "address for: nosuchif",
        RUN,
        ("nosuchif",),
    ),
    Recorded(
        "store-timeout",
        "torch.distributed.DistStoreError: Timed out after 2 seconds waiting for clients. 1/2 clients "
        "joined.",
        RUN,
        ("1/2", "2 s"),
    ),
    Recorded(
        "store-unreached",
        "torch.distributed.DistNetworkError: The client socket has timed out after 2000ms while trying to "
        "connect to (127.0.0.1, 29999).",
        RUN,
        ("127.0.0.1", "29999"),
    ),
    Recorded(
        "not-launched",
        "ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable "
        "RANK expected, but not set",
        RUN,
        ("RANK",),
    ),
    Recorded("not-launched", "KeyError: 'LOCAL_RANK'", RUN, ("LOCAL_RANK",)),
    Recorded(
        "no-process-group",
        "ValueError: Default process group has not been initialized, please make sure to call "
        "init_process_group.",
        RUN,
    ),
    Recorded(
        "ddp-unused-parameters",
        "RuntimeError: Expected to have finished reduction in the prior iteration before starting a new "
        "one. This error indicates that your module has parameters that were not used in producing loss.",
        RUN,
    ),
    Recorded(
        "ddp-models-differ",
        "RuntimeError: DDP expects same model across all ranks, but Rank 0 has 2 params, while rank 1 has "
        "inconsistent 0 params.",
        RUN,
    ),
    Recorded(
        "collective-mismatch",
        "RuntimeError: [enforce fail at gloo/transport/tcp/pair.cc:456] op.preamble.length <= op.nbytes. 8 "
        "vs 4",
        "gloo/transport/tcp/pair.cc",
    ),
    Recorded(
        "horovod-mismatch",
        "horovod.common.exceptions.HorovodInternalError: Mismatched allreduce tensor shapes: One or more "
        "ranks sent tensors with a different shape",
        "horovod/common/controller.cc",
        ("allreduce",),
    ),
    Recorded(
        "horovod-not-initialised",
        "ValueError: Horovod has not been initialized; use hvd.init().",
        RUN,
    ),
    Recorded(
        "horovod-without-framework",
        "ImportError: Extension horovod.mxnet has not been built: /x/horovod/mxnet/mpi_lib.so not found\nIf "
        "this is not expected, reinstall Horovod with HOROVOD_WITH_MXNET=1 to debug the build error.",
        "horovod/common/util.py",
        ("mxnet",),
    ),
    Recorded("port-in-use", "OSError: [Errno 98] Address already in use", RUN),
    Recorded(
        "port-in-use",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network "
        "address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        RUN,
    ),
    Recorded("unknown-host", "socket.gaierror: [Errno -2] Name or service not known", RUN),
    Recorded(
        "unknown-host",
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max "
        "retries exceeded (Caused by NameResolutionError(\"Failed to resolve 'huggingface.co' ([Errno -3] "
        "Temporary failure in name "
        'resolution)"))',
        "urllib3/exceptions.py",
    ),
    Recorded(
        "certificate",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
        "self-signed certificate in certificate chain (_ssl.c:1000)",
        "OpenSSL, by CPython's Modules/_ssl.c",
    ),
    Recorded(
        "hub-unreached",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them "
        "in the cached files.",
        "transformers/utils/hub.py",
        ("https://huggingface.co",),
    ),
    Recorded(
        "hub-refuses",
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-6)",
        "huggingface_hub/errors.py",
    ),
    Recorded(
        "peer-lost",
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer "
        "[127.0.0.1]:38275",
        RUN,
        reason="PeerLost",
    ),
)
FRAMEWORKS = (
    Recorded(
        "horovod-keras-3",
        "AttributeError: 'Variable' object has no attribute 'ref'",
        f"{GITHUB}horovod/horovod/issues/4290",
        ("TF_USE_LEGACY_KERAS=1",),
    ),
    Recorded(
        "multi-worker-keras-3",
        "ValueError: Attempt to convert a value (PerReplica:{\n  0: <tf.Tensor: shape=(), dtype=float32, "
        "numpy=0.5>\n}) with an unsupported type (<class 'tensorflow.python.distribute.values.PerReplica'>) "
        "to a Tensor.",
        "tensorflow/python/framework/constant_op.py",
        ("TF_USE_LEGACY_KERAS=1",),
    ),
    Recorded(
        "tf-config",
        "ValueError: `task_type` 'chief' not in cluster_spec",
        "tensorflow/python/distribute/multi_worker_util.py",
    ),
    Recorded(
        "collective-ops-late",
        "RuntimeError: Collective ops must be configured at program startup",
        "tensorflow/python/eager/context.py",
    ),
    Recorded(
        "batch-not-divisible",
        "ValueError: The `batch_size` argument (65) must be divisible the by number of replicas (2)",
        "keras/src/engine/training_utils.py",
    ),
    _output(
        "torch-before-tensorflow",
        ": CommandLine Error: Option 'help-list' registered more than once!\nLLVM ERROR: inconsistency in "
        "registered CommandLine options\nrank 0 was killed by SIGABRT",
        f"{GITHUB}tensorflow/tensorflow/issues/62678",
        reason="Signal",
        code=134,
    ),
    Recorded(
        "jax-initialise-late",
        "RuntimeError: jax.distributed.initialize() must be called before any JAX calls that might "
        "initialise the XLA backend.",
        RUN,
    ),
    Recorded(
        "jax-no-backend",
        "RuntimeError: Unable to initialize backend 'cuda': no supported devices found for platform CUDA",
        "jax/_src/xla_bridge.py",
        ("cuda",),
    ),
    Recorded(
        "no-compiler",
        "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found in "
        "torch._inductor.config.cpp.cxx: (None, 'g++')",
        "torch/_inductor/exc.py",
    ),
    Recorded(
        "cuda-home",
        "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
        RUN,
    ),
    Recorded(
        "protobuf",
        "TypeError: Descriptors cannot be created directly.\nIf this call came from a _pb2.py file, your "
        "generated code is out of date and must be regenerated with protoc >= 3.19.0.",
        f"{GITHUB}protocolbuffers/protobuf/issues/10064",
    ),
    Recorded(
        "numpy-abi",
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C "
        "header, got 88 from PyObject",
        f"{GITHUB}cyndilib/cyndilib/issues/5",
    ),
)
DATA = (
    Recorded(
        "loader-worker-killed",
        "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. ",
        RUN,
        ("4711",),
    ),
    Recorded(
        "loader-worker-crashed",
        "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Segmentation fault. ",
        RUN,
        ("Segmentation fault",),
    ),
    Recorded(
        "loader-worker-exited",
        "RuntimeError: DataLoader worker (pid(s) 4711) exited unexpectedly",
        RUN,
        ("4711",),
    ),
    Recorded("open-files", "OSError: [Errno 24] Too many open files: '/data/part-1.npy'", RUN),
    Recorded(
        "no-more-threads", "RuntimeError: can't start new thread", f"{GITHUB}chroma-core/chroma/issues/1682"
    ),
    _output(
        "no-more-threads",
        "OMP: Error #34: System unable to allocate necessary resources for OMP thread:\nOMP: System error "
        "#11: Resource temporarily unavailable",
        f"{GITHUB}pgiri/dispy/issues/160",
    ),
    Recorded(
        "main-guard",
        "RuntimeError: \n        An attempt has been made to start a new process before the\n        "
        "current process has finished its bootstrapping phase.",
        RUN,
    ),
    Recorded(
        "not-picklable",
        "_pickle.PicklingError: Can't pickle local object <function f.<locals>.<lambda>>",
        RUN,
    ),
)
STORAGE = (
    Recorded(
        "checkpoint-of-ddp",
        "RuntimeError: Error(s) in loading state_dict for Linear:\n\tMissing key(s) in state_dict: "
        '"weight", "bias". \n\tUnexpected key(s) in state_dict: "module.weight", "module.bias". ',
        RUN,
        ("Linear",),
    ),
    Recorded(
        "checkpoint-other-model",
        "RuntimeError: Error(s) in loading state_dict for Linear:\n\tsize mismatch for weight: copying a "
        "param with shape torch.Size([2, 2]) from checkpoint, the shape in current model is torch.Size([3, "
        "2]).",
        RUN,
        ("Linear",),
    ),
    Recorded(
        "checkpoint-cut-off",
        "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory",
        RUN,
    ),
    Recorded(
        "checkpoint-weights-only",
        "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you "
        "have two options, do those steps only if you trust the source of the checkpoint.",
        RUN,
    ),
    Recorded(
        "checkpoint-of-cuda",
        "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
        "False.",
        "torch/serialization.py",
    ),
    Recorded(
        "checkpoint-keras",
        "ValueError: Layer 'dense' expected 2 variables, but received 0 variables during loading. Expected: "
        "['kernel', 'bias']",
        "keras/src/saving/saving_lib.py",
    ),
    Recorded(
        "checkpoint-not-there",
        "tensorflow.python.framework.errors_impl.NotFoundError: Unsuccessful TensorSliceReader constructor: "
        "Failed to find any matching files for /nowhere/ckpt-1",
        RUN,
        ("/nowhere/ckpt-1",),
    ),
    Recorded(
        "hdf5-damaged",
        "OSError: Unable to synchronously open file (file signature not found)",
        RUN,
    ),
    Recorded("no-space", "OSError: [Errno 28] No space left on device", RUN),
    Recorded(
        "no-space", "OSError: [Errno 28] No space left on device: '/data/ckpt'", "errno(3)", ("/data/ckpt",)
    ),
    Recorded(
        "disk-quota",
        "OSError: [Errno 122] Disk quota exceeded: '/home/u/ckpt'",
        "errno(3)",
        ("/home/u/ckpt",),
    ),
    Recorded(
        "read-only", "OSError: [Errno 30] Read-only file system: '/opt/cache'", "errno(3)", ("/opt/cache",)
    ),
    Recorded("not-writable", "PermissionError: [Errno 13] Permission denied: '/etc/x'", RUN, ("/etc/x",)),
    Recorded("stale-handle", "OSError: [Errno 116] Stale file handle: '/mnt/a'", "errno(3)", ("/mnt/a",)),
)
NUMBERS = (
    Recorded(
        "nan-in-backward",
        "RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.",
        RUN,
        ("SqrtBackward0",),
    ),
    Recorded(
        "nan-gradient-norm",
        "RuntimeError: The total norm of order 2.0 for gradients from `parameters` is non-finite, so it "
        "cannot be clipped.",
        RUN,
    ),
    Recorded(
        "nan-in-tensor",
        "tensorflow.python.framework.errors_impl.InvalidArgumentError: {{function_node "
        "__wrapped__CheckNumerics}} x : Tensor had NaN values [Op:CheckNumerics]",
        RUN,
    ),
    Recorded("nan-in-tensor", "FloatingPointError: invalid value (nan) encountered in log", RUN),
    Recorded("nan-loss", "AssertionError: loss is nan at step 12", RUN),
    Recorded(
        "nan-loss", "ValueError: The loss returned in `training_step` is nan.", "lightning/pytorch/utilities"
    ),
)
PROGRAMS = (
    Recorded(
        "undefined-symbol",
        "ImportError: /opt/lib/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol: "
        "_ZN3c104cuda9SetDeviceEi",
        "ld.so(8)",
        ("flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so",),
    ),
    Recorded(
        "shared-library",
        "OSError: libcudnn.so.9: cannot open shared object file: No such file or directory",
        RUN,
        ("libcudnn.so.9",),
    ),
    Recorded(
        "libc-too-old",
        "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by "
        "/x/flash_attn_2_cuda.so)",
        f"{GITHUB}huggingface/lerobot/issues/2219",
        ("GLIBC_2.32",),
    ),
    Recorded("module-missing", "ModuleNotFoundError: No module named 'apex'", RUN, ("apex",)),
    _output(
        "script-missing",
        "python3: can't open file '/app/train.py': [Errno 2] No such file or directory",
        RUN,
        "/app/train.py",
        code=2,
    ),
    _output("windows-line-ends", "bash: line 1: $'\\r': command not found", RUN, code=127),
    _output(
        "windows-line-ends", "/usr/bin/env: 'bash\\r': No such file or directory", "coreutils' env", code=127
    ),
    _output(
        "wrong-architecture",
        "bash: line 1: /app/train: cannot execute binary file: Exec format error",
        RUN,
        code=126,
    ),
    _output(
        "wrong-processor",
        "The TensorFlow library was compiled to use AVX instructions, but these aren't available on your "
        "machine.",
        "tensorflow/core/platform/cpu_feature_guard.cc",
        "AVX",
        code=134,
    ),
    _output("wrong-processor", "rank 0 was killed by SIGILL", RUN, reason="Signal", code=132),
    _output("command-not-found", "bash: line 1: trian: command not found", RUN, "trian", code=127),
    _output("command-not-found", "sh: 1: trian: not found", "dash", "trian", code=127),
    _ended(
        "start-error",
        "StartError",
        "the trainer of pod x ended with exit code 128 (StartError)\nfailed to create containerd task: "
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
        "container process: error during container init: error mounting",
        "opencontainers/runc",
        "mount",
    ),
    _output("not-executable", "bash: line 1: ./train.sh: Permission denied", RUN, "./train.sh", code=126),
    _output("killed", "rank 0 was killed by SIGKILL", RUN, reason="Signal", code=137),
)
CLUSTER = (
    _ended(
        "evicted-node-low",
        "TerminationByKubelet",
        "the pod was told to end (SIGTERM)\nThe node was low on resource: ephemeral-storage. Threshold "
        "quantity: 16023864137, available: 12671572Ki. Container build was using 1639680Ki, request is 0, "
        "has larger consumption of ephemeral-storage.",
        f"{GITHUB}cloud-pi-native/socle/pull/532",
        "ephemeral-storage",
        "build",
        "1639680Ki",
    ),
    _ended(
        "evicted-node-low",
        "Evicted",
        "The node was low on resource: ephemeral-storage. Container x was using 34260Ki, which exceeds its "
        "request of 0. ",
        f"{GITHUB}kubernetes/kubernetes/issues/91600",
        "34260Ki",
    ),
    _ended(
        "evicted-own-limit",
        "Evicted",
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Gi. ",
        "kubernetes/kubernetes pkg/kubelet/eviction/helpers.go",
        "limit of 5Gi allows",
    ),
    _ended(
        "evicted-empty-dir",
        "Evicted",
        'Usage of EmptyDir volume "cache" exceeds the limit "256Mi". ',
        "kubernetes/kubernetes pkg/kubelet/eviction/helpers.go",
        "cache",
        "256Mi",
    ),
    _ended(
        "preempted",
        "PreemptionByScheduler",
        "the pod was told to end (SIGTERM)\ndefault-scheduler: preempting to accommodate a higher priority "
        "pod",
        "kubernetes/kubernetes pkg/scheduler/framework/preemption",
    ),
)
WAITING = (
    _waits(
        "image-rate-limit",
        "ErrImagePull: rpc error: code = Unknown desc = reading manifest v3.6.0 in "
        "docker.io/openshift/hello-openshift: toomanyrequests: You have reached your unauthenticated pull "
        "rate limit.",
        f"{GITHUB}arquillian/arquillian-cube/issues/1423",
    ),
    _waits(
        "image-access",
        "ErrImagePull: rpc error: code = Unknown desc = Error response from daemon: pull access denied for "
        "octarinesec/guardrails-enforcer, repository does not exist or may require 'docker login'",
        f"{GITHUB}octarinesec/octarine-operator/issues/15",
    ),
    _waits(
        "image-not-found",
        "ErrImagePull: rpc error: code = Unknown desc = Error response from daemon: manifest for "
        "drainnode/leader:v1.0-rc9 not found: manifest unknown: manifest unknown",
        f"{GITHUB}mattmattox/drain-node-on-crash/issues/7",
    ),
    _waits(
        "image-platform",
        'ErrImagePull: failed to pull and unpack image "docker.io/library/x:1": no match for platform in '
        "manifest: not "
        "found",
        "containerd/platforms",
    ),
    _waits(
        "registry-unreached",
        'ErrImagePull: failed to pull and unpack image "docker.io/library/x:1": failed to resolve '
        'reference: failed to do request: Head "https://registry-1.docker.io/v2/library/x/manifests/1": '
        "dial tcp: lookup registry-1.docker.io: no "
        "such host",
        "tests/cluster/test_scenarios.py",
    ),
    _waits(
        "image-name",
        'InvalidImageName: Failed to apply default image tag "A:b:c": couldn\'t parse image name',
        "kubernetes/kubernetes pkg/kubelet/images/image_manager.go",
    ),
    _waits(
        "image-never",
        'ErrImageNeverPull: Container image "x:1" is not present with pull policy of Never',
        "kubernetes/kubernetes pkg/kubelet/images/image_manager.go",
    ),
    _waits(
        "image-pull",
        'ImagePullBackOff: Back-off pulling image "drainnode/leader:v1.0-rc9"',
        f"{GITHUB}mattmattox/drain-node-on-crash/issues/7",
        "drainnode/leader:v1.0-rc9",
    ),
    _waits(
        "key-missing",
        "CreateContainerConfigError: couldn't find key token in Secret ml/hub",
        "kubernetes/kubernetes pkg/kubelet/kubelet_pods.go",
        "token",
        "ml/hub",
    ),
    _waits(
        "object-missing",
        'CreateContainerConfigError: secret "hub" not found',
        "kubernetes/kubernetes pkg/kubelet",
        "secret",
        "hub",
    ),
    _waits(
        "runs-as-root",
        "CreateContainerConfigError: container has runAsNonRoot and image will run as root",
        "kubernetes/kubernetes pkg/kubelet/kuberuntime/security_context.go",
    ),
    _waits(
        "claim-missing",
        'Unschedulable: 0/3 nodes are available: persistentvolumeclaim "data" not found.',
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/volumebinding",
        "data",
    ),
    _waits(
        "claim-unbound",
        "Unschedulable: 0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        f"{GITHUB}inveniosoftware/helm-invenio/issues/95",
    ),
    _waits(
        "volume-elsewhere",
        "Unschedulable: 0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/volumebinding",
    ),
    _waits(
        "quota-used-up",
        'Pod x: pods "test-pod" is forbidden: exceeded quota: money-claims-quota, requested: '
        "requests.cpu=20,requests.memory=60Gi, used: requests.cpu=32575m,requests.memory=90368Mi, limited: "
        "requests.cpu=50,requests.memory=140Gi",
        f"{GITHUB}hmcts/cnp-flux-config/pull/2122",
        "money-claims-quota",
        "requests.cpu=20",
        "requests.cpu=32575m",
        "requests.cpu=50",
    ),
    _waits(
        "quota-wants-numbers",
        'Pod x: pods "x" is forbidden: failed quota: kf-resource-quota: must specify cpu,memory',
        f"{GITHUB}kubeflow/pipelines/issues/7699",
        "kf-resource-quota",
        "cpu,memory",
    ),
    _waits(
        "limit-range",
        'Pod x: pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
        "kubernetes/kubernetes plugin/pkg/admission/limitranger",
        "maximum",
        "1Gi",
        "memory",
    ),
    _waits(
        "pod-security",
        'Pod x: pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation '
        '!= false (container "trainer" must set securityContext.allowPrivilegeEscalation=false)',
        "kubernetes/pod-security-admission",
        "restricted:latest",
        "allowPrivilegeEscalation != false",
    ),
    _waits(
        "service-account",
        'Pod x: pods "x" is forbidden: error looking up service account ml/robot: serviceaccount "robot" '
        "not found",
        "kubernetes/kubernetes plugin/pkg/admission/serviceaccount",
        "ml/robot",
    ),
    _waits(
        "priority-class",
        'Pod x: pods "x" is forbidden: no PriorityClass with name high was found',
        "kubernetes/kubernetes plugin/pkg/admission/priority",
        "high",
    ),
    _waits(
        "no-gpu-nodes",
        "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/noderesources",
        "3",
        "nvidia.com/gpu",
    ),
    _waits(
        "no-room",
        "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/noderesources",
        "3",
        "cpu",
    ),
    _waits(
        "taints-and-labels",
        "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match "
        "Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
        "scheduling.",
        "a pod with the nodeSelector of a control plane, Kubernetes 1.37.2",
    ),
    _waits(
        "tainted-nodes",
        "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: 0/1 nodes "
        "are available: 1 Preemption is not helpful for scheduling.",
        "a pod and a node with a taint, Kubernetes 1.37.2",
    ),
    _waits(
        "tainted-nodes",
        "Unschedulable: 0/3 nodes are available: 3 node(s) had untolerated taint {gpu: only}.",
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/tainttoleration",
        "{gpu: only}",
    ),
    _waits(
        "no-such-node",
        "Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        "kubernetes/kubernetes pkg/scheduler/framework/plugins/nodeaffinity",
    ),
)
RECORDED = (
    *MEMORY,
    *GPUS,
    *COLLECTIVES,
    *FRAMEWORKS,
    *DATA,
    *STORAGE,
    *NUMBERS,
    *PROGRAMS,
    *CLUSTER,
    *WAITING,
)
