"""No name of a task, a method or a data set is compared as a string outside its own file.

Code that asks "is this the task called so?" must be found and changed for every new task; what
differs belongs into the task, the method or the data set, as an attribute or a method.
"""

import ast
import inspect
from pathlib import Path

import pytest

from pointadapt.data import DATASETS
from pointadapt.methods import METHODS
from pointadapt.tasks import TASKS

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "pointadapt"
OWN = {  # name -> the files that may know it
    name: {
        Path(inspect.getfile(registry[name]))
        for registry in (TASKS, METHODS, DATASETS)
        if name in registry
    }
    for name in {*TASKS, *METHODS, *DATASETS}
}
ALLOWED = {  # (file, name): why it is no comparison of a task, method or data set
    ("adapters/convert.py", "dapt"): "the kind of a published file, by the keys that it has",
    ("adapters/convert.py", "full"): "the kind of a published file, by the keys that it has",
    ("pretrained/convert.py", "dapt"): "the kind of a published file, by the keys that it has",
    ("pretrained/convert.py", "full"): "the kind of a published file, by the keys that it has",
    ("adapters/hf_peft.py", "dapt"): "the name of a child module",
    ("data/sets/folder_segmentation.py", "classification"): "a field of LAS",
    ("io/las.py", "classification"): "a field of LAS",
    ("cli/commands/train.py", "adapter"): "a key of the results",
    ("methods/hf_peft/method.py", "dapt"): "a type that we add to peft's own table",
    ("reports/terminal.py", "dapt"): "the kind of a published file, in words",
    ("reports/terminal.py", "full"): "the kind of a published file, in words",
    ("scenes/_las.py", "classification"): "a field of LAS",
    ("studies/cross_validate.py", "adapter"): "a key of the results",
}


def texts(node, known):
    """The strings that an expression is: itself, its members, or those of a module's constant."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return set().union(*(texts(item, known) for item in node.elts))
    if isinstance(node, ast.Name):
        return known.get(node.id, set())
    return set()


def constants(tree):
    """Names at the top of a module that stand for strings."""
    found = {}
    for node in tree.body:
        for target in getattr(node, "targets", ()):
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
            for name, value in pairs:
                if isinstance(name, ast.Name):
                    found[name.id] = texts(value, found)
    return found


def compared(tree):
    """(line, strings) of all that is compared with a string, matched, or looked up by one."""
    known = constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for each in (node.left, *node.comparators):
                yield node.lineno, texts(each, known)
        elif isinstance(node, ast.MatchValue):
            yield node.lineno, texts(node.value, known)
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.value, ast.Dict):
            keys = [key for key in node.value.keys if key is not None]
            yield node.lineno, set().union(*(texts(key, known) for key in keys))


def found_in(source, file):
    """(name, line) of each registered name that ``file`` compares and is not its own."""
    return [
        (name, line)
        for line, strings in compared(ast.parse(source))
        for name in sorted(strings & OWN.keys())
        if file not in OWN[name]
    ]


def test_no_name_is_compared_outside_its_own_file():
    wrong, used = [], set()
    for path in sorted(SRC.rglob("*.py")):
        where = path.relative_to(SRC).as_posix()
        for name, line in found_in(path.read_text(encoding="utf-8"), path):
            used.add((where, name))
            if (where, name) not in ALLOWED:
                wrong.append(f"{where}:{line}: {name!r}")
    assert not wrong, wrong
    assert not set(ALLOWED) - used, "no longer needed: take it off the list"


@pytest.mark.parametrize(
    "source",
    [
        'task == "classification"',
        '"shapes" != config.data',
        'x in ("dapt", "other")',
        '"shapes" in self.data',
        'KNOWN = ("folder", "x")\ny = data in KNOWN',
        'A, B = "folder", 1\ny = data == A',
        'match x:\n    case "dapt":\n        pass',
        'y = {"shapes": 1, "folder": 2}[x]',
        'y = {"shapes": 1}.get(x, 0)',
    ],
)
def test_comparisons_are_found(source):
    assert found_in(source, SRC / "core" / "x.py")


@pytest.mark.parametrize(
    "source", ['data: str = "shapes"', 'make_task("classification")', 'x == "other"', "x == 1"]
)
def test_other_uses_are_left_alone(source):
    assert not found_in(source, SRC / "core" / "x.py")


def test_a_file_may_ask_for_its_own_name():
    (own,) = OWN["classification"]
    assert not found_in('x == "classification"', own)
