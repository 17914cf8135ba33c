"""Telling our report from a file of the same name that is somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob_protocol.files.nofollow import Folder

MARK = '<meta name="generator" content="ftjob report">'
"""In the head of every report."""
_HEAD = 4096


def is_ours(outputs: Folder) -> bool:
    """Whether ftjob has written the report in these outputs."""
    try:
        return MARK.encode() in outputs.read(files.REPORT, _HEAD)
    except OSError:
        return False
