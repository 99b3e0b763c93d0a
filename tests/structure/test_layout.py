"""The rules of the layout that import-linter cannot state."""

import ast
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "pointadapt"
FILES = sorted(SRC.rglob("*.py"))


def imported(path):
    """(folder of what is imported, its names) of each import in a file of the package."""
    package = path.relative_to(SRC.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield (*base, *(node.module.split(".") if node.module else ())), node.names


def test_the_root_holds_three_files():
    files = {path.name for path in SRC.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed"}


def test_no_private_module_is_imported_across_folders():
    wrong = []
    for path in FILES:
        own = path.relative_to(SRC.parent).parts[:-1]
        for module, names in imported(path):
            if module[:1] != ("pointadapt",):
                continue
            for whole in (module, *((*module, alias.name) for alias in names)):
                at = next((k for k, part in enumerate(whole) if part.startswith("_")), None)
                is_module = at is not None and (
                    SRC.parent.joinpath(*whole[: at + 1]).with_suffix(".py").exists()
                )
                if is_module and whole[:at] != own:
                    wrong.append(f"{path.relative_to(SRC)} imports {'.'.join(whole)}")
    assert not wrong, wrong


def test_data_flows_one_way_and_nothing_turns_in_a_circle():
    spec = importlib.util.spec_from_file_location("structure", ROOT / "tools" / "structure.py")
    structure = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = structure
    spec.loader.exec_module(structure)
    figures, wrong = structure.measure(ROOT)
    assert not wrong, wrong
    assert figures["rooms"] <= 22
