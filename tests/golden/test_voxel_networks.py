"""Equality of the Point Transformer V3 family with the released classes."""

from dataclasses import replace

import pytest
import torch

from modern import FOLDER, arrays, close, close_gradient, needed, settings
from pointadapt.backbones.voxel.levels import Voxels
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.patches import positions
from pointadapt.backbones.voxel.released import our_config, our_name
from pointadapt.backbones.voxel.sizes import SIZES

pytestmark = needed

NAMES = ("concerto_enc", "concerto_dec", "utonia_enc", "ptv3_seg")


def build(name, **more):
    net = PTv3(our_config(settings(f"{name}_config")["constructor"], **more))
    state = {our_name(key): value for key, value in arrays(f"{name}_state").items()}
    net.load_state_dict(state)
    return net.eval()


def clouds(name, *which):
    """Rooms and objects as one batch."""
    kind, stored = name.split("_")[0].replace("ptv3", "concerto"), arrays("clouds")
    parts = [{k: stored[f"{kind}_{w}_{k}"] for k in ("grid_coord", "coord", "feat")} for w in which]
    batch = torch.cat([torch.full((len(p["coord"]),), i) for i, p in enumerate(parts)])
    joined = {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
    feat = joined["feat"][:, 3:] if name == "ptv3_seg" else joined["feat"]
    return Voxels(joined["grid_coord"], joined["coord"], feat, batch)


def final(pyramid):
    return pyramid.features[-1] if pyramid.decoded is None else pyramid.decoded


def loss_of(pyramid):
    f = pyramid.upcast() if pyramid.decoded is None else pyramid.decoded
    i, j = torch.arange(f.shape[0]).double(), torch.arange(f.shape[1]).double()
    weights = torch.cos(0.37 * i.unsqueeze(1) + 0.91 * j).float()
    return (f * weights).sum() / len(f)


def watched(net):
    """Every module's output, under the released names."""
    seen = {}

    def note(name):
        def hook(module, args, out):
            out = out[0] if isinstance(out, tuple) else out
            seen[name] = out.squeeze(0) if out.dim() == 3 else out

        return hook

    net.stem.register_forward_hook(note("embedding"))
    for kind, short, stages in (("enc", "down", net.stages), ("dec", "up", net.decoder)):
        for s, stage in enumerate(stages):
            at = f"{kind}.{kind}{s}"
            step = getattr(stage, short)
            if step is not None:
                step.register_forward_hook(note(f"{at}.{short}.out"))
            for i, block in enumerate(stage.blocks):
                b = f"{at}.block{i}"
                block.register_forward_hook(note(f"{b}.out"))
                parts = {"cpe.conv": block.cpe.conv, "cpe.linear": block.cpe.linear,
                         "cpe.norm": block.cpe.norm, "norm1": block.norm1, "attn": block.attn,
                         "norm2": block.norm2, "mlp": block.mlp}  # fmt: skip
                for part, module in parts.items():
                    module.register_forward_hook(note(f"{b}.{part}"))
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_every_array_of_one_cloud(name):
    net, want = build(name), arrays(f"{name}_out")
    seen, counted = watched(net), 0
    with torch.no_grad():
        pyramid = net(clouds(name, "room"))
    close(final(pyramid), want["final"], "final")
    close(loss_of(pyramid), want["loss"], "loss")
    for key in want.keys() & seen.keys():
        close(seen[key], want[key], key)
        counted += 1
    assert counted >= 10
    for key, stages in (("upcast2_first64", 2), ("upcast_all_first64", None)):
        if key in want:
            close(pyramid.upcast(stages)[:64], want[key], key)
    for s, level in enumerate(pyramid.levels):
        at = f"enc{s}" if s else "input"
        assert level.depth == want[f"{at}.depth"]
        assert torch.equal(level.codes, want[f"{at}.code"])
        assert all(torch.equal(level.order(i), want[f"{at}.order"][i].long()) for i in range(4))
        sizes = settings(f"{name}_config")["patch_used"]
        size = sizes[f"enc.enc{s}.block0.attn"]
        assert torch.equal(positions(len(level), size), want[f"enc.enc{s}.pad"].long())
        if s:
            assert torch.equal(level.grid, want[f"{at}.grid_coord"].long())
            assert torch.equal(level.pool.cluster, want[f"{at}.cluster"].long())
            close(level.coord, want[f"{at}.coord"], f"{at}.coord")


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient(name):
    net, want = build(name), arrays(f"{name}_grad")
    loss_of(net(clouds(name, "room"))).backward()
    got = {key: p.grad for key, p in net.named_parameters()}
    named = {our_name(key): value for key, value in want.items()}
    assert {key for key, value in got.items() if value is not None} == named.keys()
    none = {our_name(key) for key in settings(f"{name}_config")["no_gradient"]}
    assert none == got.keys() - named.keys()
    for key, value in named.items():
        close_gradient(got[key], value, key)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", ["each", "min"])
def test_a_batch(name, rule):
    net, want = build(name, patch_rule=rule), arrays(f"{name}_out")
    with torch.no_grad():
        got = final(net(clouds(name, "room", "object")))
        alone = [final(net(clouds(name, which))) for which in ("room", "object")]
    whole, last = f"batch.rule_{rule}", f"batch.rule_{rule}.last329"
    if whole in want:
        close(got, want[whole], whole)
    if last in want:
        close(got[-329:], want[last], last)
    if rule == "each":
        close(got, torch.cat(alone), "a batch and its clouds")


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_orders(name):
    net, want = build(name), arrays(f"{name}_out")
    perms = iter(want["shuffled.perms"].long())
    with torch.no_grad():
        got = final(net(clouds(name, "room"), draw=lambda: next(perms)))
    key = "shuffled.final" if "shuffled.final" in want else "shuffled.final.first200"
    close(got[: len(want[key])], want[key], key)
    assert next(perms, None) is None


@pytest.mark.parametrize("name", ["concerto_enc", "utonia_enc"])
def test_mask_token(name):
    net, voxels = build(name), clouds(name, "room")
    with torch.no_grad():
        got = final(net(voxels, mask=torch.arange(len(voxels.grid)) % 3 == 0))
    close(got, arrays(f"{name}_out")["masked.final"], "masked")


def test_the_arithmetic_of_the_published_weights():
    net, want = build("ptv3_seg", arithmetic="v1.5.1"), arrays("ptv3_seg_v151_out")
    seen = watched(net)
    with torch.no_grad():
        pyramid = net(clouds("ptv3_seg", "room"))
    assert pyramid.levels[0].depth == want["input_depth"]
    for key in ("enc.enc1.block0.out", "enc.enc1.block1.out", "enc.enc2.block0.out"):
        close(seen[key], want[key], key)
    close(pyramid.decoded, want["final"], "final")
    close(loss_of(pyramid), want["loss"], "loss")


@pytest.mark.parametrize(
    "name",
    [p.stem for p in sorted(FOLDER.glob("keys_*.json")) if "uni3d" not in p.stem] or ["none"],
)
def test_every_tensor_of_the_published_sizes_has_its_place(name):
    given = settings(name)
    heads = [shape[0] for key, shape in given["keys"].items() if key.endswith("seg_head.weight")]
    with torch.device("meta"):
        net = PTv3(our_config(given["constructor"], classes=heads[0] if heads else 0))
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {our_name(key): shape for key, shape in given["keys"].items()}
    assert sum(p.numel() for p in net.parameters()) == given["parameters"]
    size = name.removeprefix("keys_")
    if size in SIZES:  # the published segmentors were trained with the arithmetic of v1.5.1
        assert net.config == replace(SIZES[size], arithmetic="v1.6")
