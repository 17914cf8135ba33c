"""The check of imports and sizes finds each kind of fault, and says where it is."""

from __future__ import annotations

import importlib.util
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPEC = importlib.util.spec_from_file_location("house", Path(__file__).parents[2] / "tools" / "house.py")
assert _SPEC is not None
assert _SPEC.loader is not None
house = sys.modules["house"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(house)
SOUND = {
    "shop/__init__.py": '"""A shop."""\n',
    "shop/sale.py": "from shop import goods\nfrom shop.money import Price\n",
    "shop/goods.py": "from shop.money import Price\n",
    "shop/money.py": "class Price: ...\n",
}
LAYERS = ["shop.sale", "shop.goods", "shop.money"]


class Repository:
    """A small repository with a package `shop` of three layers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write(SOUND)
        self.declare({"layers": LAYERS})

    def write(self, files: Mapping[str, str], top: str = "operator") -> None:
        """Write sources below a top folder."""
        for name, text in files.items():
            path = self.root / top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def declare(self, *contracts: Mapping[str, list[str]]) -> None:
        """Declare contracts of layers."""
        lines = ["[tool.importlinter]", 'root_packages = ["shop"]']
        for contract in contracts:
            kind = "layers" if "layers" in contract else "acyclic_siblings"
            lines += ["[[tool.importlinter.contracts]]", f'type = "{kind}"']
            lines += [f"{key} = {value}" for key, value in contract.items()]
        (self.root / "pyproject.toml").write_text("\n".join(lines))

    def check(self, *options: str) -> tuple[int, str]:
        """Return the exit code of the check and what it prints."""
        printed = io.StringIO()
        with redirect_stdout(printed):
            code: int = house.main([str(self.root), *options])
        return code, printed.getvalue()

    def faults(self) -> str:
        """Return the faults that the check finds; there has to be one."""
        code, printed = self.check()
        assert code == 1
        return printed.partition("\n\n")[0]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_sound_house_passes_with_a_table_of_its_packages(repository: Repository) -> None:
    code, printed = repository.check()
    assert code == 0
    assert [line.split() for line in printed.splitlines()] == [
        ["package", "rooms", "floors", "arrows", "circles", "up"],
        ["(top)", "1", "1", "0", "0", "0"],
        ["shop", "3", "3", "3", "0", "0"],
        ["circles:", "0,", "arrows", "up:", "0,", "faults:", "0"],
    ]


@pytest.mark.parametrize(
    ("source", "line", "how"),
    [
        ("from shop.goods import Shelf\n", 1, ""),
        ("import shop.goods\n", 1, ""),
        ("from . import goods\n", 1, ""),
        ("from .goods import Shelf\n", 1, ""),
        ("if TYPE_CHECKING:\n    from shop import goods\n", 2, " (under TYPE_CHECKING)"),
        ("def price():\n    from shop import goods\n", 2, " (inside a function)"),
        ("async def price():\n    from .goods import Shelf\n", 2, " (inside a function)"),
        ('importlib.import_module("shop.goods")\n', 1, " (named in a string)"),
        ('pkgutil.resolve_name("shop.goods:Shelf")\n', 1, " (named in a string)"),
        ('importlib.import_module(".goods", __package__)\n', 1, " (named in a string)"),
        ('__import__(f"{__package__}.goods")\n', 1, " (named in a string)"),
    ],
)
def test_every_kind_of_import_closes_a_circle(
    repository: Repository, source: str, line: int, how: str
) -> None:
    repository.write({"shop/money.py": source})
    faults = repository.faults()
    assert "circle in shop: shop.goods, shop.money. Carry the definition" in faults
    assert "\n  operator/shop/goods.py:1: shop.goods -> shop.money\n" in faults
    assert f"\n  operator/shop/money.py:{line}: shop.money -> shop.goods{how}\n" in faults


def test_modules_that_are_in_no_circle_are_not_named(repository: Repository) -> None:
    repository.write({"shop/money.py": "import shop.goods\n"})
    assert "shop.sale" not in repository.faults()


def test_sub_packages_that_need_each_other_are_a_circle_though_no_module_is_in_one(
    repository: Repository,
) -> None:
    repository.write(
        {
            "shop/till/__init__.py": "",
            "shop/till/drawer.py": "import shop.stock.shelf\n",
            "shop/till/coin.py": "",
            "shop/stock/__init__.py": "",
            "shop/stock/shelf.py": "",
            "shop/stock/label.py": "from ..till import coin\n",
        }
    )
    repository.declare({"layers": ["shop.sale", "shop.goods", "shop.money", "shop.till : shop.stock"]})
    faults = repository.faults()
    assert "circle in shop: shop.stock, shop.till. " in faults
    assert "operator/shop/stock/label.py:1: shop.stock.label -> shop.till.coin" in faults
    assert "operator/shop/till/drawer.py:1: shop.till.drawer -> shop.stock.shelf" in faults


@pytest.mark.parametrize("child", ["money", "goods"])
def test_a_child_may_not_import_its_package_which_imports_its_children(
    repository: Repository, child: str
) -> None:
    repository.write({"shop/__init__.py": "from shop.money import Price\n"})
    assert repository.check()[0] == 0
    repository.write({f"shop/{child}.py": "from shop import Price\n"})
    assert f"circle in shop: shop, shop.{child}" in repository.faults()


def test_a_child_may_import_its_package_which_imports_no_child(repository: Repository) -> None:
    repository.write({"shop/__init__.py": 'NAME = "shop"\n', "shop/money.py": "from shop import NAME\n"})
    assert repository.check()[0] == 0


def test_packages_beside_each_other_may_not_be_a_circle(repository: Repository) -> None:
    repository.write({"shop/money.py": "def f():\n    import advert.digits\n"})
    repository.write({"advert/__init__.py": "", "advert/digits.py": "import shop\n"}, top="workloads")
    assert "circle in the house: advert, shop. " in repository.faults()


def test_a_folder_on_the_path_inside_a_package_has_packages_of_its_own(repository: Repository) -> None:
    repository.write(
        {
            "shop/hooks/sitecustomize.py": '__import__("on_shop.start")\n',
            "shop/hooks/on_shop/__init__.py": "",
            "shop/hooks/on_shop/start.py": "from . import end\n",
            "shop/hooks/on_shop/end.py": "def f():\n    from . import start\n",
        }
    )
    assert "circle in on_shop: on_shop.end, on_shop.start. " in repository.faults()


def test_contracts_name_such_a_package_by_the_folders_that_lead_to_it(repository: Repository) -> None:
    repository.write(
        {
            "shop/hooks/on_shop/__init__.py": "",
            "shop/hooks/on_shop/start.py": "from . import end\n",
            "shop/hooks/on_shop/end.py": "",
        }
    )
    layers = {"containers": ["shop.hooks.on_shop"], "layers": ["end", "start"]}
    repository.declare({"layers": LAYERS}, layers)
    assert "arrow up: on_shop.start imports on_shop.end, " in repository.faults()


@pytest.mark.parametrize(
    "contract",
    [
        {"layers": ["shop.money", "shop.sale", "shop.goods"]},
        {"containers": ["shop"], "layers": ["money", "sale", "goods"]},
        {"layers": ["shop.sale", "shop.money | shop.goods"]},
        {"containers": ["shop"], "layers": ["sale", "(money) | goods"]},
    ],
)
def test_an_import_against_the_layers_is_an_arrow_up(
    repository: Repository, contract: Mapping[str, list[str]]
) -> None:
    repository.declare(contract)
    faults = repository.faults()
    assert "arrow up: shop.goods imports shop.money, " in faults
    assert "Move one of the two, or carry the definition that both need into a module below both." in faults
    assert "\n  operator/shop/goods.py:1: shop.goods -> shop.money" in faults


def test_siblings_that_do_not_stand_apart_may_import_each_other(repository: Repository) -> None:
    repository.declare({"layers": ["shop.sale", "shop.money : shop.goods"]})
    assert repository.check()[0] == 0


def test_every_room_stands_in_a_layer(repository: Repository) -> None:
    repository.write({"shop/advert.py": ""})
    assert repository.faults() == "shop.advert is in no layer. List it in the layers of shop."


def test_a_package_of_three_rooms_needs_layers(repository: Repository) -> None:
    repository.declare()
    assert "shop: 3 rooms, no layers." in repository.faults()
    (repository.root / "operator/shop/sale.py").unlink()
    assert repository.check()[0] == 0


def test_rooms_that_are_alike_need_no_layers_but_may_not_be_a_circle(repository: Repository) -> None:
    repository.declare({"ancestors": ["shop"]})
    assert repository.check()[0] == 0
    repository.write({"shop/money.py": "import shop.goods\n"})
    assert "circle in shop: shop.goods, shop.money. " in repository.faults()


def test_workloads_need_no_layers(repository: Repository) -> None:
    repository.write({f"advert/{name}.py": "" for name in ("__init__", "a", "b", "c", "d")}, top="workloads")
    assert repository.check()[0] == 0


@pytest.mark.parametrize("top", ["operator", "workloads"])
def test_a_module_has_at_most_400_lines(repository: Repository, top: str) -> None:
    repository.write({"script.py": "x = 1\n" * 400}, top)
    assert repository.check()[0] == 0
    repository.write({"script.py": "x = 1\n" * 401}, top)
    assert f"{top}/script.py: 401 lines, 400 are allowed." in repository.faults()


@pytest.mark.parametrize("head", ["def f():", "async def f():", "class A:\n  def f(self):"])
def test_a_function_has_at_most_60_lines(repository: Repository, head: str) -> None:
    repository.write({"script.py": head + "\n    x = 1" * 59})
    assert repository.check()[0] == 0
    repository.write({"script.py": head + '\n    """Do."""' + "\n    x = 1" * 59})
    line = len(head.splitlines())
    assert f"operator/script.py:{line}: f has 61 lines, 60 are allowed." in repository.faults()


def test_a_function_that_returns_a_table_may_be_longer(repository: Repository) -> None:
    table = "    return {\n" + "        'a': g(),\n" * 60 + "    }\n"
    repository.write({"script.py": 'def f():\n    """Return a table."""\n' + table})
    assert repository.check()[0] == 0
    repository.write({"script.py": "def f():\n    x = 1\n" + table})
    assert "f has 64 lines" in repository.faults()


def test_a_folder_of_the_operator_has_at_most_12_files(repository: Repository) -> None:
    repository.write({f"images/{number}.py": "" for number in range(13)}, top="workloads")
    repository.write({f"images/{number}.py": "" for number in range(12)})
    assert repository.check()[0] == 0
    repository.write({"images/12.py": ""})
    assert "operator/images/: 13 files, 12 are allowed." in repository.faults()


def test_the_summary_is_the_table_alone(repository: Repository) -> None:
    repository.write({"shop/money.py": "import shop.goods\n"})
    code, printed = repository.check("--summary")
    assert code == 1
    assert printed.startswith("package ")
    assert printed.splitlines()[2].split() == ["shop", "3", "2", "4", "1", "1"]
