"""The list of packages in pyproject.toml equals the tree, and the two links into the top folders resolve."""

import ast
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LINKED = ("neurons", "converters")


def packages_in_the_tree():
    roots = {"snnfer": ROOT / "snnfer", **{f"snnfer.{name}": ROOT / name for name in LINKED}}
    found = set()
    for package, folder in roots.items():
        for file in folder.rglob("__init__.py"):  # does not follow the links
            found.add(".".join([package, *file.parent.relative_to(folder).parts]))
    return found


def python_files():
    return [file for top in ("snnfer", *LINKED) for file in (ROOT / top).rglob("*.py")]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed_and_every_listed_one_exists(project):
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == packages_in_the_tree()


def test_every_module_lies_in_a_package():
    for file in python_files():
        assert (file.parent / "__init__.py").is_file(), (
            f"{file} would be missing from a wheel: no __init__.py beside it"
        )


@pytest.mark.parametrize("name", LINKED)
def test_links_resolve_to_the_top_folders(name):
    link = ROOT / "snnfer" / name
    if link.is_file():
        pytest.skip("this checkout has no symbolic links; installing works all the same")
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == (ROOT / name).resolve()


def test_version_is_told_once(project):
    import snnfer

    assert snnfer.__version__ == project["project"]["version"]


def test_everything_in_all_is_an_extra(project):
    extras = project["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(everything.removeprefix("snnfer[").removesuffix("]").split(",")) <= set(extras)


def test_every_extra_named_in_the_code_exists(project):
    extras = set(project["project"]["optional-dependencies"])
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                named = {k.value.value for k in node.keywords if k.arg == "extra" and isinstance(k.value, ast.Constant)}
                assert named <= extras, f"{file}:{node.lineno}"


def test_torchvision_is_imported_nowhere():
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
            assert not any(name.split(".")[0] == "torchvision" for name in names), f"{file}:{node.lineno}"


def test_the_architecture_page_names_every_package():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for package in packages_in_the_tree() - {"snnfer"}:
        assert f"{package.split('.')[1]}/" in page, f"{package} is missing from ARCHITECTURE.md"
