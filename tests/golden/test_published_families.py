"""Files of all families under their official names: every tensor lands where it belongs.

Small look-alikes go through the whole of ``convert``, and the outputs are compared with plain
arithmetic on the *official* names (released.py, as the released code defines them).
Full-size ones are compared name by name and shape by shape, on the meta device.
"""

import pytest
import torch
from published import FILES, UNI3D, look_alike, parameters, pointgpt_tuned, recon_tuned, uni3d
from released import (
    DEPTH,
    DIM,
    FACTS,
    SMALL,
    WIDTHS,
    pointgpt_forward,
    recon_forward,
    squeezed,
    vit_forward,
)

from pointadapt.adapters.convert import convert
from pointadapt.backbones import BACKBONES, BackboneConfig
from pointadapt.backbones.published.layouts import LAYOUTS, find_layout
from pointadapt.backbones.published.tags import all_tags
from pointadapt.core.config import Published
from pointadapt.core.errors import CheckpointError
from pointadapt.ops import group, normalize
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task
from pointadapt.tasks.base import Names

OWN = {  # what of a file is the backbone's
    "point_bert": "transformer_q.", "maskpoint": "transformer_q.", "act": "ACT_encoder.",
    "pcp_mae": "MAE_encoder.", "recon": "MAE_encoder.", "pointgpt": "GPT_Transformer.",
}  # fmt: skip


def small(name):
    extra = {"encoder_dim": 16} if name in ("point_bert", "maskpoint") else {}
    return look_alike(FILES[name](**SMALL, **extra), lambda key: key.startswith(OWN[name]))


def write(tensors, path):
    torch.save({"base_model": {f"module.{k}": v for k, v in tensors.items()}}, path)
    return path


def stripped(name, tensors):
    own = {k.removeprefix(OWN[name]): v for k, v in tensors.items() if k.startswith(OWN[name])}
    return squeezed(own)


# Small files, through convert ----------------------------------------------------------------


@pytest.fixture(scope="module")
def points():
    torch.manual_seed(1)
    return normalize(torch.rand(3, 64, 3))


def cut(points, name=""):
    rule = "plain" if name == "maskpoint" else "pointnet2"
    return group(points, FACTS.groups, FACTS.group_size, rule=rule)


@pytest.mark.parametrize("name", ["point_bert", "maskpoint", "act", "pcp_mae"])
@torch.no_grad()
def test_point_vit_forms(name, points, tmp_path):
    tensors = small(name)
    report = convert(write(tensors, tmp_path / "p.pth"), tmp_path / "out", FACTS)
    assert (report["layout"], report["kind"]) == (name, "pretrained")
    net = load_backbone(tmp_path / "out/backbone").eval()
    official = stripped(name, tensors)
    if name == "pcp_mae":  # pre-trained without a CLS token
        assert report["missing"] == ["cls_token", "cls_pos"]
        official |= {k: getattr(net, k) for k in report["missing"]}
    else:
        assert report["missing"] == []
    rule = "plain" if name == "maskpoint" else "pointnet2"  # as each one's released code samples
    assert net.config.sampling_rule == rule
    inside = points.clone()
    inside[:, 5:9] *= 0.01  # the other rule never takes these
    for given in (points, inside):
        want = vit_forward(official, *cut(given, name))
        torch.testing.assert_close(net(given).x, want, atol=1e-5, rtol=0)


@torch.no_grad()
def test_recon_pretrained(points, tmp_path):
    tensors = small("recon")
    report = convert(write(tensors, tmp_path / "p.pth"), tmp_path / "out", FACTS)
    assert (report["layout"], report["kind"], report["missing"]) == ("recon", "pretrained", [])
    net = load_backbone(tmp_path / "out/backbone").eval()
    want = recon_forward(stripped("recon", tensors), *cut(points))
    torch.testing.assert_close(net(points).x, want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("widths", [WIDTHS, (8, 12, 16, 20)])
@torch.no_grad()
def test_pointgpt(widths, points, tmp_path):
    tensors = look_alike(FILES["pointgpt"](DIM, DEPTH, widths), lambda key: True)
    report = convert(write(tensors, tmp_path / "p.pth"), tmp_path / "out", FACTS)
    assert (report["layout"], report["kind"]) == ("pointgpt", "pretrained")
    missing = ["cls_token", "cls_pos", "norm.weight", "norm.bias"]
    assert sorted(report["missing"]) == sorted(missing)
    places = ("generator_blocks.", "norm.", "blocks.increase_dim.")
    left = {k.removeprefix("GPT_Transformer.") for k in report["left_over"]}
    assert left
    assert all(k.startswith(places) for k in left)
    net = load_backbone(tmp_path / "out/backbone").eval()
    official = stripped("pointgpt", tensors) | {k: getattr(net, k) for k in missing[:2]}
    official |= {
        "blocks.cls_norm.weight": torch.ones(DIM),
        "blocks.cls_norm.bias": torch.zeros(DIM),
    }
    want = pointgpt_forward(official, *cut(points))
    torch.testing.assert_close(net(points).x, want, atol=1e-5, rtol=0)


@torch.no_grad()
def test_pointgpt_after_labelled_data_is_a_backbone_too(points, tmp_path):
    tensors = look_alike(pointgpt_tuned(**SMALL, classes=87), lambda key: True)
    path = write(tensors, tmp_path / "p.pth")
    report = convert(path, tmp_path / "out", FACTS, backbone_only=True)
    assert (report["kind"], report["missing"]) == ("full", [])
    assert not (tmp_path / "out/adapter").exists()
    net = load_backbone(tmp_path / "out/backbone").eval()
    official = squeezed(tensors)
    tokens, want = net(points), pointgpt_forward(official, *cut(points))
    torch.testing.assert_close(tokens.x, want, atol=1e-5, rtol=0)
    assert torch.equal(tokens.pool("cls"), tokens.x[:, 1])


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_without_blocks_is_refused(name, tmp_path):
    bare = {k: v for k, v in small(name).items() if "blocks" not in k}
    if name == "recon":  # told from Point-MAE's by a block's tensor alone
        bare["MAE_encoder.x_contrast.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="holds no transformer block"):
        convert(write(bare, tmp_path / "p.pth"), tmp_path / "out", FACTS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(FILES))
def test_every_tensor_counts_and_the_others_are_named(name, tmp_path):
    tensors = small(name)
    report = convert(write(tensors, tmp_path / "p.pth"), tmp_path / "out", FACTS)
    net = load_backbone(tmp_path / "out/backbone")
    assert report["consumed"] + len(report["left_over"]) == report["tensors"] == len(tensors)
    assert report["consumed"] == len(net.base_keys)
    # as a number at the last place of each tensor: what is read is what was written
    read = LAYOUTS[name].read(tensors)
    assert set(read) == set(net.base_keys)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in read.items())


# Full size -------------------------------------------------------------------------------------

_LARGE = (256, 512, 1024, 2048)
FULL = {
    "point_bert-small": FILES["point_bert"](),
    "maskpoint-small": FILES["maskpoint"](),
    "act-small": FILES["act"](),
    "pcp_mae-small": FILES["pcp_mae"](),
    "recon-base": FILES["recon"](),
    "pointgpt-small": FILES["pointgpt"](),
    "pointgpt-base": FILES["pointgpt"](768, 12, _LARGE),
    "pointgpt-base-post": pointgpt_tuned(768, 12, _LARGE, 87),
    "pointgpt-large": FILES["pointgpt"](1024, 24, _LARGE),
    "pointgpt-large-post": pointgpt_tuned(1024, 24, _LARGE, 87),
}
FULL |= {f"uni3d-{size}{end}": uni3d(size) for size in UNI3D for end in ("", "-no-lvis")}


def test_what_is_called_verified_has_a_look_alike():
    elsewhere = "ptv3"  # its lists of keys: test_voxel_networks.py
    verified = {n for n, tag in all_tags().items() if tag.verified and tag.layout != elsewhere}
    assert verified == {*FULL, "point_mae-small"}  # that one: test_published_keys.py


@pytest.mark.parametrize("name", list(all_tags()))
def test_a_tag_is_of_a_family_size_and_layout_that_there_are(name):
    tag = all_tags()[name]
    family = BACKBONES[tag.family]
    with torch.device("meta"):
        net = family(family.sizes[tag.size])
    assert sum(p.numel() for p in net.parameters()) == tag.parameters
    assert LAYOUTS[tag.layout].family == tag.family


@pytest.mark.parametrize("name", list(FULL))
def test_full_size_file_fits_the_tagged_size(name):
    tag = all_tags()[name]
    with torch.device("meta"):
        tensors = {k: torch.empty(shape) for k, shape in FULL[name].items()}
        family = BACKBONES[tag.family]
        net = family(family.sizes[tag.size])
    layout = find_layout(tensors, "file")
    read = layout.read(tensors)
    config = layout.config(read, Published(groups=family.sizes[tag.size].groups), "file")
    assert (layout.name, layout.family) == (tag.layout, tag.family)
    assert config == family.sizes[tag.size]
    ours = {k: v.shape for k, v in net.state_dict().items()}
    assert {k: ours[k] for k in read} == {k: v.shape for k, v in read.items()}
    assert set(ours) - set(read) <= set(family.optional)


@pytest.mark.parametrize("size", list(UNI3D))
def test_published_counts_of_uni3d(size):
    """With the parts that clouds never pass."""
    assert parameters(uni3d(size)) == UNI3D[size][-1]


@pytest.mark.parametrize(
    ("shapes", "millions"),
    [
        (recon_tuned(), 43.6),
        (pointgpt_tuned(), 29.2),
        (pointgpt_tuned(768, 12, _LARGE), 120.5),
        (pointgpt_tuned(1024, 24, _LARGE), 360.5),
    ],
)
def test_published_counts_of_whole_networks(shapes, millions):
    """With a head, and PointGPT with its generator."""
    assert round(parameters(shapes) / 1e6, 1) == millions


@pytest.mark.parametrize("size", ["small", "small_reduced", "small_sine"])
def test_small_with_its_head_has_22_1_million(size):
    cls = BACKBONES["point_vit"]
    with torch.device("meta"):
        net = cls(cls.sizes[size])
        names = Names(tuple(map(str, range(15))))
        head = make_task("classification").make_head(BackboneConfig(), ("cls", "patch_max"), names)
    count = sum(p.numel() for m in (net, head) for p in m.parameters())
    assert round(count / 1e6, 1) == {"small_sine": 22.3}.get(size, 22.1)
