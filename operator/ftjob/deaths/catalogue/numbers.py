"""The loss or a gradient is not a number any more."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_NAN = r"(?:nan|NaN|NAN|inf|Inf|infinite|non-finite|not finite)"

ROWS = (
    Row(
        "nan-in-backward",
        Where.RAISED,
        r"Function '(?P<function>\w{1,60})' returned nan values in its (?P<output>\d{1,3})th output",
        "The gradient of {function} is not a number",
        "Look at that operation's input (log, sqrt, division, a mask of nothing but -inf); lower the "
        "learning rate, clip gradients",
        "https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection",
    ),
    Row(
        "nan-gradient-norm",
        Where.RAISED,
        r"total norm of order [\d.]{1,8} for gradients from `parameters` is non-finite",
        "The gradients are not finite, so they can't be clipped",
        "Skip the step, lower the learning rate, or use a GradScaler under float16 (unscale before clipping)",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
    ),
    Row(
        "nan-in-tensor",
        Where.RAISED,
        r"[Tt]ensor had (?:-?Inf|NaN)(?: and (?:-?Inf|NaN)){0,2} values|invalid value \(nan\) encountered in"
        r"|FloatingPointError: (?:gradients are Nan/Inf|Minimum loss scale reached)",
        "A tensor holds NaN or infinity",
        "Lower the learning rate, clip gradients, look at the data of that batch; under float16 use loss "
        "scaling or bfloat16",
        "https://www.tensorflow.org/api_docs/python/tf/debugging/enable_check_numerics",
    ),
    Row(
        "nan-loss",
        Where.RAISED,
        rf"(?:^|\n)[\w.]{{0,80}}(?:Error|Exception): [^\n]{{0,80}}\b[Ll]oss\b[^\n]{{0,40}}\b{_NAN}\b"
        rf"|(?:^|\n)[\w.]{{0,80}}(?:Error|Exception): [^\n]{{0,40}}\b{_NAN}\b[^\n]{{0,40}}\b[Ll]oss\b",
        "The loss is not a finite number, and the script stops for it",
        "Lower the learning rate or warm it up, clip gradients, look at the last batch; under float16 use "
        "loss scaling or bfloat16",
        "https://docs.pytorch.org/docs/stable/notes/numerical_accuracy.html",
    ),
)
