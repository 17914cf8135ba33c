"""The program, a module or a library can't be run as it is."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where
from ftjob_protocol.failures import FailureClass

_IMAGE = "https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/"
_COMMAND = r"[^\s:]{1,200}"

ROWS = (
    Row(
        "undefined-symbol",
        Where.RAISED,
        r"(?P<library>[^\s:/]{1,120}\.so[\w.]{0,20}): undefined symbol: (?P<symbol>\w{1,200})",
        "{library} was built for another version of a library than the one installed",
        "Install the build of that extension for the installed torch and CUDA, or build it anew in the image",
        "https://docs.pytorch.org/docs/stable/cpp_extension.html",
    ),
    Row(
        "shared-library",
        Where.SAID,
        r"(?P<library>lib[\w+.-]{1,100}): cannot open shared object file",
        "The image lacks the library {library}",
        "Install its package in the image (of CUDA, cuDNN or the system), of the version in its name, or set "
        "LD_LIBRARY_PATH",
        "https://man7.org/linux/man-pages/man8/ld.so.8.html",
    ),
    Row(
        "libc-too-old",
        Where.SAID,
        r"version `(?P<version>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]{1,12})' not found",
        "The image's system is older than a library in it expects ({version})",
        "Use a newer base image, or install the library in this one rather than copying it",
        "https://peps.python.org/pep-0600/",
    ),
    Row(
        "module-missing",
        Where.RAISED,
        r"ModuleNotFoundError: No module named '(?P<module>[\w.]{1,120})'",
        "The module {module} is not installed where the script runs",
        "Install it in the image, or set PYTHONPATH or workingDir to where it lies; on this machine choose "
        "the interpreter that has it: ftjob run --python",
        "https://docs.python.org/3/library/sys_path_init.html",
    ),
    Row(
        "script-missing",
        Where.SAID,
        r"can't (?:open file|find '__main__' module in) '(?P<path>[^'\n]{1,200})'",
        "There is no script {path}",
        "Copy it into the image or mount it, and look at workingDir: a relative path begins there",
        _IMAGE,
    ),
    Row(
        "windows-line-ends",
        Where.SAID,
        r"\$'[^'\n]{0,80}\\r': command not found|'(?P<name>\w{1,20})\\r': No such file or directory|bad "
        r"interpreter[^\n]{0,40}\^M",
        "The script has the line ends of Windows",
        "Convert it: sed -i 's/\\r$//' FILE, and set `*.sh text eol=lf` in .gitattributes",
        "https://git-scm.com/docs/gitattributes#_eol",
    ),
    Row(
        "wrong-architecture",
        Where.SAID,
        r"[Ee]xec format error",
        "A program is built for another kind of processor than the node's, or lacks its first line (#!)",
        "Build the image for the nodes' platform (docker buildx --platform), or choose nodes by "
        "kubernetes.io/arch",
        "https://docs.docker.com/build/building/multi-platform/",
    ),
    Row(
        "wrong-processor",
        Where.SAID,
        r"compiled to use (?P<feature>[A-Z][\w.]{1,20}(?:, [A-Z][\w.]{1,20}){0,6}) instructions, but these "
        r"aren't available|killed by SIGILL|Illegal instruction",
        "A library uses instructions that the node's processor does not have[ ({feature})]",
        "Install a build for older processors, or choose newer nodes by a nodeSelector",
        "https://www.tensorflow.org/install/pip#hardware_requirements",
    ),
    Row(
        "command-not-found",
        Where.SAID,
        rf"(?:^|\n)[^\n]{{0,120}}?(?P<command>{_COMMAND}): (?:command )?not found(?:\n|$)"
        rf"|exec: \"(?P<other>{_COMMAND})\": executable file not found"
        rf"|(?:bash|sh): [^\n]{{0,40}}?(?P<path>/{_COMMAND}): No such file or directory",
        "The image has no program [{command}][{other}][{path}]",
        "Look at the command's spelling and at PATH, or install the program in the image",
        _IMAGE,
        exit_codes=(126, 127, 128),
    ),
    Row(
        "not-executable",
        Where.SAID,
        rf"(?P<path>{_COMMAND}): Permission denied",
        "{path} may not be executed",
        "Make it executable in the image (chmod +x), or call it by its interpreter: bash FILE",
        _IMAGE,
        exit_codes=(126,),
    ),
    Row(
        "start-error",
        Where.SAID,
        r"OCI runtime create failed[^\n]{0,300}(?P<why>mount|working directory|permission denied|no such "
        r"file or directory)",
        "The node can't start the container ({why})",
        "Look at command, workingDir and volumeMounts of the trainer: subPath and mountPath must fit files "
        "or folders alike",
        "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/",
    ),
    Row(
        "killed",
        Where.SAID,
        r"killed by SIGKILL|(?:^|\n)[^\n]{0,120}\bKilled\b",
        "Somebody has killed the process, and it was not the trainer's own memory limit that is known to "
        "have",
        "Look for the kernel's OOM killer on the node (dmesg; memory without a limit is ended first), and "
        "for whoever sends SIGKILL",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
        reasons=(FailureClass.SIGNAL, FailureClass.EXIT),
        exit_codes=(137,),
    ),
)
