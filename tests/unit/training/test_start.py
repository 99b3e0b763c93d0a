"""Heads that are fitted, and training that begins where they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import ConfigError
from pointadapt.data.sets.folder import Folder
from pointadapt.inference.score import evaluate
from pointadapt.training.start import trial
from pointadapt.training.trainer import train

HEAD = ("patch_max", "patch_mean@0", "size", "shape")


@pytest.fixture
def options(tmp_path, toy_root, bare_backbone):
    return {
        "out": tmp_path / "run", "data": "folder", "root": toy_root, "points": 64, "epochs": 2,
        "batch_size": 8, "backbone": str(bare_backbone("point_vit")), "tensorboard": False,
        "threads": 1, "method": "instant", "head": HEAD,
    }  # fmt: skip


@pytest.fixture
def balls(tmp_path):
    """Small and large balls, of which nothing but their size tells which is which."""
    rng, root = np.random.default_rng(0), tmp_path / "balls"
    for split, count in (("train", 12), ("test", 8)):
        for name, radius in (("apple", 0.04), ("melon", 0.12)):
            for k in range(count):
                cloud = rng.normal(size=(200, 3))
                cloud *= rng.uniform(0.9, 1.1) * radius / np.linalg.norm(cloud, axis=1)[:, None]
                path = root / split / name / f"{k}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, cloud.astype(np.float32))
    return root


def test_instant_is_fitted_saved_and_loaded(options):
    results = train(TrainConfig(**options))
    assert results["protocol"]["epochs"] == results["protocol"]["selected_epoch"] == 0
    assert results["fit"]["method"] == "instant"
    assert results["fit"]["inputs"] == 24 + 24 + 8 + 8
    assert results["accuracy"] > 80  # balls, bars, helices and plates
    assert results["trainable_parameters"] == 6 * (64 + 1)  # of six pairs
    model = adapter_folder.load(results["adapter"])
    test = Folder(root=options["root"], points=64).load("test")
    assert evaluate(model, test, 64)["accuracy"] == results["accuracy"]
    assert model.adapter.head.kinds == ((24, False), (24, False), (8, True), (8, True))


def test_it_is_fitted_beside_a_method_that_trains(options, micro_backbone, tmp_path):
    options |= {"backbone": str(micro_backbone), "epochs": 1, "head": ()}
    changes = {"method": "full", "task_options": ("instant=true",), "out": tmp_path / "both"}
    alone, both = train(TrainConfig(**options)), train(TrainConfig(**options | changes))
    want, got = (adapter_folder.load(r["adapter"]).adapter.head.state_dict() for r in (alone, both))
    assert float(want["layers.0.weight"].abs().max()) > 0
    for name in ("weight", "bias"):
        torch.testing.assert_close(got[f"frozen_fit.{name}"], want[f"layers.0.{name}"])
    assert "fit" not in both


def test_it_is_the_same_again_and_is_not_overwritten(options, tmp_path):
    first = train(TrainConfig(**options))
    again = train(TrainConfig(**options | {"out": tmp_path / "again"}))
    files = [(Path(r["adapter"]) / adapter_folder.WEIGHTS).read_bytes() for r in (first, again)]
    assert files[0] == files[1]
    with pytest.raises(ConfigError, match="earlier run"):
        train(TrainConfig(**options))
    resumed = train(TrainConfig(**options | {"resume": True}))
    assert resumed["accuracy"] == first["accuracy"]
    assert resumed["fit"] == first["fit"]


def test_size_is_not_divided_away(options, balls):
    heads = {"size": ("patch_max", "size"), "none": ("patch_max", "patch_mean")}
    found = {
        name: train(TrainConfig(**options | {"root": balls, "out": balls / name, "head": head}))
        for name, head in heads.items()
    }
    assert found["size"]["accuracy"] == 100
    assert found["none"]["accuracy"] < 85  # normalised, all are one ball
    assert found["size"]["baseline"]["accuracy"] == 100  # the forest is told it, too


@pytest.mark.parametrize("method", ["dapt", "full"])
def test_training_begins_where_the_fit_ends(method, options):
    """With the position as the fit had it and nothing else changed, epoch 0 is the fit itself."""
    own = {"dapt": ("position=every_block", "scale_shift_std=0", "prompt=false"), "full": ()}
    more = {"method": method, "options": own[method], "start": "instant", "select": "val"}
    started = train(TrainConfig(**options | more | {"out": options["out"] / "start"}))
    alone = train(TrainConfig(**options | {"select": "val", "out": options["out"] / "alone"}))
    assert started["held_out"]["scores"][0] == alone["held_out"]["scores"][0]
    assert len(started["held_out"]["scores"]) == 3  # the start and two epochs
    assert started["fit"]["by_strength"] == alone["fit"]["by_strength"]
    first, last = started["held_out"]["scores"][0], max(started["held_out"]["scores"])
    assert last >= first  # the start is one of those to choose among


@pytest.mark.slow
def test_the_end_is_kept_only_where_a_trial_says_so(options, monkeypatch):
    given = options | {"method": "dapt", "options": ("rank=4",), "start": "instant"}
    good = train(TrainConfig(**given))
    said = good["trial"]
    assert said["kept"] == ("end" if said["end"] >= said["start"] else "start")
    assert said["held_out"] == 4  # a tenth, at least one of each class
    assert good["protocol"]["epochs"] == (2 if said["kept"] == "end" else 0)
    # A rate that ruins what was fitted: the start is what is left.
    bad = train(TrainConfig(**given | {"lr": 30.0, "out": options["out"] / "bad"}))
    assert bad["trial"]["kept"] == "start"
    assert bad["protocol"]["epochs"] == 0
    assert bad["accuracy"] > 80


def test_a_trial_is_not_run_twice_and_not_taken_for_another(options, tmp_path):
    config = TrainConfig(**options | {"method": "norm", "start": "instant"})
    calls = []

    def fake(run):
        calls.append(run)
        run.out.mkdir(parents=True)
        values = {k: str(v) if isinstance(v, Path) else v for k, v in vars(run).items()}
        found = {"held_out": {"clouds": 4, "scores": [50.0, 75.0]}, "seconds": 1.0,
                 "config": json.loads(json.dumps(values))}  # fmt: skip
        (run.out / "results.json").write_text(json.dumps(found))
        return found

    assert trial(config, fake)["kept"] == trial(config, fake)["kept"] == "end"
    assert len(calls) == 1
    assert calls[0].select == "val"
    assert calls[0].out == config.out / "trial"
    with pytest.raises(ConfigError, match="lr"):
        trial(TrainConfig(**vars(config) | {"lr": 1.0}), fake)
    assert trial(TrainConfig(**options), fake) == {}
    assert trial(TrainConfig(**vars(config) | {"select": "val"}), fake) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task_options": ("hidden=16",)}, "hidden=0 or linear=true"),
        ({"start": "instant"}, "trains nothing"),
        ({"method": "dapt", "start": "dapt"}, "fits no head; use one of instant"),
        ({"task": "part_segmentation", "head": ()}, "use --task classification"),
    ],
)
def test_what_cannot_be_fitted_is_refused_at_once(changes, said, options):
    with pytest.raises(ConfigError, match=said):
        train(TrainConfig(**options | changes))
    assert not options["out"].exists()


def test_bfloat16_is_fitted_and_predicted_alike(options):
    results = train(TrainConfig(**options | {"precision": "bf16"}))
    assert results["accuracy"] > 80
    state = adapter_folder.load(results["adapter"]).adapter.head.state_dict()
    assert all(v.dtype == torch.float32 for v in state.values())
