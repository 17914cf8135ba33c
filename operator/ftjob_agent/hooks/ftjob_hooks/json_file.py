"""Writing a document that others read."""

from __future__ import annotations

import json
import os
from typing import Any


def write(path: str, content: Any) -> None:
    """Replace a file in one go, so that a reader never sees half of it."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(temporary, path)
