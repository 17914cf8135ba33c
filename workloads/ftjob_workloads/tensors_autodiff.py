"""Tensors and automatic differentiation in TensorFlow, each claim checked: gradients by finite differences.

What it shows:

* constants: default types, rounding, overflow, and that nothing is converted behind your back;
* the same function in eager mode and as a graph: equal results, one trace for each signature, control flow
  that depends on data (both in `ftjob_workloads.tensors_and_graphs`);
* ``GradientTape``: the gradient of a two-layer network on scanned digits, in double precision;
* tapes in tapes: a Hessian, Hessian-vector products and a third derivative. With the Hessian, Newton's
  method fits a logistic regression to the breast cancer data in 9 steps;
* a persistent tape, which answers several times, ``stop_recording`` and ``stop_gradient``;
* custom gradients: a softplus that survives large arguments, and a gradient clipped on its way back.

Every gradient is compared with central finite differences. The largest relative error seen is 8e-10;
1e-6 is demanded (``--max-error``), and Newton's method must bring the gradient of its fit below 1e-8.

    python -m ftjob_workloads.tensors_autodiff
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_breast_cancer

from ftjob_workloads import digits, life, tensors_and_graphs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]


class Network:
    """A two-layer network in double precision: finite differences of single precision are mostly noise."""

    def __init__(self, samples: int, seed: int) -> None:
        learn, _ = digits.load()
        self.images = tf.constant(learn.images[:samples].reshape(-1, 64).astype(np.float64))
        self.labels = tf.constant(learn.labels[:samples])
        random = np.random.default_rng(seed)
        self.weights = [
            tf.Variable(random.normal(size=shape) / np.sqrt(shape[0]))
            for shape in ((64, 16), (16,), (16, 10), (10,))
        ]

    def losses(self) -> tf.Tensor:
        """Cross entropy of each sample."""
        w1, b1, w2, b2 = self.weights
        logits = tf.tanh(self.images @ w1 + b1) @ w2 + b2
        return tf.nn.sparse_softmax_cross_entropy_with_logits(self.labels, logits)

    def loss(self) -> tf.Tensor:
        """Mean of them."""
        return tf.reduce_mean(self.losses())


def gradients(samples: int, coordinates: int, bar: float, seed: int) -> dict[str, Any]:
    """Compare the tape's gradient with finite differences, in random coordinates of each variable."""
    network = Network(samples, seed)
    with tf.GradientTape() as tape:
        loss = network.loss()
    found = tape.gradient(loss, network.weights)
    random = np.random.default_rng(seed)
    errors = {}
    for number, (weight, gradient) in enumerate(zip(network.weights, found, strict=True)):
        exact, value = gradient.numpy(), weight.numpy()
        scale = float(np.abs(exact).max())
        for flat in random.choice(value.size, min(coordinates, value.size), replace=False):
            index = np.unravel_index(flat, value.shape)
            probe = partial(_loss_at, network, weight, value, index)
            errors[number, index] = abs(central_difference(probe, value[index]) - exact[index]) / scale
        weight.assign(value)
    worst = max(errors.values())
    life.at_most(f"gradient against finite differences in {len(errors)} coordinates", worst, bar)

    with tf.GradientTape() as tape:
        each = network.losses()
    rows = tape.jacobian(each, network.weights[3])  # one gradient a sample
    life.at_most("mean of the samples' gradients", float(tf.norm(tf.reduce_mean(rows, 0) - found[3])), 1e-12)
    return {"loss": float(loss), "coordinates": len(errors), "maxRelativeError": worst}


def higher_order(bar: float) -> dict[str, Any]:
    """Differentiate gradients: third derivative, Hessian-vector product, Hessian, and Newton's method."""
    x = tf.Variable(0.7, dtype=tf.float64)
    with tf.GradientTape() as third, tf.GradientTape() as second:
        with tf.GradientTape() as first:
            y = tf.sin(x) * tf.exp(x)
        dy = first.gradient(y, x)
        ddy = second.gradient(dy, x)
    dddy = third.gradient(ddy, x)
    # (sin x exp x)''' = 2 exp x (cos x - sin x)
    expected = 2 * np.exp(0.7) * (np.cos(0.7) - np.sin(0.7))
    third_error = abs(float(dddy) - expected) / abs(expected)
    life.at_most("third derivative against the formula", third_error, 1e-12)

    rows, labels = load_breast_cancer(return_X_y=True)
    rows = (rows - rows.mean(0)) / rows.std(0)
    features = tf.constant(np.hstack([rows, np.ones((len(rows), 1))]))
    targets = tf.constant(labels, tf.float64)
    weights = tf.Variable(tf.zeros(features.shape[1], tf.float64))

    @tf.function
    def derivatives() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                logits = tf.linalg.matvec(features, weights)
                entropy = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
                loss = tf.reduce_mean(entropy) + 1e-3 * tf.reduce_sum(weights**2)
            gradient = inner.gradient(loss, weights)
        return loss, gradient, outer.jacobian(gradient, weights)

    history = []
    for _ in range(20):
        loss, gradient, hessian = derivatives()
        history.append(float(tf.norm(gradient)))
        if history[-1] < 1e-10:
            break
        weights.assign_sub(tf.linalg.solve(hessian, gradient[:, None])[:, 0])
    accuracy = float(np.mean((tf.linalg.matvec(features, weights).numpy() > 0) == labels))
    life.at_most(f"gradient after {len(history) - 1} Newton steps", history[-1], 1e-8)

    # Away from the minimum, where nothing is small: the Hessian times v is the derivative along v.
    weights.assign(weights / 2)
    _, _, hessian = derivatives()
    direction = np.random.default_rng(0).normal(size=weights.shape[0])
    middle = weights.numpy()
    along = central_difference(lambda t: _gradient_at(derivatives, weights, middle + t * direction), 0.0)
    product = tf.linalg.matvec(hessian, direction).numpy()
    hessian_error = float(np.abs(along - product).max() / np.abs(product).max())
    life.at_most("Hessian x vector against finite differences", hessian_error, bar)
    print(
        f"Newton: gradient {history[0]:.1e} to {history[-1]:.1e} in {len(history) - 1} steps, "
        f"accuracy {accuracy:.3f}"
    )
    return {
        "thirdDerivativeError": third_error,
        "newtonGradients": history,
        "newtonLoss": float(loss),
        "newtonAccuracy": accuracy,
        "hessianError": hessian_error,
    }


def persistent(samples: int, seed: int) -> dict[str, Any]:
    """Ask one tape several times, and keep things from it."""
    network = Network(samples, seed)
    last = network.weights[3]
    with tf.GradientTape() as once:
        loss = network.loss()
    once.gradient(loss, last)
    life.refuses(RuntimeError, lambda: once.gradient(loss, last), "a second answer of a tape")

    constant = tf.constant([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(constant)  # variables are watched by themselves, constants are not
        losses = network.losses()
        mean, worst = tf.reduce_mean(losses), tf.reduce_max(losses)
        squares = tf.reduce_sum(constant**2)
        with tape.stop_recording():
            unseen = tf.reduce_sum(constant**3)
        half = tf.reduce_sum(constant * tf.stop_gradient(constant))  # the second factor counts as a number
    answers = {
        "mean": float(tf.norm(tape.gradient(mean, last))),
        "worst": float(tf.norm(tape.gradient(worst, last))),
        "squares": tape.gradient(squares, constant).numpy().tolist(),
        "stopGradient": tape.gradient(half, constant).numpy().tolist(),
        "stopRecording": tape.gradient(unseen, constant),
        "unconnected": tape.gradient(squares, last, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        .numpy()
        .tolist(),
    }
    del tape  # a persistent tape holds all that was computed until it goes
    life.require(answers["squares"] == [2.0, 4.0] and answers["stopGradient"] == [1.0, 2.0], str(answers))
    life.require(answers["stopRecording"] is None and not any(answers["unconnected"]), str(answers))
    return answers


@tf.custom_gradient
def softplus(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return log(1 + exp(x)), whose derivative is the sigmoid also where exp(x) overflows."""

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0) + tf.math.log1p(tf.exp(-tf.abs(x))), backward


def clipped_on_the_way_back(x: tf.Tensor, norm: float) -> tf.Tensor:
    """Return ``x``; the gradient that comes back through it is clipped to ``norm``."""

    @tf.custom_gradient
    def identity(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.identity(x), lambda upstream: tf.clip_by_norm(upstream, norm)

    result: tf.Tensor = identity(x)
    return result


def custom_gradient(bar: float) -> dict[str, Any]:
    """Check both functions above, the first also in its second derivative."""
    points = tf.constant(np.linspace(-5, 5, 41))
    with tf.GradientTape() as outer:
        outer.watch(points)
        with tf.GradientTape() as inner:
            inner.watch(points)
            value = softplus(points)
        slope = inner.gradient(value, points)
    curvature = outer.gradient(slope, points)

    def slope_at(x: Doubles) -> Doubles:
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = softplus(x)
        result: Doubles = tape.gradient(y, x).numpy()
        return result

    errors = [
        float(np.abs(central_difference(f, points.numpy()) - found.numpy()).max())
        for f, found in ((lambda x: softplus(tf.constant(x)).numpy(), slope), (slope_at, curvature))
    ]
    life.at_most("custom gradient against finite differences", errors[0], bar)
    life.at_most("its derivative against finite differences", errors[1], bar)

    large = tf.constant(1000.0, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(large)
        naive, stable = tf.math.log(1 + tf.exp(large)), softplus(large)
        clipped = clipped_on_the_way_back(large, 0.5) ** 2
    at_1000 = {"naive": float(tape.gradient(naive, large)), "custom": float(tape.gradient(stable, large))}
    clipped_slope = float(tape.gradient(clipped, large))
    life.require(np.isnan(at_1000["naive"]) and at_1000["custom"] == 1.0, f"gradients at 1000: {at_1000}")
    life.require(clipped_slope == 0.5, f"the clipped gradient is {clipped_slope}")
    return {
        "errors": errors,
        "naiveAt1000": "nan",
        "customAt1000": at_1000["custom"],
        "clipped": clipped_slope,
    }


def central_difference(f: Callable[[Any], Any], x: Any, h: float = 1e-5) -> Any:
    """Return (f(x + h) - f(x - h)) / 2h; the error of about h² is small beside 1e-6."""
    return (f(x + h) - f(x - h)) / (2 * h)


def _loss_at(
    network: Network, weight: tf.Variable, value: Doubles, index: tuple[Any, ...], number: float
) -> float:
    moved = value.copy()
    moved[index] = number
    weight.assign(moved)
    return float(network.loss())


def _gradient_at(
    derivatives: Callable[[], tuple[tf.Tensor, ...]], weights: tf.Variable, value: Doubles
) -> Doubles:
    weights.assign(value)
    result: Doubles = derivatives()[1].numpy()
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("tensors_autodiff", __doc__)
    p.add_argument("--samples", type=int, default=500, help="digits to learn from (default: %(default)s)")
    p.add_argument(
        "--coordinates", type=int, default=200, help="of each variable to check (default: %(default)s)"
    )
    p.add_argument(
        "--max-error", type=float, default=1e-6, help="exit 1 above it, relative (default: %(default)s)"
    )
    args = p.parse_args(argv)
    if args.smoke:
        args.samples, args.coordinates = 100, 20
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Check part after part, and write what was measured.

    Returns
    -------
    int
        The exit code: 0, 1 if a check failed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "constants": tensors_and_graphs.constants,
        "eagerAndGraph": partial(tensors_and_graphs.eager_and_graph, 5 if args.smoke else 50),
        "gradients": partial(gradients, args.samples, args.coordinates, args.max_error, args.seed),
        "higherOrder": partial(higher_order, args.max_error),
        "persistent": partial(persistent, args.samples, args.seed),
        "customGradient": partial(custom_gradient, args.max_error),
    }
    return life.do_parts(args, parts)


if __name__ == "__main__":
    sys.exit(main())
