"""Checkpoints do not fit, and volumes can't be written to."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_STATE = "https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html"

ROWS = (
    Row(
        "checkpoint-of-ddp",
        Where.RAISED,
        r"Error\(s\) in loading state_dict for (?P<model>[\w.]{1,80}):[\s\S]{0,3000}\"module\.",
        "The checkpoint of {model} was saved from within DistributedDataParallel, whose names begin with "
        "module",
        "Save model.module.state_dict(), or take the prefix off: "
        "torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, 'module.')",
        _STATE,
    ),
    Row(
        "checkpoint-other-model",
        Where.RAISED,
        r"Error\(s\) in loading state_dict for (?P<model>[\w.]{1,80})",
        "The checkpoint is of another {model} than the script builds",
        "Build the model with the settings that it was saved with, or begin with an empty checkpoints "
        "folder; strict=False loads only what fits",
        _STATE,
    ),
    Row(
        "checkpoint-cut-off",
        Where.RAISED,
        r"PytorchStreamReader failed reading (?:zip archive|file)|unexpected EOF, expected \d{1,18} more "
        r"bytes|Ran out of input",
        "The checkpoint is not whole: its writing was interrupted, or several ranks wrote it",
        "Delete it and load the one before; write to another name on rank 0 alone, then os.replace it",
        _STATE,
    ),
    Row(
        "checkpoint-weights-only",
        Where.RAISED,
        r"Weights only load failed",
        "torch.load takes nothing but tensors unless told otherwise (since torch 2.6)",
        "Allow what the checkpoint holds by torch.serialization.add_safe_globals; weights_only=False only "
        "for files that you trust",
        "https://docs.pytorch.org/docs/stable/notes/serialization.html#weights-only",
    ),
    Row(
        "checkpoint-of-cuda",
        Where.RAISED,
        r"Attempting to deserialize object on a? ?CUDA device",
        "The checkpoint holds tensors of a GPU, and this rank has none, or not that one",
        "Pass map_location='cpu' (or the rank's device) to torch.load",
        "https://docs.pytorch.org/docs/stable/generated/torch.load.html",
    ),
    Row(
        "checkpoint-keras",
        Where.RAISED,
        r"Layer (?:count mismatch when loading weights|'[^'\n]{1,80}' expected \d{1,6} (?:variables"
        r"|input\(s\)), but received \d{1,6})|A total of \d{1,6} objects could not be loaded|[Tt]ensor's "
        r"shape \([^)\n]{0,80}\) is not compatible with supplied shape|Received incompatible tensor with "
        r"shape",
        "The checkpoint is of another model than the script builds",
        "Build the model with the settings that it was saved with, or begin with an empty checkpoints folder",
        "https://www.tensorflow.org/guide/checkpoint",
    ),
    Row(
        "checkpoint-not-there",
        Where.RAISED,
        r"Failed to find any matching files for (?P<path>[^\s]{1,200})",
        "There is no checkpoint {path}",
        "Look for one with tf.train.latest_checkpoint in $FTJOB_CHECKPOINT_DIR, and begin anew if there is "
        "none",
        "https://www.tensorflow.org/guide/checkpoint",
    ),
    Row(
        "hdf5-damaged",
        Where.RAISED,
        r"Unable to (?:synchronously )?open file \((?:truncated file|file signature not found|bad object "
        r"header)|Unable to (?:synchronously )?lock file",
        "An HDF5 file is damaged, not HDF5 at all, or written by another process",
        "Write it on rank 0 alone, to another name first; on NFS set HDF5_USE_FILE_LOCKING=FALSE",
        "https://docs.h5py.org/en/stable/faq.html",
    ),
    Row(
        "no-space",
        Where.SAID,
        r"\[Errno 28\] No space left on device(?:: '(?P<path>[^'\n]{1,200})')?|No space left on device",
        "The volume is full[: {path}]",
        "Keep fewer checkpoints, write to $FTJOB_OUTPUTS rather than into the container, or ask for more: "
        "outputs.size",
        "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims",
    ),
    Row(
        "disk-quota",
        Where.SAID,
        r"\[Errno 122\] Disk quota exceeded(?:: '(?P<path>[^'\n]{1,200})')?|Disk quota exceeded",
        "The quota of that file system is used up[: {path}]",
        "Delete old checkpoints there, or ask who runs the file system for more",
        "https://man7.org/linux/man-pages/man2/quotactl.2.html",
    ),
    Row(
        "read-only",
        Where.SAID,
        r"\[Errno 30\] Read-only file system(?:: '(?P<path>[^'\n]{1,200})')?|Read-only file system",
        "The script writes to a read-only place[: {path}]",
        "Write to $FTJOB_OUTPUTS or /tmp (an emptyDir), and point caches there: HF_HOME, TORCH_HOME, "
        "XDG_CACHE_HOME",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ),
    Row(
        "not-writable",
        Where.RAISED,
        r"PermissionError: \[Errno 13\] Permission denied: '(?P<path>[^'\n]{1,200})'",
        "The container's user may not use {path}",
        "Write to $FTJOB_OUTPUTS or /tmp, set fsGroup in the pod's securityContext for volumes, and HOME "
        "for caches",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ),
    Row(
        "stale-handle",
        Where.SAID,
        r"\[Errno 116\] Stale file handle(?:: '(?P<path>[^'\n]{1,200})')?|Stale (?:NFS )?file handle",
        "A file on a network volume was deleted or replaced by another client[: {path}]",
        "Open it again; let one rank replace files that others read; see that the volume's server is well",
        "https://man7.org/linux/man-pages/man5/nfs.5.html",
    ),
)
