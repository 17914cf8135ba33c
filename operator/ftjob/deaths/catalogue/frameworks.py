"""A framework is used in a way that it, or its version, does not take."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where
from ftjob_protocol.failures import FailureClass

_DISTRIBUTE = "https://www.tensorflow.org/tutorials/distribute/multi_worker_with_keras"

ROWS = (
    Row(
        "horovod-keras-3",
        Where.RAISED,
        r"'Variable' object has no attribute 'ref'|module 'keras\.(?:api\._v2\.keras|backend)' has no "
        r"attribute '(?:constant|get_session)'",
        "Horovod 0.28 knows Keras 2 only, and this is Keras 3",
        "Install tf-keras and set TF_USE_LEGACY_KERAS=1; or train with horovod.tensorflow and a loop of "
        "your own",
        "https://github.com/horovod/horovod/issues/4290",
    ),
    Row(
        "multi-worker-keras-3",
        Where.RAISED,
        r"Attempt to convert a value \(PerReplica:[\s\S]{0,400}with an unsupported type",
        "Keras 3 can't train by fit() under a strategy of several workers",
        "Install tf-keras and set TF_USE_LEGACY_KERAS=1, or write the loop with strategy.run",
        "https://keras.io/guides/distributed_training_with_tensorflow/",
    ),
    Row(
        "tf-config",
        Where.RAISED,
        r"(?:`?task_type`?|`?task_id`?|[Tt]ask (?:type|id)) [^\n]{0,120}(?:not in|does not exist|exceeds"
        r"|larger than|no task)[^\n]{0,80}|(?:Invalid|No) `?cluster_spec`?|no such task|There must be at "
        r"most one 'chief'",
        "TF_CONFIG names a task that its cluster does not have",
        "Don't set TF_CONFIG yourself: strategies MultiWorkerMirrored and ParameterServer set it for each "
        "worker",
        _DISTRIBUTE,
    ),
    Row(
        "collective-ops-late",
        Where.RAISED,
        r"Collective ops must be configured at program startup",
        "TensorFlow was used before its strategy was made",
        "Make tf.distribute.MultiWorkerMirroredStrategy() the first thing that the script does with "
        "TensorFlow",
        _DISTRIBUTE,
    ),
    Row(
        "batch-not-divisible",
        Where.RAISED,
        r"(?:[Bb]atch[ _]size|batch of size|`batch_size`)[^\n]{0,80}(?:must be divisible|is not divisible"
        r"|not evenly divisible)[^\n]{0,80}",
        "The batch can't be shared out evenly among the replicas",
        "Make the global batch a multiple of the number of replicas (workers times processesPerWorker), and "
        "drop the last part of a batch: drop_remainder=True, drop_last=True",
        "https://www.tensorflow.org/tutorials/distribute/input",
    ),
    Row(
        "torch-before-tensorflow",
        Where.SAID,
        r"inconsistency in registered CommandLine options",
        "torch's Triton and TensorFlow bring LLVM twice, in the order that fails",
        "Import torch (and torchvision) before TensorFlow",
        "https://github.com/tensorflow/tensorflow/issues/62678",
    ),
    Row(
        "jax-initialise-late",
        Where.RAISED,
        r"jax\.distributed\.initialize\(\) must be called before any JAX",
        "JAX was used before jax.distributed.initialize()",
        "Call it first in the script: under strategy JAX it needs no arguments",
        "https://docs.jax.dev/en/latest/multi_process.html",
    ),
    Row(
        "jax-no-backend",
        Where.RAISED,
        r"Unable to initialize backend '(?P<name>\w{1,20})'",
        "JAX can't use its backend {name}",
        "Install JAX's build for that device in the image and ask for one in resources.limits; or set "
        "JAX_PLATFORMS=cpu",
        "https://docs.jax.dev/en/latest/installation.html",
    ),
    Row(
        "no-compiler",
        Where.RAISED,
        r"InvalidCxxCompiler|No working C\+\+ compiler found|Failed to find C compiler",
        "torch.compile needs a C++ compiler, and the image has none",
        "Install g++ in the image (or set CXX), or leave torch.compile out: TORCH_COMPILE_DISABLE=1",
        "https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/torch.compiler_faq.html",
    ),
    Row(
        "cuda-home",
        Where.RAISED,
        r"CUDA_HOME environment variable is not set",
        "An extension is compiled when it is imported, and the image has no CUDA toolkit",
        "Use a -devel image, install the toolkit and set CUDA_HOME, or install the extension as a wheel",
        "https://docs.pytorch.org/docs/stable/cpp_extension.html",
    ),
    Row(
        "protobuf",
        Where.RAISED,
        r"Descriptors cannot (?:not )?be created directly|cannot import name 'builder' from 'google\.protobuf"
        r"|Detected (?:mismatched|incompatible) Protobuf Gencode/Runtime",
        "The installed protobuf does not fit a library's generated code",
        "Install the version of protobuf that the library asks for (pip check names it)",
        "https://protobuf.dev/support/cross-version-runtime-guarantee/",
    ),
    Row(
        "numpy-abi",
        Where.SAID,
        r"numpy\.dtype size changed, may indicate binary incompatibility|compiled using NumPy 1\.x cannot "
        r"be run in|numpy\.core\.multiarray failed to import",
        "A library was built for another NumPy than the installed one",
        "Install a newer build of that library, or numpy<2",
        "https://numpy.org/doc/stable/user/troubleshooting-importerror.html",
        reasons=(FailureClass.EXCEPTION,),
    ),
)
