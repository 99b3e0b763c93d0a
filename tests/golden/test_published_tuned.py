"""Fine-tuned files of every family: look-alikes give the logits of the released code."""

import pytest
import released
import torch
from published import (
    head,
    linear_head,
    look_alike,
    plain_head,
    pointgpt_net,
    pointgpt_tuned,
    recon_net,
    vit,
    wide_head,
)
from released import DEPTH, DIM, FACTS, SMALL, WIDTHS, squeezed

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.core.config import Published
from pointadapt.core.errors import CheckpointError, ConfigError
from pointadapt.ops import group, normalize

REDUCED = {**SMALL, "encoder_dim": 16}
NAME = "cls_head_finetune"
DEEP, PLAIN, LINEAR = released.deep_head, released.plain_head, released.linear_head
# file -> (names and shapes, forward, prefix tokens, head, layout, method)
VIT = (released.vit_forward, 1)
TUNED = {
    "point_mae": (vit(**SMALL) | head(DIM, 2, 5), *VIT, DEEP, "point_mae", "full"),
    "act linear": (
        vit(**SMALL) | linear_head(DIM, 2, 5), *VIT, LINEAR, "point_mae", "linear_probe",
    ),
    "point_bert": (vit(**REDUCED) | plain_head(DIM, 5), *VIT, PLAIN, "point_bert", "full"),
    "maskpoint": (vit(**REDUCED) | plain_head(DIM, 5), *VIT, PLAIN, "maskpoint", "full"),
    "maskpoint scan": (vit(**REDUCED) | wide_head(DIM, 40), *VIT, DEEP, "maskpoint", "full"),
    "pcp_mae": (vit(**SMALL, sine=True) | head(DIM, 2, 5), *VIT, DEEP, "pcp_mae", "full"),
    "pcp_mae linear": (
        vit(**SMALL, sine=True) | linear_head(DIM, 2, 5), *VIT, LINEAR, "pcp_mae", "linear_probe",
    ),
    "recon": (
        recon_net(DIM, DEPTH, WIDTHS) | head(DIM, 4, 5),
        released.recon_forward, 3, DEEP, "recon", "full",
    ),
    "recon linear": (
        recon_net(DIM, DEPTH, WIDTHS) | linear_head(DIM, 4, 5),
        released.recon_forward, 3, LINEAR, "recon", "linear_probe",
    ),
    "pointgpt": (
        pointgpt_tuned(**SMALL, classes=5), released.pointgpt_forward, 2, DEEP, "pointgpt", "full",
    ),
    "pointgpt deep": (
        pointgpt_tuned(DIM, DEPTH, (8, 12, 16, 20), 5),
        released.pointgpt_forward, 2, DEEP, "pointgpt", "full",
    ),
}  # fmt: skip


def tensors_of(name):
    return look_alike(TUNED[name][0], lambda key: True)


def write(tensors, path):
    torch.save({"base_model": {f"module.{k}": v for k, v in tensors.items()}}, path)
    return path


@pytest.fixture(scope="module")
def points():
    torch.manual_seed(1)
    inside = normalize(torch.rand(3, 64, 3))
    inside[:, 5:9] *= 0.01  # what the rule "pointnet2" never takes for a centre
    return inside


def logits(name, tensors, points):
    """The released code's."""
    _, forward, prefix, last, layout, _ = TUNED[name]
    rule = "plain" if layout == "maskpoint" else "pointnet2"
    t = squeezed(tensors)
    x = forward(t, *group(points, FACTS.groups, FACTS.group_size, rule=rule))
    if prefix == 3:  # CLS, image and text
        x = torch.cat([x[:, :3].flatten(1), x[:, 3:].amax(dim=1)], dim=-1)
    else:
        x = released.cls_and_patches(x, prefix, cls=prefix - 1)
    return last(t, "blocks.cls_head_finetune" if layout == "pointgpt" else NAME, x)


@pytest.mark.parametrize("name", list(TUNED))
@torch.no_grad()
def test_its_logits(name, points, tmp_path):
    tensors, (*_, layout, method) = tensors_of(name), TUNED[name]
    said = {"layout": "maskpoint"} if name == "maskpoint" else {}  # its names are Point-BERT's
    facts = Published(heads=FACTS.heads, groups=6, group_size=8, points=64, **said)
    report = convert(write(tensors, tmp_path / "f.pth"), tmp_path / "out", facts)
    assert (report["kind"], report["layout"], report["method"]) == ("full", layout, method)
    unused = ("generator_blocks.", "norm.", "blocks.increase_dim.") if layout == "pointgpt" else ()
    assert all(key.startswith(unused) for key in report["left_over"])
    want = logits(name, tensors, points)
    got = adapter_folder.load(tmp_path / "out/adapter")(points)
    torch.testing.assert_close(got, want[:, : got.shape[1]], atol=1e-4, rtol=0)
    assert want.std() > 0.01


@torch.no_grad()
def test_a_linear_probe_shares_its_backbone(points, tmp_path):
    tensors = tensors_of("act linear")
    base = {f"ACT_encoder.{k}": v for k, v in tensors.items() if not k.startswith("cls_head")}
    convert(write(base, tmp_path / "p.pth"), tmp_path / "p", FACTS)
    path = write(tensors, tmp_path / "f.pth")
    convert(path, tmp_path / "out", FACTS, backbone=tmp_path / "p/backbone")
    assert not (tmp_path / "out/backbone").exists()
    got = adapter_folder.load(tmp_path / "out/adapter")(points)
    torch.testing.assert_close(got, logits("act linear", tensors, points), atol=1e-4, rtol=0)
    base["ACT_encoder.cls_token"] = base["ACT_encoder.cls_token"] + 1e-3  # it was trained, too
    convert(write(base, tmp_path / "p.pth"), tmp_path / "q", FACTS)
    with pytest.raises(CheckpointError, match="'cls_token' differs"):
        convert(path, tmp_path / "out", FACTS, backbone=tmp_path / "q/backbone")


MODELNET = {"points": 1024, "available": 8192, "normalise": True, "groups": 64}
SCAN = {"points": 2048, "available": 2048, "normalise": False, "groups": 128}
SMALL_SCAN = {"points": 1024, "available": 2048, "normalise": False, "groups": 64}


@pytest.mark.parametrize(
    ("shapes", "facts", "classes", "protocol"),
    [
        (vit(**SMALL) | head(DIM, 2, 40), {}, "airplane", MODELNET),
        (vit(**SMALL) | head(DIM, 2, 15), {}, "bag", SCAN),
        (vit(**REDUCED) | plain_head(DIM, 40), {}, "airplane", MODELNET),
        (vit(**REDUCED) | plain_head(DIM, 40), {"data": "scanobjectnn"}, "bag", SMALL_SCAN),
        (vit(**REDUCED) | wide_head(DIM, 40), {}, "bag", SMALL_SCAN),
        (vit(**SMALL) | head(DIM, 2, 40), {"points": 4096, "groups": 256}, "airplane",
         MODELNET | {"points": 4096, "groups": 256}),
    ],
)  # fmt: skip
def test_clouds_as_the_released_code_gives_them(shapes, facts, classes, protocol, tmp_path):
    path = write(look_alike(shapes, lambda key: True), tmp_path / "f.pth")
    convert(path, tmp_path / "out", Published(heads=2, group_size=8, **facts))
    config = adapter_folder.read_adapter_config(tmp_path / "out/adapter")
    assert config["classes"][0] == classes
    assert config["dataset"] == ("modelnet40" if classes == "airplane" else "scanobjectnn")
    got = {key: config[key] for key in ("points", "available", "normalise")}
    assert got | {"groups": config["backbone"]["groups"]} == protocol


def test_of_40_outputs_the_first_15_are_scanobjectnns(tmp_path):
    tensors = tensors_of("maskpoint scan")
    path = write(tensors, tmp_path / "f.pth")
    convert(path, tmp_path / "out", FACTS)
    model = adapter_folder.load(tmp_path / "out/adapter")
    assert len(model.classes) == 15
    last = model.adapter.head.state_dict()["layers.8.weight"]
    assert torch.equal(last, tensors[f"{NAME}.8.weight"][:15])
    names = tuple(f"c{i}" for i in range(40))  # who names them gets them all
    convert(path, tmp_path / "all", Published(heads=2, groups=6, group_size=8, classes=names))
    assert adapter_folder.load(tmp_path / "all/adapter").classes == names


ODD = {
    "three linear layers": linear_head(DIM, 2, 7) | linear_head(7, 1, 5, "cls_head_finetune.1"),
    "without a bias": {f"{NAME}.0.weight": (5, 2 * DIM)},
    "a norm of another kind": plain_head(DIM, 5) | {f"{NAME}.1.weight": (256,)},
}


@pytest.mark.parametrize("odd", list(ODD))
@torch.no_grad()
def test_another_head_is_named_and_the_backbone_alone_offered(odd, points, tmp_path):
    shapes = vit(**SMALL) | ODD[odd]
    tensors = look_alike(shapes, lambda key: True)
    path = write(tensors, tmp_path / "f.pth")
    with pytest.raises(CheckpointError, match=r"fine-tuned Point-MAE head.*--backbone-only") as one:
        convert(path, tmp_path / "out", FACTS)
    assert "\n" not in str(one.value)
    assert not (tmp_path / "out").exists()
    report = convert(path, tmp_path / "out", FACTS, backbone_only=True)
    assert report["left_over"] == sorted(ODD[odd])
    assert not (tmp_path / "out/adapter").exists()


def test_what_else_a_tuned_model_has_is_named_too(tmp_path):
    side = {"side_alpha": (1,), "side_projection.weight": (DIM, DIM)}  # ACT's side-tuning
    shapes = vit(**SMALL) | head(DIM, 2, 5) | side
    path = write(look_alike(shapes, lambda key: True), tmp_path / "f.pth")
    with pytest.raises(CheckpointError, match=r"fine-tuned model.*'side_alpha'.*--backbone-only"):
        convert(path, tmp_path / "out", FACTS)
    convert(path, tmp_path / "out", FACTS, backbone_only=True)


def test_a_backbone_is_not_given_for_the_backbone_alone(tmp_path):
    path = write(tensors_of("point_mae"), tmp_path / "f.pth")
    with pytest.raises(ConfigError, match="leave out --backbone"):
        convert(path, tmp_path / "out", FACTS, backbone="tiny", backbone_only=True)


def test_a_layout_that_is_not_known(tmp_path):
    path = write(tensors_of("point_mae"), tmp_path / "f.pth")
    with pytest.raises(ValueError, match=r"unknown layout of published.*'maskpiont'.*maskpoint"):
        convert(path, tmp_path / "out", Published(layout="maskpiont"))


def test_pointgpt_without_its_generator_is_the_same(tmp_path):
    """torch-pointcloud and others keep it; the logits do not need it."""
    tensors = {k: v for k, v in tensors_of("pointgpt").items() if not k.startswith("generator")}
    report = convert(write(tensors, tmp_path / "f.pth"), tmp_path / "out", FACTS)
    assert "pointgpt" in report["layout"]
    assert set(pointgpt_net(DIM, DEPTH, WIDTHS)) > set(report["left_over"])
