"""Every command has its Python call of the same name and options."""

import inspect
from dataclasses import fields, is_dataclass

import pytest

import pointadapt
from pointadapt.cli.commands import COMMANDS
from pointadapt.cli.commands.data import Show, Verify
from pointadapt.core.errors import ConfigError, UnknownNameError
from pointadapt.recipes.start import configured

CALLS = {"list": "available", "pool": "pool_scores", "data": "verify_data"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_has_a_call(command):
    name = CALLS.get(command, command.replace("-", "_"))
    assert name in pointadapt.__all__
    call = getattr(pointadapt, name)
    assert callable(call)
    assert inspect.signature(call).return_annotation is not inspect.Signature.empty


PRINTS = {"json", "summary"}  # how a command prints
OF_THE_SCREEN = {  # what a command does besides its call
    "predict": {"csv", "picture", "threads"},  # writes the rows that came back
    "probe": {"threads"},  # torch's, of the whole process
    "score-scenes": {"threads"},
    "embed": {"threads"},
    "serve": {"threads"},
    "suggest": {"threads"},
}
ACTIONS = {"data verify": (Verify, "verify_data"), "data show": (Show, "show_data")}
OPTIONS = {name: (cls, CALLS.get(name, name.replace("-", "_"))) for name, cls in COMMANDS.items()}
del OPTIONS["data"]


@pytest.mark.parametrize("name", sorted({**OPTIONS, **ACTIONS}))
def test_a_call_takes_the_options_of_its_command(name):
    """By name: as parameters, or as fields of the configuration that ``options`` stand for."""
    cls, call = {**OPTIONS, **ACTIONS}[name]
    taken = inspect.signature(getattr(pointadapt, call)).parameters
    known = set(taken)
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        for base in cls.__mro__[1:]:
            known |= {field.name for field in fields(base)} if is_dataclass(base) else set()
    options = {field.name for field in fields(cls)} - PRINTS - OF_THE_SCREEN.get(name, set())
    assert not options - known


def test_every_public_name_says_what_it_is():
    for name in pointadapt.__all__:
        value = getattr(pointadapt, name)
        assert value is not None, name
        if name != "__version__":
            assert (value.__doc__ or "").strip(), name


def test_options_are_those_of_the_command_line():
    config = configured(pointadapt.TrainConfig, None, {"recipe": "dapt-folder", "epochs": "3"})
    assert (config.recipe, config.epochs, config.data) == ("dapt-folder", 3, "folder")
    again = configured(pointadapt.TrainConfig, config, {"seed": 5})
    assert (again.seed, again.epochs) == (5, 3)


def test_a_file_gives_values_and_options_win(tmp_path):
    (tmp_path / "run.yaml").write_text("epochs: 4\nseed: 2\n")
    config = configured(pointadapt.TrainConfig, tmp_path / "run.yaml", {"seed": 9})
    assert (config.epochs, config.seed) == (4, 9)


def test_wrong_calls_are_answered_in_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match="epochs"):
        pointadapt.train(epoch=3)
    with pytest.raises(ConfigError, match="needs adapter"):
        pointadapt.robustness()
    with pytest.raises(ConfigError, match="TrainConfig"):
        pointadapt.train({"epochs": 3})
    with pytest.raises(ConfigError, match="another command"):
        configured(pointadapt.TrainConfig, None, {"recipe": "dapt-few-shot"})
    with pytest.raises(UnknownNameError, match="kind of list"):
        pointadapt.available("method")
