"""What a trainer's command starts, as far as it can be seen without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_KEYWORDS = frozenset(
    {"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "exec", "command"}
)
_IN_FRONT = frozenset(
    {
        *("env", "nohup", "nice", "ionice", "stdbuf", "setsid", "timeout", "taskset", "numactl", "chrt"),
        *("tini", "dumb-init", "gosu", "su-exec", "sudo", "unbuffer", "xargs"),
        *("conda", "mamba", "micromamba", "poetry", "pipenv", "uv", "pixi"),
        *("strace", "nsys", "ncu", "py-spy"),
    }
)
"""Programs that start the one behind them, after options of their own."""

_SEPARATORS = frozenset(";&|()")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_PYTHON = re.compile(r"python[\d.]*")
_COMMENT = re.compile(r"(^|\s)#[^\n]*")
_DEPTH = 4


@dataclass(frozen=True)
class Started:
    """One program that a command starts."""

    program: str
    """Without its folder; the module's name where Python runs one by ``-m``."""
    args: tuple[str, ...]

    def option(self, *names: str) -> str | None:
        """Return an option's value, "" where it has none; None if it is not given.

        Parameters
        ----------
        names
            Without the dashes in front, and with underscores.
        """
        for index, word in enumerate(self.args):
            name, equals, value = word.partition("=")
            if word.startswith("-") and name.lstrip("-").replace("-", "_") in names:
                following = self.args[index + 1 : index + 2]
                return value if equals else "".join(w for w in following if not w.startswith("-"))
        return None


def started_by(words: Sequence[str], wanted: Container[str], depth: int = _DEPTH) -> Iterator[Started]:
    """Yield the programs that a command starts, also by way of a shell or of ``env``, ``nohup`` and the like.

    A text for a shell is looked through as it stands: what a script or a variable would start is not seen.

    Parameters
    ----------
    wanted
        Names of programs that count even where they could be a value of an option before them.
    """
    found = _program(words)
    if found is None or not depth:
        return
    rest = found.args
    if found.program in _SHELLS:
        for text in _texts_for_a_shell(rest):
            for simple in _simple_commands(text):
                yield from started_by(simple, wanted, depth - 1)
    elif found.program in _IN_FRONT:
        yield from started_by(_behind(rest, wanted), wanted, depth - 1)
    elif _PYTHON.fullmatch(found.program):
        yield from _run_by_python(rest)
    else:
        yield found


def _program(words: Sequence[str]) -> Started | None:
    for index, word in enumerate(words):
        if word not in _KEYWORDS and not _ASSIGNMENT.match(word):
            return Started(word.rpartition("/")[2], tuple(words[index + 1 :]))
    return None


def _behind(args: Sequence[str], wanted: Container[str]) -> Sequence[str]:
    """Return the command behind a program that starts another, after options that may have a value each."""
    for index, word in enumerate(args):
        name = word.rpartition("/")[2]
        if name in _SHELLS or name in _IN_FRONT or name in wanted or _PYTHON.fullmatch(name):
            return args[index:]
        is_own = word.startswith("-") or word in {"run", "exec", "profile", "record"}
        is_own = is_own or word[:1].isdigit() or _ASSIGNMENT.match(word) is not None
        is_value = index > 0 and args[index - 1].startswith("-") and "=" not in args[index - 1]
        if not is_own and not is_value:
            return args[index:]
    return ()


def _run_by_python(args: Sequence[str]) -> Iterator[Started]:
    for index, word in enumerate(args):
        if word in {"-c", "-"}:
            return
        if word == "-m":
            yield from (Started(args[i], tuple(args[i + 1 :])) for i in (index + 1,) if i < len(args))
            return
        if not word.startswith("-") and (index == 0 or args[index - 1] not in {"-X", "-W"}):
            yield Started(word.rpartition("/")[2], tuple(args[index + 1 :]))
            return


def _texts_for_a_shell(args: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(args):
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", word):
            yield from args[index + 1 : index + 2]
            return
        if not word.startswith(("-", "+")) and not (index and re.fullmatch(r"[-+]\w*[oO]", args[index - 1])):
            return  # a script file


def _simple_commands(text: str) -> Iterator[list[str]]:
    """Split a shell's text into its simple commands; a text that can't be read has none."""
    text = _COMMENT.sub(r"\1", text.replace("\\\n", " ")).replace("\n", " ; ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    command: list[str] = []
    try:
        for word in lexer:
            if set(word) <= _SEPARATORS:
                yield command
                command = []
            else:
                command.append(word)
    except ValueError:  # an open quote
        pass
    yield command
