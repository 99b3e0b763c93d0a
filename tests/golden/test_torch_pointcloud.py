"""Files of torch-pointcloud are read as the official ones are, and give that library's outputs."""

import pytest
import torch
import torch_pointcloud_like as tpc
from safetensors.torch import save_file

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.backbones.pointgpt import nearest_chain
from pointadapt.backbones.published.tags import all_tags
from pointadapt.backbones.published.torch_pointcloud import mirror, official
from pointadapt.core.config import Published
from pointadapt.ops import gather_points, group, normalize
from pointadapt.pretrained.hf_hub import _parts
from pointadapt.pretrained.load import load_backbone

FACTS = Published(heads=2, groups=6, group_size=8, points=64)


def made(kind):
    """Random everywhere, also where modules start at 0 and 1."""
    torch.manual_seed(3)
    net = kind().eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                value.add_(0.05 * torch.randn(value.shape))
            if key.endswith("running_var"):
                value.abs_().add_(0.5)
    return net


def saved(net, tmp_path):
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.fixture(scope="module")
def cut():
    """Points, and their centres and groups."""
    torch.manual_seed(1)
    points = normalize(torch.rand(3, 64, 3))
    return points, *group(points, 6, 8, rule="pointnet2")


def ordered(centers, groups):
    order = nearest_chain(centers)
    groups = torch.stack([g[o] for g, o in zip(groups, order, strict=True)])
    return gather_points(centers, order), groups


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        (tpc.PointMAEClassification, "point_mae"),
        (tpc.PointBERTClassification, "point_bert"),
        (tpc.PointGPTClassification, "pointgpt"),
    ],
)
@torch.no_grad()
def test_fine_tuned_models_give_their_logits(kind, layout, cut, tmp_path):
    net, (points, *patches) = made(kind), cut
    report = convert(saved(net, tmp_path), tmp_path / "out", FACTS)
    assert (report["layout"], report["kind"], report["method"]) == (layout, "full", "full")
    want = net(*(ordered(*patches) if layout == "pointgpt" else patches))
    got = adapter_folder.load(tmp_path / "out/adapter")(points)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    assert want.std() > 0.01


@pytest.mark.parametrize(
    ("kind", "layout", "missing"),
    [
        (tpc.PointMAEPretraining, "point_mae", ["cls_pos", "cls_token"]),
        (tpc.PointBERTPretraining, "point_bert", []),
        (tpc.PointGPTPretraining, "pointgpt", ["cls_pos", "cls_token", "norm.bias", "norm.weight"]),
    ],
)
@torch.no_grad()
def test_pretrained_backbones_give_their_tokens(kind, layout, missing, cut, tmp_path):
    theirs, (points, *patches) = made(kind), cut
    report = convert(saved(theirs, tmp_path), tmp_path / "out", FACTS)
    assert (report["layout"], report["kind"]) == (layout, "pretrained")
    assert sorted(report["missing"]) == missing
    net = load_backbone(tmp_path / "out/backbone").eval()
    patches = ordered(*patches) if layout == "pointgpt" else patches
    tokens = (net.cls_token, net.cls_pos) if missing else ()
    want = theirs(*patches, *tokens)
    if layout == "pointgpt":  # its last LayerNorm is the head's
        want = torch.nn.functional.layer_norm(want, want.shape[-1:])
    torch.testing.assert_close(net(points).x, want, atol=1e-4, rtol=0)


def test_other_files_are_left_alone():
    given = {"blocks.blocks.0.mlp.fc1.weight": 1, "norm_f.weight": 2}
    assert official(given) == given


def test_a_mirror_is_pinned_by_commit():
    address = mirror("point-mae-base.pretrain.yatian-pang", "29921d9")
    assert _parts(address) == (
        "torch-pointcloud", "point-mae-base.pretrain.yatian-pang@29921d9", "model.safetensors",
    )  # fmt: skip
    mirrored = {n: t.url for n, t in all_tags().items() if "torch-pointcloud" in t.url}
    assert set(mirrored) == {"pointgpt-small", "pointgpt-base", "pointgpt-large"}
    assert all(len(url.split("@")[1].split("/")[0]) == 40 for url in mirrored.values())
