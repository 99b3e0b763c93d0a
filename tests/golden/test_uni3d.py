"""Equality of Uni3D with the released classes."""

import pytest
import torch

from modern import FOLDER, arrays, close, close_gradient, needed, settings
from pointadapt.backbones import Taps
from pointadapt.backbones.published.layouts import LAYOUTS, find_layout
from pointadapt.backbones.published.tags import find_tag
from pointadapt.backbones.uni3d import Uni3D, grouped, infer_config, rename
from pointadapt.core.config import Published
from pointadapt.inference.zero_shot import over_templates
from pointadapt.ops import farthest_point_sample, knn
from pointadapt.pretrained.convert import convert_backbone
from pointadapt.pretrained.load import load_backbone

pytestmark = needed

KINDS = ("ti", "b", "g")
FACTS = Published(heads=3, groups=24, group_size=16)


def released(kind):
    both = arrays("uni3d_tokenizer_state") | arrays(f"uni3d_{kind}_state")
    return {key.removeprefix("module."): value for key, value in both.items()}


def build(kind):
    state = LAYOUTS["uni3d"].read(released(kind))
    net = Uni3D(infer_config(state, FACTS, "golden"))
    net.load_state_dict(state)
    return net.eval()


def points():
    given = arrays("uni3d_inputs")
    return torch.cat([given["xyz"], given["rgb"]], dim=-1)


def watched(net):
    seen = {}

    def note(name):
        return lambda m, args, out: seen.__setitem__(name, getattr(out, "x", out))

    net.encoder.register_forward_hook(note("tokens_512"))
    net.reduce_dim.register_forward_hook(note("tokens"))
    net.pos_embed.register_forward_hook(note("pos"))
    for i, block in enumerate(net.blocks):
        block.register_forward_pre_hook(
            lambda m, args, i=i: seen.__setitem__(f"block{i}.in", args[0].x)
        )
        block.register_forward_hook(note(f"block{i}.out"))
        for part in ("norm1", "attn", "norm2", "mlp"):
            getattr(block, part).register_forward_hook(note(f"block{i}.{part}"))
    return seen


def logits_and_loss(net, tokens):
    given = arrays("uni3d_inputs")
    logits = net.text_space.logit_scale.exp() * net.embedding(tokens) @ given["text"].t()
    return logits, torch.nn.functional.cross_entropy(logits, given["labels"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_array(kind):
    net, want = build(kind), arrays(f"uni3d_{kind}_out")
    seen = watched(net)
    with torch.no_grad():
        tokens = net(points())
        logits, loss = logits_and_loss(net, tokens)
    cls = tokens.pool("cls")
    seen |= {
        "cls_normed": cls, "embedding": net.text_space(cls), "logits": logits, "loss": loss,
        "embedding_normed": net.embedding(tokens), "center": tokens.centers,
        "zero_shot": net.embedding(tokens) @ arrays("uni3d_inputs")["text"].t(),
    }  # fmt: skip
    compared = want.keys() & seen.keys()
    assert len(compared) >= 20
    for key in compared:
        close(seen[key], want[key], key)


def test_embeddings_of_names_over_templates():
    given = arrays("uni3d_inputs")
    close(over_templates(given["text_per_template"]), given["text"], "text", 1e-6)


def test_sampled_points_and_their_neighbours():
    given, want = points(), arrays("uni3d_b_out")
    xyz = given[..., :3].contiguous()
    index = farthest_point_sample(xyz, 24, rule="pointnet2")
    assert torch.equal(index, want["fps_idx"].long())
    near = knn(want["center"], xyz, 16)[1].sort(dim=-1).values
    assert torch.equal(near, want["knn_idx_sorted"].long())
    _, local = grouped(given, 24, 16, "pointnet2")
    theirs = want["features_cloud1"].flatten(1).sort(dim=1).values
    close(local[1].flatten(1).sort(dim=1).values, theirs, "features")


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient(kind):
    net = build(kind)
    for buffer in net.text_space.buffers():
        buffer.requires_grad_()
    tokens = net(points(), Taps(net.config.depth))
    logits_and_loss(net, tokens)[1].backward()
    named = dict(net.named_parameters()) | {
        f"text_space.{k}": v for k, v in net.text_space.named_buffers()
    }
    want = LAYOUTS["uni3d"].read(arrays(f"uni3d_{kind}_grad"))
    missing = {k for k in named if not k.startswith("encoder.")} - want.keys()
    assert not missing
    for key, value in want.items():
        close_gradient(named[key].grad, value, key)


@pytest.mark.parametrize("kind", KINDS)
def test_convert_of_a_file_in_half_precision(kind, tmp_path):
    tensors = {f"module.{key}": v.half() if v.is_floating_point() else v
               for key, v in released(kind).items()}  # fmt: skip
    torch.save({"module": tensors}, tmp_path / "model.pt")
    report = convert_backbone(tmp_path / "model.pt", tmp_path / "out", FACTS)
    assert (report["layout"], report["missing"]) == ("uni3d", [])
    unused = settings("uni3d_small_config")[kind]["no_gradient"]
    assert sorted(report["left_over"]) == sorted(unused)
    net = load_backbone(tmp_path / "out/backbone").eval()
    with torch.no_grad():
        close(net.embedding(net(points())), arrays(f"uni3d_{kind}_out")["embedding_normed"],
              "embedding", 2e-3)  # fmt: skip


@pytest.mark.parametrize(
    "name", [p.stem for p in sorted(FOLDER.glob("keys_uni3d*.json"))] or ["none"]
)
def test_every_tensor_of_the_published_sizes_has_its_place(name):
    given, size = settings(name), name.rsplit("_", 1)[1]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in given["keys"].items()}
    assert find_layout(tensors, name).name == "uni3d"
    left = sorted(key for key in tensors if rename(key) is None)
    assert left == sorted(given["unused_keys"])
    state = LAYOUTS["uni3d"].read(tensors)
    config = infer_config(state, Published(groups=512, group_size=64), name)
    known = Uni3D.sizes[size]
    assert config.hidden == known.hidden == given["constructor"]["mlp_hidden"]
    with torch.device("meta"):
        net, own = Uni3D(config), Uni3D(known)
    shapes = {key: value.shape for key, value in state.items()}
    assert shapes == {key: value.shape for key, value in net.state_dict().items()}
    assert shapes == {key: value.shape for key, value in own.state_dict().items()}
    # the released count: without the zero bias of keys, with what is never used
    count = sum(p.numel() for p in net.parameters()) + sum(
        b.numel() for b in net.text_space.buffers()
    )
    released_count = count - config.depth * config.dim + given["unused_parameters"]
    assert released_count == given["parameters"]
    assert find_tag(f"uni3d-{size}").parameters == sum(p.numel() for p in net.parameters())
