"""Names to classes, and plug-ins."""

import sys
from types import SimpleNamespace

import pytest

from pointadapt.core import registry
from pointadapt.core.errors import PointAdaptError, UnknownNameError
from pointadapt.core.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write modules of a package ``things`` that register themselves; returns its registry."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "things"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "things"
    folder.mkdir()

    def make(**modules):
        (folder / "__init__.py").write_text(
            "from pointadapt.core.registry import Registry\nTHINGS = Registry('thing', 'things')\n"
        )
        for name, body in modules.items():
            (folder / f"{name}.py").write_text(f"from things import THINGS\n{body}\n")
        import things

        return things.THINGS

    yield make
    for name in [n for n in sys.modules if n.partition(".")[0] == "things"]:
        del sys.modules[name]


def class_(name):
    return f"@THINGS.register('{name}')\nclass {name.title()}:\n    pass"


def plug_in(monkeypatch, group, name, load):
    point = SimpleNamespace(name=name, value=f"{name}:Plug", load=load)
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group: [point] if group == "things" else []
    )


def test_modules_register_themselves_on_first_use(package):
    things = package(one=class_("one"), two=class_("two"), _hidden="raise AssertionError")
    assert "things.one" not in sys.modules
    assert list(things) == ["one", "two"]
    assert things["two"].name == "two"
    assert "one" in things
    assert "three" not in things


def test_a_name_that_is_a_modules_imports_that_one_alone(package):
    things = package(one=class_("one"), two="raise AssertionError", three=class_("other"))
    assert things["one"].name == "one"
    assert "one" in things
    assert "things.three" not in sys.modules
    with pytest.raises(AssertionError):
        things["other"]  # which no module is called: all are asked


def test_unknown_name_suggests(package):
    things = package(one=class_("one"), two=class_("two"))
    with pytest.raises(UnknownNameError) as caught:
        things["ones"]
    assert str(caught.value) == "unknown thing 'ones': did you mean 'one'? known: one, two"


def test_two_of_one_name_clash(package):
    things = package(one=class_("one"))
    with pytest.raises(ValueError, match=r"two things are called 'one': things\.one\.One and"):
        things["one"], things.register("one")(type("Other", (), {}))
    # of the same class name, in another module
    with pytest.raises(ValueError, match=r"things\.one\.One and elsewhere\.One"):
        things.register("one")(type("One", (), {"__module__": "elsewhere"}))


def test_the_same_class_may_come_again(package):
    import importlib

    things = package(one=class_("one"))
    first = things["one"]
    importlib.reload(sys.modules["things.one"])
    assert things["one"] is not first


def test_plug_ins_are_found(package, monkeypatch):
    things = package(one=class_("one"))
    plug_in(monkeypatch, "things", "extra", lambda: things.register("extra")(type("Plug", (), {})))
    assert list(things) == ["extra", "one"]


def test_a_plug_in_that_takes_a_known_name(package, monkeypatch):
    things = package(one=class_("one"))
    plug_in(monkeypatch, "things", "thief", lambda: things.register("one")(type("Plug", (), {})))
    with pytest.raises(PointAdaptError, match=r"the plug-in 'thief' .*two things are called 'one'"):
        list(things)


def test_a_broken_plug_in_is_named_every_time(package, monkeypatch):
    things = package(one=class_("one"))

    def load():
        raise ImportError("No module named 'gone'\nand more")

    plug_in(monkeypatch, "things", "broken", load)
    for _ in range(2):
        with pytest.raises(PointAdaptError) as caught:
            list(things)
        assert "plug-in 'broken' (broken:Plug) cannot be loaded: No module named" in str(
            caught.value
        )
        assert "\n" not in str(caught.value)


def test_a_module_that_cannot_be_imported_leaves_no_half_table(package):
    things = package(one=class_("one"), two="raise RuntimeError('broken')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            list(things)


def test_a_module_may_ask_the_registry_while_it_is_imported(package):
    things = package(one=class_("one") + "\nassert 'one' in THINGS")
    assert list(things) == ["one"]


def test_an_empty_registry_says_so():
    with pytest.raises(UnknownNameError, match="known: none"):
        empty = Registry("thing", "pointadapt.recipes")
        empty._loaded = True
        empty["x"]
