"""Recipes: the papers' values exactly, and their trainable counts."""

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import UnknownNameError
from pointadapt.methods import METHODS
from pointadapt.recipes import RECIPES, get_recipe

OURS = ("-laptop", "-folder", "-few-shot", "-s3dis", "-scenes")
PAPERS = [name for name in RECIPES if not name.endswith(OURS)]
FEW_SHOT = [name for name in RECIPES if name.endswith("-few-shot")]
SCAN = ("pb", "objbg", "objonly")

# name -> rank, drop path, adapter dropout, head inputs, trained parameters (PAPER.md §2 and §3)
DAPT = {
    "dapt-scanobjectnn-pb": (64, 0.3, 0.2, ("cls", "prompt_mean", "patch_max"), 1_087_771),
    "dapt-scanobjectnn-objbg": (64, 0.3, 0.5, ("cls", "prompt_mean", "patch_max"), 1_087_771),
    "dapt-scanobjectnn-objonly": (64, 0.1, 0.0, ("cls", "prompt_mean"), 989_467),
    "dapt-modelnet40": (72, 0.1, 0.0, ("cls", "patch_max"), 1_069_716),
}


def trained(config: TrainConfig) -> int:
    from pointadapt.tasks.metrics import parameter_counts
    from pointadapt.training.trainer import build_model

    classes = tuple(map(str, range(40 if config.data == "modelnet40" else 15)))
    return parameter_counts(build_model(replace(config, backbone="point_vit:small"), classes))[0]


def test_what_must_exist():
    data = ["modelnet40", *(f"scanobjectnn-{v}" for v in SCAN), "laptop", "folder"]
    methods = ("dapt", "full", "linear-probe")
    assert {f"{m}-{d}" for m in methods for d in data} <= set(RECIPES)


def test_torch_free():
    code = "import sys, pointadapt.recipes\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_states_its_facts(name):
    r = RECIPES[name]
    assert r.name == name == r.config.recipe and str(r.config.out) == f"runs/{name}"
    subcommand = "few-shot" if name in FEW_SHOT else "train"
    assert r.command.startswith(f"pointadapt {subcommand} --recipe {name} --root ")
    for value in (r.summary, r.score, r.source, r.hardware, r.time):
        assert value


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_protocol(name):
    c = RECIPES[name].config
    expected = {
        "epochs": 300, "warmup_epochs": 10, "lr": 5e-4, "min_lr": 1e-6, "weight_decay": 0.05,
        "batch_size": 32, "clip": 10.0, "schedule": "epoch", "seed": 0, "select": "last",
        "augment": ("scale_shift",), "precision": "fp32", "votes": 0, "accumulate": 1,
        "group_size": 32,
    }  # fmt: skip
    assert {key: getattr(c, key) for key in expected} == expected
    if "modelnet40" in name:
        assert (c.points, c.available, c.groups) == (1024, 8192, 64)
    else:
        assert (c.points, c.available, c.groups) == (2048, 0, 128)
        variant = {"pb": "pb_t50_rs", "objbg": "obj_bg", "objonly": "obj_only"}
        assert c.data_options == (f"variant={variant[name.rpartition('-')[2]]}",)
    assert f"pointadapt fetch {c.backbone}" in RECIPES[name].needs


@pytest.mark.parametrize("method", ["dapt", "full", "linear_probe"])
def test_s3dis(method):
    from pointadapt.core.config import key_values
    from pointadapt.data import load_dataset
    from pointadapt.data.reading.s3dis_rooms import CLASSES
    from pointadapt.tasks.metrics import parameter_counts
    from pointadapt.training.setup import build_model

    c = RECIPES[f"{method.replace('_', '-')}-s3dis"].config
    expected = {
        "epochs": 60, "warmup_epochs": 10, "lr": 2e-4, "batch_size": 32, "points": 2048,
        "groups": 128, "group_size": 32, "method": method, "head": (), "select": "last",
    }  # fmt: skip
    assert {key: getattr(c, key) for key in expected} == expected
    data = load_dataset(c.data, **key_values(c.data_options))
    assert (data.area, data.blocks, data.block) == (5, 20000, 1.0)
    own = replace(c, backbone="point_vit:small")
    model = build_model(own, ("scene",), CLASSES, ("red", "green", "blue", "x", "y", "z"))
    assert model.adapter.names.features == ()
    # The head's 64 channels of an embedded class are gone, and 13 outputs replace 50.
    head = 5_238_706 - (16 * 64 + 2 * 64) - 64 * 512 - 37 * 257
    assert parameter_counts(model.adapter.head)[0] == head


@pytest.mark.parametrize("name", FEW_SHOT)
def test_the_papers_few_shot_protocol(name):
    c = RECIPES[name].config
    expected = {
        "epochs": 150, "warmup_epochs": 10, "lr": 5e-4, "min_lr": 1e-6, "weight_decay": 0.05,
        "batch_size": 32, "clip": 10.0, "schedule": "epoch", "select": "test", "votes": 0,
        "augment": ("scale_shift",), "points": 1024, "available": 8192, "groups": 64,
        "way": 5, "shot": 10, "queries": 20, "folds": 10, "data": "modelnet_fewshot",
    }  # fmt: skip
    assert {key: getattr(c, key) for key in expected} == expected
    assert c.options == (("rank=32",) if c.method == "dapt" else ())


@pytest.mark.parametrize("name", DAPT)
def test_dapt(name):
    from pointadapt.core.config import key_values
    from pointadapt.methods import make_method

    rank, drop_path, dropout, head, count = DAPT[name]
    c = RECIPES[name].config
    method = make_method(c.method, key_values(c.options))
    assert (method.rank, method.dropout) == (rank, dropout)
    assert (c.drop_path, c.head) == (drop_path, head)
    assert trained(c) == count


def test_full_and_linear_probe():
    full, probe = (get_recipe(f"{m}-scanobjectnn-pb").config for m in ("full", "linear-probe"))
    assert (full.drop_path, full.head, full.options) == (0.1, ("cls", "patch_max"), ())
    assert trained(full) == 22_093_327
    assert trained(probe) == 267_535  # the head


@pytest.mark.parametrize(
    ("ending", "data", "backbone"),
    [("-laptop", "modelnet40", "tiny"), ("-folder", "folder", "tiny-v2")],
)
def test_recipes_of_one_kind_share_one_budget(ending, data, backbone):
    configs = [r.config for name, r in RECIPES.items() if name.endswith(ending)]
    assert len(configs) >= 3 and configs[0].data == data
    configs = [c for c in configs if not METHODS[c.method].fits]  # which has no budget
    own = {"method", "options", "head", "out", "recipe", "lr"}  # a method has its own best rate
    for f in fields(TrainConfig):
        if f.name not in own:
            assert len({getattr(c, f.name) for c in configs}) == 1, f.name
    one = configs[0]
    assert (one.backbone, one.precision, one.select) == (backbone, "auto", "last")
    assert all("rank=64" in c.options for c in configs if c.method == "dapt")


def test_unknown_recipe():
    with pytest.raises(UnknownNameError, match="did you mean 'dapt-laptop'"):
        get_recipe("dapt-labtop")


def test_scenes_have_traits_and_blocks_from_the_density():
    from pointadapt.core.config import key_values
    from pointadapt.data import load_dataset

    names = [name for name in RECIPES if name.endswith("-scenes")]
    assert names == ["dapt-scenes", "full-scenes", "linear-probe-scenes", "ptv3-scenes"]
    *configs, voxels = [RECIPES[name].config for name in names]
    assert (voxels.task, voxels.data, voxels.backbone) == (
        configs[0].task, configs[0].data, "ptv3:tiny",
    )  # fmt: skip
    own = {"method", "options", "out", "recipe"}
    for f in fields(TrainConfig):
        if f.name not in own:
            assert len({getattr(c, f.name) for c in configs}) == 1, f.name
    data = load_dataset(configs[0].data, **key_values(configs[0].data_options))
    assert data.features == ("usual", "returns", "traits") and not data.block
    assert (configs[0].task, configs[0].backbone) == ("scene_segmentation", "tiny")


def test_own_options_of_data_and_task_join_those_of_the_recipe():
    from pointadapt.cli.main import parse
    from pointadapt.core.config import key_values
    from pointadapt.recipes.start import configured

    flags = ["--data-options", "ignore=1", "blocks=7", "--task-options", "balance=0"]
    told = parse(["train", "--recipe", "dapt-scenes", *flags])
    called = configured(
        TrainConfig, None,
        {"recipe": "dapt-scenes", "data_options": ("ignore=1", "blocks=7"),
         "task_options": ("balance=0",)},
    )  # fmt: skip
    for config in (told, called):
        recipe = RECIPES["dapt-scenes"].config
        want = {**key_values(recipe.data_options), "ignore": "1", "blocks": "7"}
        assert key_values(config.data_options) == want
        want = {**key_values(recipe.task_options), "balance": "0"}
        assert key_values(config.task_options) == want


def test_options_of_other_data_are_left_alone():
    from pointadapt.cli.main import parse

    config = parse(
        ["train", "--recipe", "dapt-scenes", "--data", "s3dis", "--data-options", "area=1"]
    )
    assert config.data_options == ("area=1",)
