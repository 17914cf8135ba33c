"""``ftjob``: the parser, and which module does what.

Nothing but the parser is imported until a command is chosen: ``--help`` has to be there at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

from ftjob import __version__
from ftjob.cli.exit_codes import FAILED, INTERRUPTED
from ftjob.cli.jobs import options
from ftjob.cli.jobs import parser as jobs
from ftjob.cli.look import parser as look
from ftjob.cli.speed import parser as speed
from ftjob.cli.top import parser as top
from ftjob.cli.ui import parser as ui

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = "Distributed training on Kubernetes from one short YAML, and the same YAML on this machine."
PLUGIN = "kubectl ftj"
EPILOG = """\
exit codes: 0 succeeded, 1 the job or capture failed, 2 invalid job or usage, 3 the cluster can't be asked or
refuses (of `profile`: a capture is partial), 124 the time is over, 130 interrupted. Ctrl-C never ends a job
in the cluster.
"""


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"


def build_parser(prog: str = "ftjob") -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ftjob {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    _add_run(commands)
    jobs.add(commands, _seconds)
    look.add(commands)
    top.add(commands)
    speed.add(commands, _seconds)
    ui.add(commands)

    validate = commands.add_parser("validate", help="say what is wrong with jobs", allow_abbrev=False)
    validate.add_argument("files", metavar="FILE", nargs="+", help="YAML files; - is stdin")
    validate.set_defaults(module="ftjob.cli.validate")

    render = commands.add_parser(
        "render", help="print the objects that the operator would create", allow_abbrev=False
    )
    render.add_argument("file", metavar="FILE", help="a YAML file with jobs; - is stdin")
    render.add_argument(
        "-n", "--namespace", metavar="NAME", help="namespace of jobs that name none (default: default)"
    )
    render.set_defaults(module="ftjob.cli.render")

    _add_convert(commands)

    crd = commands.add_parser("crd", help="print the CustomResourceDefinition", allow_abbrev=False)
    crd.set_defaults(module="ftjob.cli.crd")

    completion = commands.add_parser(
        "completion", help="print what lets a shell complete commands at TAB", allow_abbrev=False
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(module="ftjob.cli.completion.script")

    version = commands.add_parser("version", help="print the version", allow_abbrev=False)
    version.set_defaults(module="ftjob.cli.version")
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run a job on this machine, without a cluster", allow_abbrev=False)
    run.add_argument("file", metavar="FILE", help="a YAML file with one job; - is stdin")
    run.add_argument(
        "--outputs", metavar="DIR", help="the outputs volume (default ./ftjob-outputs/<name of the job>)"
    )
    jobs.add_code(run)
    run.add_argument(
        "--python",
        metavar="EXE",
        help="what python and python3 mean in the trainer's command (default: the interpreter of ftjob)",
    )
    run.add_argument("--timeout", metavar="S", type=_seconds, help="stop the job after so many seconds")
    run.add_argument("--quiet", action="store_true", help="print nothing but problems and a failure")
    run.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="json: the final status on stdout"
    )
    run.set_defaults(module="ftjob.cli.run")


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what turns jobs of other operators into ours."""
    convert = commands.add_parser(
        "convert", help="turn jobs of Kubeflow, MPI operator and JobSet into ours", allow_abbrev=False
    )
    convert.add_argument("files", metavar="FILE", nargs="+", help="YAML files with jobs; - is stdin")
    convert.add_argument(
        "--command",
        dest="entry_point",
        metavar="WORDS",
        help="what runs where the job has no command, such as 'python3 train.py'",
    )
    convert.add_argument("--strategy", metavar="NAME", help="of jobs that do not say how their pods train")
    convert.add_argument("--library", metavar="NAME", help="of a TPU: JAX, TorchXLA or TensorFlow")
    convert.add_argument(
        "--runtime", metavar="FILE", action="append", default=[], help="the runtime of a TrainJob"
    )
    convert.add_argument("--from-cluster", action="store_true", help="read runtimes of TrainJobs there")
    options.connection(convert)
    convert.add_argument("--strict", action="store_true", help="exit code 2 also if something is dropped")
    convert.set_defaults(module="ftjob.cli.migrate.convert")


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; what follows the `--` of some verbs is another program's.

    Versions of Python differ in what argparse makes of the two dashes.
    """
    end = words.index("--") if words[:1] in (["shell"], ["submit"]) and "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.words = [*getattr(args, "words", ()), *words[end + 1 :]]
    return args


def main(argv: Sequence[str] | None = None, prog: str = "ftjob") -> int:
    """Do what the command line asks for and return the exit code."""
    parser = build_parser(prog)
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        importlib.import_module("ftjob.cli.completion.candidates").answer(parser)
    args = _parsed(parser, list(sys.argv[1:] if argv is None else argv))
    try:
        code = importlib.import_module(args.module).main(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`ftjob crd | head`): no traceback, and none at exit when Python flushes.
        sys.stdout = None
        return FAILED
    return int(code)


def plugin() -> int:
    """Be `kubectl ftj`."""
    return main(prog=PLUGIN)


def complete_plugin() -> None:
    """Tell kubectl what may come next after `kubectl ftj`."""
    importlib.import_module("ftjob.cli.completion.plugin").answer(build_parser(PLUGIN), sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
