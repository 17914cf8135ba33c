"""A folder of real image files, made from what scikit-learn ships: something to read without a download.

``digit-0/`` to ``digit-9/`` hold 1,797 scans of handwritten digits as PNG files (8 x 8, grey; see `digits`),
``china/`` and ``flower/`` pieces of two photographs (CC BY 2.0, by danielbuechele and vultilion on Flickr) as
JPEG files (48 x 48, colours). As in folders that people use for years, not all is well: one JPEG file is cut
off, and one file is a text.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

PIECE = 48
"""Width and height of a piece of a photograph, in pixels."""

BROKEN = "china/broken.jpg"
TEXT = "flower/notes.txt"


def write(folder: Path) -> Path:
    """Write the files, unless the folder is there.

    Several ranks may do it at the same time: the folder appears with all that is in it.

    Returns
    -------
    Path
        The folder.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    _digits(fresh)
    for name in ("china", "flower"):
        _pieces(fresh / name, load_sample_image(f"{name}.jpg"))
    whole = (fresh / "china" / "000.jpg").read_bytes()
    (fresh / BROKEN).write_bytes(whole[: len(whole) // 2])
    (fresh / TEXT).write_text("A dahlia. Ask for the other photographs of that day.\n", encoding="utf-8")
    fresh.chmod(0o755)
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(fresh)  # another rank was first
    return folder


def _digits(folder: Path) -> None:
    pixels, labels = load_digits(return_X_y=True)
    scans = (pixels.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    for number, (scan, label) in enumerate(zip(scans, labels, strict=True)):
        path = folder / f"digit-{label}" / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(scan).save(path)


def _pieces(folder: Path, photograph: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    folder.mkdir()
    height, width = photograph.shape[:2]
    corners = [
        (top, left)
        for top in range(0, height - PIECE + 1, PIECE)
        for left in range(0, width - PIECE + 1, PIECE)
    ]
    for number, (top, left) in enumerate(corners):
        piece = photograph[top : top + PIECE, left : left + PIECE]
        Image.fromarray(piece).save(folder / f"{number:03d}.jpg", quality=90)
