"""OpenCV reads pictures, a torch and a TensorFlow model look at each, and one answer comes out.

What it shows:

* files and folders read by OpenCV; what is empty, cut short or no picture is reported, and the rest goes on;
* two small models trained here: one in torch on colours, deployed as TorchScript, and one in Keras on grey
  texture alone, deployed as a SavedModel; the answer is the mean of their probabilities;
* a pipeline that knows nothing but these two files, one picture at a time or in batches, and what each of
  its stages costs in pictures a second.

The pictures are pieces of twelve photographs and micrographs that ship with scikit-image and scikit-learn;
those to test with, a quarter, overlap with none that was learned from. 0.91 of them are recognized in smoke
size (0.86 by the colours alone, 0.78 by the texture), and 0.85 is demanded; always the commonest label: 0.12.

    python -m ftjob_workloads.hybrid_vision                      # the pieces to test with
    python -m ftjob_workloads.hybrid_vision --input DIR a.jpg    # pictures of your own
"""

from __future__ import annotations

import importlib.resources
import json
import math
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
import torchvision  # noqa: F401 - before TensorFlow: the other way round their copies of LLVM clash
from torch import Tensor, nn

# isort: split
import keras
import tensorflow as tf

from ftjob_workloads import life, tensorflow_start
from ftjob_workloads.picture_files import Batch, Bytes, find, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.float32]

SOURCES = {
    "brick": "skimage/data/brick.png",
    "coffee": "skimage/data/coffee.png",
    "coins": "skimage/data/coins.png",
    "fur": "skimage/data/chelsea.png",
    "grass": "skimage/data/grass.png",
    "gravel": "skimage/data/gravel.png",
    "palace": "sklearn/datasets/images/china.jpg",
    "petals": "sklearn/datasets/images/flower.jpg",
    "print": "skimage/data/page.png",
    "stars": "skimage/data/hubble_deep_field.jpg",
    "tissue": "skimage/data/ihc.png",
    "workshop": "skimage/data/motorcycle_left.png",
}
"""What is to be recognized, by the picture that shows it."""
LABELS = tuple(SOURCES)

PIECE = 48
"""Pixels, the side of the squares that the pictures are cut into."""
MOST = 120
"""Pieces of one picture."""
SIDE = 32
"""Pixels, the side of what the models see."""

# torch retires TorchScript for torch.export and says so at every call; there is still much of it in service,
# and it needs no Python to run. (ftjob_workloads.quantize_export has the successor.)
warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=FutureWarning)
jit: Any = torch.jit


def colours(pixels: Sequence[Bytes]) -> Tensor:
    """Return what the torch model sees: RGB from 0 to 1, (n, 3, `SIDE`, `SIDE`)."""
    small = [cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in pixels]
    return torch.from_numpy(np.stack(small)[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255


def texture(pixels: Sequence[Bytes]) -> Floats:
    """Return what the TensorFlow model sees: grey of mean 0 and deviation 1, (n, `SIDE`, `SIDE`, 1)."""
    grey = [cv2.cvtColor(p, cv2.COLOR_BGR2GRAY) for p in pixels]
    small = np.stack([cv2.resize(g, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for g in grey]).astype(
        np.float32
    )
    centred = small - small.mean((1, 2), keepdims=True)
    result: Floats = (centred / (centred.std((1, 2), keepdims=True) + 1))[..., None]
    return result


def torch_model() -> nn.Sequential:
    """Three strided convolutions, their mean, and a decision."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, len(LABELS)))


def keras_model() -> keras.Model:
    """Build the same in Keras, for grey pictures, with the softmax inside."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1))])
    for outputs in (24, 48, 96):
        model.add(keras.layers.Conv2D(outputs, 3, 2, padding="same"))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(len(LABELS), activation="softmax"))
    model.compile(keras.optimizers.AdamW(), "sparse_categorical_crossentropy", jit_compile=False)
    return model


def rate(epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch: it rises for a quarter of the training, then falls to nothing."""
    done = (epoch + 0.5) / epochs
    return 1e-2 * min(done / 0.25, (1 + math.cos(math.pi * (done - 0.25) / 0.75)) / 2)


class Deployed:
    """The pipeline as it would run elsewhere: two files, no class of this module's."""

    def __init__(self, folder: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.colour = jit.load(folder / "colour.torchscript.pt", map_location=self.device)
        self.texture = tf.saved_model.load(str(folder / "texture.savedmodel"))
        self.seconds = {"torch": 0.0, "tensorflow": 0.0}

    @torch.inference_mode()
    def __call__(self, pixels: Sequence[Bytes]) -> dict[str, Floats]:
        """Return the probabilities (n, labels) that ``torch``, ``tensorflow`` and both together give."""
        begin = time.perf_counter()
        by_colour = torch.softmax(self.colour(colours(pixels).to(self.device)), dim=-1).cpu().numpy()
        middle = time.perf_counter()
        by_texture = self.texture.serve(tf.constant(texture(pixels))).numpy()
        self.seconds["torch"] += middle - begin
        self.seconds["tensorflow"] += time.perf_counter() - middle
        return {"torch": by_colour, "tensorflow": by_texture, "combined": (by_colour + by_texture) / 2}


class Workshop:
    """The parts of the program; what they share lies in the checkpoint folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.pieces = Path(args.checkpoint_dir) / "pieces"
        self.models = Path(args.results_dir) / "models"

    def cut(self) -> dict[str, int]:
        """Cut the pictures into pieces, and write those as files: a folder for each label."""
        counts = {"learn": 0, "test": 0}
        for label, source in SOURCES.items():
            package, _, path = source.partition("/")
            with importlib.resources.as_file(importlib.resources.files(package) / path) as file:
                batch = Batch()
                batch.add(file)
            life.require(not batch.bad, f"{source}: {batch.bad}")
            pixels = batch.pixels[0]
            rows, columns = pixels.shape[0] // PIECE, pixels.shape[1] // PIECE
            places = [(row, column) for row in range(rows) for column in range(columns)]
            for place in np.random.default_rng(0).permutation(len(places))[:MOST]:
                row, column = places[place]
                part = "test" if (row + 2 * column) % 4 == 0 else "learn"
                name = self.pieces / part / label / f"{row:02d}-{column:02d}{file.suffix}"
                name.parent.mkdir(parents=True, exist_ok=True)
                y, x = PIECE * row, PIECE * column
                cv2.imwrite(str(name), pixels[y : y + PIECE, x : x + PIECE])
                counts[part] += 1
        print(
            f"{counts['learn']} pieces to learn from, {counts['test']} to test with, of {len(LABELS)} labels"
        )
        return counts

    def load(self, part: str) -> tuple[list[Bytes], npt.NDArray[np.int64]]:
        """Read pieces and their labels."""
        files = find([str(self.pieces / part)])
        (batch,) = read(files, len(files))
        return batch.pixels, np.array([LABELS.index(Path(file).parent.name) for file in batch.files])

    def learn_colours(self, until: int) -> dict[str, float]:
        """Train the torch model up to an epoch, and save."""
        torch.manual_seed(self.args.seed)
        pixels, numbers = self.load("learn")
        images, labels = colours(pixels), torch.from_numpy(numbers)
        model = torch_model()
        optimizer = torch.optim.AdamW(model.parameters())
        file = Path(self.args.checkpoint_dir) / "colour.pt"
        epoch = 0
        if file.exists():
            state = torch.load(file, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            epoch = state["epoch"]
        while epoch < until:
            optimizer.param_groups[0]["lr"] = rate(epoch, self.args.epochs)
            generator = torch.Generator().manual_seed(1000 * self.args.seed + epoch)
            order = torch.randperm(len(labels), generator=generator)
            for start in range(0, len(order), self.args.batch_size):
                rows = order[start : start + self.args.batch_size]
                batch = images[rows]
                if rows[0] % 2:
                    batch = batch.flip(3)
                if rows[0] % 3:
                    batch = batch.flip(2)
                loss = F.cross_entropy(model(batch), labels[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            epoch += 1
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            life.replace(file, partial(torch.save, state))
            print(f"torch, epoch {epoch}: loss {loss.item():.4f}")
        return {"epoch": epoch}

    def learn_texture(self, until: int) -> dict[str, float]:
        """Train the Keras model up to an epoch, and save."""
        keras.utils.set_random_seed(self.args.seed)
        pixels, labels = self.load("learn")
        images = texture(pixels)
        file = Path(self.args.checkpoint_dir) / "texture.keras"
        model = keras.models.load_model(file) if file.exists() else keras_model()
        steps = -(-len(labels) // self.args.batch_size)
        for epoch in range(int(model.optimizer.iterations.numpy()) // steps, until):
            model.optimizer.learning_rate = rate(epoch, self.args.epochs)
            flipped = images[:, :, ::-1] if epoch % 2 else images
            flipped = flipped[:, ::-1] if epoch % 4 > 1 else flipped
            history = model.fit(flipped, labels, batch_size=self.args.batch_size, verbose=0)
            print(f"keras, epoch {epoch + 1}: loss {history.history['loss'][-1]:.4f}")
        life.replace(file, model.save)
        return {"epoch": until}

    def deploy(self) -> dict[str, int]:
        """Write the two files that the pipeline consists of."""
        self.models.mkdir(parents=True, exist_ok=True)
        state = torch.load(Path(self.args.checkpoint_dir) / "colour.pt", weights_only=True)
        model = torch_model()
        model.load_state_dict(state["model"])
        jit.script(model.eval()).save(self.models / "colour.torchscript.pt")
        keras.models.load_model(Path(self.args.checkpoint_dir) / "texture.keras").export(
            self.models / "texture.savedmodel", format="tf_saved_model", verbose=False
        )
        sizes = {
            path.name: sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
            for path in sorted(self.models.iterdir())
        }
        print(f"bytes: {sizes}")
        return sizes

    def classify(self) -> dict[str, Any]:
        """Let the deployed pipeline answer, and measure it.

        Raises
        ------
        life.Missed
            There was no picture, or too few of the pieces were recognized.
        """
        pipeline = Deployed(self.models)
        files = find(self.args.input or [str(self.pieces / "test")])
        answers: list[dict[str, Any]] = []
        bad: list[dict[str, str]] = []
        for batch in read(files, self.args.batch_size):
            bad += batch.bad
            if batch.files:
                answers += answer(batch.files, pipeline(batch.pixels))
        for file in bad:
            print(f"{file['file']}: {file['reason']}", file=sys.stderr)
        life.require(bool(answers), f"none of {len(files)} files is a picture")
        lines = "".join(json.dumps(line) + "\n" for line in answers)
        life.replace_text(Path(self.args.results_dir) / "answers.jsonl", lines)
        found: dict[str, Any] = {"pictures": len(answers), "bad": bad}
        found["agree"] = statistics.fmean(a["torch"] == a["tensorflow"] for a in answers)
        if not self.args.input:
            for who, key in (("torch", "torch"), ("tensorflow", "tensorflow"), ("combined", "label")):
                right = [Path(a["file"]).parent.name == a[key] for a in answers]
                found[f"{who}Accuracy"] = statistics.fmean(right)
        print({key: value for key, value in found.items() if key != "bad"}, f"{len(bad)} bad files")
        accuracy = found.get("combinedAccuracy", 1.0)
        life.require(
            accuracy >= self.args.min_accuracy,
            f"accuracy {accuracy:.4f} is below --min-accuracy {self.args.min_accuracy}",
        )
        return found

    def measure(self) -> dict[str, Any]:
        """Measure the pipeline on the pieces to test with, one by one and in batches."""
        pipeline = Deployed(self.models)
        files = find([str(self.pieces / "test")])[: self.args.measure]
        table: dict[str, dict[str, float]] = {}
        print("pictures a second   in all    reading      torch  TensorFlow")
        for size in (1, self.args.batch_size):
            pipeline(next(read(files, size)).pixels)  # the first call of a shape traces
            rest = len(files) % size
            if rest:
                pipeline(next(read(files, rest)).pixels)
            pipeline.seconds = dict.fromkeys(pipeline.seconds, 0.0)
            begin = time.perf_counter()
            for batch in read(files, size):
                pipeline(batch.pixels)
            total = time.perf_counter() - begin
            seconds = pipeline.seconds | {"reading": total - sum(pipeline.seconds.values()), "all": total}
            table[f"batch {size}"] = {key: len(files) / value for key, value in seconds.items()}
            cells = "".join(
                f"{table[f'batch {size}'][key]:11.0f}" for key in ("reading", "torch", "tensorflow")
            )
            print(f"batches of {size:<4}  {len(files) / total:11.0f}{cells}")
        return {"pictures": len(files), "picturesPerSecond": table}


def answer(files: Sequence[str], probabilities: dict[str, Floats]) -> list[dict[str, Any]]:
    """Put both models' probabilities into one answer for each file."""
    best = {who: found.argmax(-1) for who, found in probabilities.items()}
    return [
        {
            "file": file,
            "label": LABELS[best["combined"][i]],
            "confidence": round(float(probabilities["combined"][i].max()), 4),
            "torch": LABELS[best["torch"][i]],
            "tensorflow": LABELS[best["tensorflow"][i]],
        }
        for i, file in enumerate(files)
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("hybrid_vision", __doc__)
    p.add_argument(
        "--input", nargs="+", metavar="PATH", help="pictures or folders (default: pieces to test with)"
    )
    p.add_argument("--epochs", type=int, help="of each training (default: 32; smoke: 16)")
    p.add_argument("--batch-size", type=int, default=32, help="pictures at a time (default: %(default)s)")
    p.add_argument("--save-every", type=int, default=8, help="epochs (default: %(default)s)")
    p.add_argument("--measure", type=int, default=256, help="pictures to measure with (default: %(default)s)")
    p.add_argument("--min-accuracy", type=float, default=0.85, help="exit 1 below it (default: %(default)s)")
    args = p.parse_args(argv)
    args.epochs = args.epochs or (16 if args.smoke else 32)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Cut, train, deploy, classify and measure, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a bar was missed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    tensorflow_start.let_memory_grow()  # or nothing is left of it for torch
    workshop = Workshop(args)
    parts: dict[str, Callable[[], dict[str, Any]]] = {"pieces": workshop.cut}
    for who, learn in (("torch", workshop.learn_colours), ("tensorflow", workshop.learn_texture)):
        for until in [*range(args.save_every, args.epochs, args.save_every), args.epochs]:
            parts[f"{who} to epoch {until}"] = partial(learn, until)
    parts |= {"deploy": workshop.deploy, "classify": workshop.classify, "measure": workshop.measure}
    return life.do_parts(args, parts)


if __name__ == "__main__":
    sys.exit(main())
