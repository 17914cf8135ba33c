"""Check how the house is built: `house.py [--summary] [ROOT]` exits with 1 if a limit is broken.

It reads the sources under operator/ and workloads/ and follows every import: at the top of a module, under
TYPE_CHECKING, inside functions, relative ones, and modules that a string names (`"a.b"`, `"a.b:Name"`, or
`".b"` for `import_module`, or `f"{__package__}.b"`). The rooms of a package are its children; a sub-package
is one room, whatever it holds. Reported are:

- circles among the rooms of a package. Its `__init__.py` may import its children; then a child that imports
  it closes a circle, whichever children those are.
- arrows up: imports against the layers that pyproject.toml declares for import-linter.
- rooms in no layer, where a package of operator/ has layers or is large enough to need them; but not
  where a contract of type acyclic_siblings says that the rooms are alike, and only circles matter.
- modules, functions and folders that are too long.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MODULE_LINES, FUNCTION_LINES, FOLDER_FILES = 400, 60, 12
ROOMS_WITHOUT_LAYERS = 2
TOP = ""
"""The package of what stands in no package."""


@dataclass(frozen=True)
class Module:
    """A source file; `name` is what its imports call it, the package's for an `__init__.py`."""

    name: str
    path: Path
    where: str
    nodes: tuple[tuple[ast.AST, str], ...]
    lines: int

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else parent(self.name)


@dataclass(frozen=True)
class Import:
    """One import of a module of the house by another one."""

    importer: str
    imported: str
    where: str
    how: str

    def __str__(self) -> str:
        """Describe the import, with the line to open."""
        return f"  {self.where}: {self.importer} -> {self.imported}{self.how}"


@dataclass(frozen=True)
class Layers:
    """One contract of layers: the level of each, 0 at the top, and the levels whose layers stand apart."""

    levels: Mapping[str, int]
    independent: frozenset[int]

    def forbid(self, importer: str, imported: str) -> bool:
        """Say whether an import would go up, or between layers of one level that stand apart."""
        if importer not in self.levels or imported not in self.levels:
            return False
        low, high = self.levels[importer], self.levels[imported]
        return low > high or (low == high and low in self.independent)


@dataclass(frozen=True, eq=False)
class Package:
    """The rooms of a package and the imports between them; its `__init__.py` has the package's name."""

    name: str
    rooms: frozenset[str]
    arrows: Mapping[tuple[str, str], tuple[Import, ...]]

    def rings(self) -> set[frozenset[str]]:
        """Return each room with those that it can't be told from: more than one is a circle."""
        ways = defaultdict(set)
        for importer, imported in self.arrows:
            ways[importer].add(imported)
        if self.name in ways:
            ways[self.name] |= {child for child, imported in self.arrows if imported == self.name}
        reach = {room: reachable(room, ways) for room in self.rooms | {self.name}}
        return {frozenset({a} | {b for b in reach[a] if a in reach[b]}) for a in reach}

    def floors(self) -> int:
        """Return how many rooms the longest chain of imports has; a circle counts as one."""
        ring_of = {room: ring for ring in self.rings() for room in ring}

        @cache
        def height(ring: frozenset[str]) -> int:
            below = {ring_of[b] for a, b in self.arrows if a in ring and b != self.name} - {ring}
            return 1 + max(map(height, below), default=0)

        return max((height(ring_of[room]) for room in self.rooms), default=0)


def parent(name: str) -> str:
    """Return the package of a module."""
    return name.rpartition(".")[0]


def reachable(start: str, ways: Mapping[str, set[str]]) -> set[str]:
    """Return every room that the imports of one lead to."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = ways.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found


def read_modules(root: Path) -> list[Module]:
    """Parse all sources; a folder without `__init__.py` is one that PYTHONPATH names."""
    modules = []
    for path in sorted(path for top in ("operator", "workloads") for path in (root / top).rglob("*.py")):
        parts = [] if path.stem == "__init__" else [path.stem]
        folder = path.parent
        while (folder / "__init__.py").exists():
            parts.insert(0, folder.name)
            folder = folder.parent
        text = path.read_text()
        where = path.relative_to(root).as_posix()
        nodes = tuple(walk(ast.parse(text, where)))
        modules.append(Module(".".join(parts), path, where, nodes, len(text.splitlines())))
    return modules


def read_imports(module: Module, known: set[str]) -> Iterator[Import]:
    """Find what a module imports of the house."""
    package = module.package
    for node, how in module.nodes:
        for name, named_how in names_in(node, package, known, how):
            imported = name
            while imported and imported not in known:
                imported = parent(imported)
            if imported and imported != module.name:
                yield Import(module.name, imported, f"{module.where}:{getattr(node, 'lineno', 0)}", named_how)


def walk(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield every node of a tree in order, with a word on imports that are not made when the module is."""
    ahead = [(node, "")]
    while ahead:
        node, how = ahead.pop()
        inner = how
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = " (inside a function)"
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inner = " (under TYPE_CHECKING)"
        yield node, how
        ahead += [(child, inner) for child in reversed(list(ast.iter_child_nodes(node)))]


def names_in(node: ast.AST, package: str, known: set[str], how: str) -> Iterator[tuple[str, str]]:
    """Yield the modules that a statement or a string names, and how."""
    in_string = " (named in a string)"
    match node:
        case ast.Import(names=aliases):
            yield from ((alias.name, how) for alias in aliases)
        case ast.ImportFrom(level=level, module=module, names=aliases):
            base = absolute("." * level + (module or ""), package)
            yield from ((f"{base}.{alias.name}", how) for alias in aliases)
        case ast.Constant(value=str(text)) if "." in text and (name := text.partition(":")[0]) in known:
            yield name, in_string
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if name.startswith("."):
            if ast.unparse(node.func).endswith("import_module"):
                yield absolute(name, package), in_string
        case ast.JoinedStr(
            values=[ast.FormattedValue(value=ast.Name("__package__")), ast.Constant(str(rest))]
        ):
            yield f"{package}{rest}", in_string


def absolute(name: str, package: str) -> str:
    """Resolve the leading dots of a relative import."""
    level = len(name) - len(name.lstrip("."))
    for _ in range(level - 1):
        package = parent(package)
    return f"{package}.{name[level:]}".strip(".") if level else name


def read_packages(modules: list[Module], imports: list[Import]) -> list[Package]:
    """Draw the rooms of every package that has some."""
    rooms = defaultdict(set)
    for module in modules:
        rooms[parent(module.name)].add(module.name)
    arrows: dict[str, dict[tuple[str, str], list[Import]]] = defaultdict(lambda: defaultdict(list))
    for made in imports:
        importer, imported = made.importer.split("."), made.imported.split(".")
        shared = 0
        while importer[shared : shared + 1] == imported[shared : shared + 1] != []:
            shared += 1
        ends = ".".join(importer[: shared + 1]), ".".join(imported[: shared + 1])
        arrows[".".join(importer[:shared])][ends].append(made)
    return [
        Package(name, frozenset(rooms[name]), {ends: tuple(made) for ends, made in arrows[name].items()})
        for name in sorted(rooms)
    ]


def read_contracts(root: Path) -> list[dict[str, Any]]:
    """Read what pyproject.toml declares for import-linter."""
    linter = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts: list[dict[str, Any]] = linter.get("contracts", [])
    return contracts


def read_layers(contracts: list[dict[str, Any]], modules: list[Module]) -> Iterator[Layers]:
    """Read the contracts of type layers, once for each of their containers.

    import-linter calls a package in a folder that PYTHONPATH names by the folders that lead to it.
    """
    by_folder = {module.where.partition("/")[2].rpartition("/")[0]: module.package for module in modules}
    for contract in contracts:
        lines = contract["layers"] if contract["type"] == "layers" else []
        apart = frozenset(level for level, line in enumerate(lines) if ":" not in line)
        for path in contract.get("containers", [""]):
            container = by_folder.get(path.replace(".", "/"), path)
            named = [
                (level, name) for level, line in enumerate(lines) for name in re.findall(r"[\w.]+", line)
            ]
            yield Layers({f"{container}.{name}".lstrip("."): level for level, name in named}, apart)


def circles(package: Package) -> Iterator[str]:
    """Describe each circle among the rooms of a package, with the imports that close it."""
    for ring in sorted(package.rings(), key=sorted):
        if len(ring) > 1:
            title = f"circle in {package.name or 'the house'}: {', '.join(sorted(ring))}. "
            remedy = "Carry the definition that they share into a module below them, or merge them."
            inside = [
                made for ends, imports in package.arrows.items() if ring.issuperset(ends) for made in imports
            ]
            yield "\n".join([title + remedy, *map(str, inside)])


def arrows_up(package: Package, layers: list[Layers]) -> Iterator[str]:
    """Describe each import of a package that goes up, or between layers that stand apart."""
    for (low, high), imports in package.arrows.items():
        if any(each.forbid(low, high) for each in layers):
            title = f"arrow up: {low} imports {high}, which pyproject.toml puts above or beside it. "
            remedy = "Move one of the two, or carry the definition that both need into a module below both."
            yield "\n".join([title + remedy, *map(str, imports)])


def without_layer(package: Package, layers: list[Layers]) -> Iterator[str]:
    """Describe what a package lacks in pyproject.toml."""
    missing = sorted(room for room in package.rooms if not any(room in each.levels for each in layers))
    if len(missing) < len(package.rooms):
        yield from (f"{room} is in no layer. List it in the layers of {package.name}." for room in missing)
    elif len(package.rooms) > ROOMS_WITHOUT_LAYERS:
        yield f"{package.name}: {len(missing)} rooms, no layers. List them in a contract in pyproject.toml."


def too_long(module: Module) -> Iterator[str]:
    """Describe what is too long in a module."""
    if module.lines > MODULE_LINES:
        remedy = "Move one of its concerns to a module of its own."
        yield f"{module.where}: {module.lines} lines, {MODULE_LINES} are allowed. {remedy}"
    for node, _ in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_table(node):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                limit = f"{node.name} has {lines} lines, {FUNCTION_LINES} are allowed"
                yield f"{module.where}:{node.lineno}: {limit}. Make its steps functions."


def is_table(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Say whether a function does nothing but return one literal."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    literals = ast.Dict | ast.List | ast.Tuple | ast.Set | ast.Constant
    return len(body) == 1 and isinstance(body[0], ast.Return) and isinstance(body[0].value, literals)


def too_full(root: Path, modules: list[Module]) -> Iterator[str]:
    """Describe the folders of operator/ with too many files."""
    for folder, files in Counter(module.path.parent for module in modules).items():
        if files > FOLDER_FILES and folder.is_relative_to(root / "operator"):
            where, limit = folder.relative_to(root).as_posix(), f"{files} files, {FOLDER_FILES} are allowed"
            yield f"{where}/: {limit}. Give those that belong together a folder of their own."


def main(argv: Sequence[str] | None = None) -> int:
    """Print the faults, each with its remedy, and the table of the packages."""
    parser = argparse.ArgumentParser(description="Check the imports and the sizes of the sources.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--summary", action="store_true", help="print only the table of the packages")
    args = parser.parse_args(argv)

    modules, contracts = read_modules(args.root), read_contracts(args.root)
    layers = list(read_layers(contracts, modules))
    alike = {name for c in contracts if c["type"] == "acyclic_siblings" for name in c["ancestors"]}
    known = {module.name for module in modules}
    imports = list(dict.fromkeys(found for module in modules for found in read_imports(module, known)))
    packages = read_packages(modules, imports)
    rings = {p: list(circles(p)) for p in packages}
    up = {p: list(arrows_up(p, layers)) for p in packages}
    under = {parent(module.name) for module in modules if module.where.startswith("operator/")} - {TOP}
    faults = [
        *chain.from_iterable(rings.values()),
        *chain.from_iterable(up.values()),
        *chain.from_iterable(without_layer(p, layers) for p in packages if p.name in under - alike),
        *chain.from_iterable(map(too_long, modules)),
        *too_full(args.root, modules),
    ]
    if faults and not args.summary:
        print(*faults, sep="\n", end="\n\n")
    print(f"{'package':24}   rooms  floors  arrows circles      up")
    for p in packages:
        arrows = sum(p.name not in ends for ends in p.arrows)
        figures = len(p.rooms), p.floors(), arrows, len(rings[p]), len(up[p])
        print(f"{p.name or '(top)':24}" + "".join(f"{figure:8}" for figure in figures))
    circle_count, up_count = (sum(map(len, found.values())) for found in (rings, up))
    print(f"circles: {circle_count}, arrows up: {up_count}, faults: {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
