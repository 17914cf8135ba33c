"""The collector as a process of its own, see `child`.

Its memory is bounded: what it reads was written by anybody.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from ftjob_protocol import variables

MEMORY = 448 << 20
"""Bytes of data; with libraries and stacks 512 MiB in all."""
USAGE = "usage: python -m ftjob.insight write OUTPUTS [CAPTURE [RANKS]] | summary PATH [CAPTURE]\n"


def main(arguments: list[str]) -> int:
    """Write reports into outputs, or a summary to stdout."""
    most = {"write": 4, "summary": 3}.get(arguments[0] if arguments else "", 0)
    if not 2 <= len(arguments) <= most:
        sys.stderr.write(USAGE)
        return 2
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    from ftjob.insight import outputs  # noqa: PLC0415  with its memory bounded
    from ftjob.insight.summary import SummaryError, encode  # noqa: PLC0415
    from ftjob_protocol.values.ranges import parse_indexes  # noqa: PLC0415

    what, target, capture, ranks = [*arguments, "", ""][:4]
    path = Path(target)
    try:
        if what == "write" and variables.REPORTED_JOB in os.environ:
            outputs.keep_job(path, os.environ[variables.REPORTED_JOB])
        if what == "summary":
            sys.stdout.buffer.write(encode(outputs.summary_of(path, capture)))
        elif capture:
            outputs.report_capture(path, capture, sorted(parse_indexes(ranks)))
        else:
            outputs.report_job(path)
    except (outputs.ReportError, SummaryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or path}: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
