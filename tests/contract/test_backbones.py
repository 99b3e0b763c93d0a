"""What every family of backbones promises; a new one is tested by registering."""

import dataclasses

import pytest
import torch

from pointadapt.backbones import BACKBONES, BlockTaps, Taps, Tokens
from pointadapt.backbones.base import tensors_sha256
from pointadapt.backbones.folder import save_backbone
from pointadapt.backbones.layers import DropPath
from pointadapt.backbones.tokens import POOLS
from pointadapt.backbones.voxel.stages import StagedTaps
from pointadapt.core.errors import (
    CheckpointError,
    ConfigError,
    PointAdaptError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.core.tensors import read_safetensors
from pointadapt.pretrained.load import load_backbone

pytestmark = pytest.mark.parametrize("family", list(BACKBONES))

BLOCK_SITES = (
    "block_in", "norm1", "qkv", "kv", "proj", "norm2", "fc1", "act", "fc2", "mlp", "block_out",
)  # fmt: skip
SITES = ("points_in", "patch_out", "tokens_in", "norm_out", "tokens_out")


@pytest.fixture
def folder(family, bare_backbone):
    return bare_backbone(family)


@pytest.fixture
def net(folder):
    return load_backbone(folder).eval()


@pytest.fixture
def one_width(net):
    """A network whose blocks all see the whole sequence; others have tests of their own below."""
    if net.stage_views():
        pytest.skip("has stages of several widths")
    return net


def identity(net, position="every_block"):
    views = net.stage_views()
    if views:
        return StagedTaps(Taps(view.config.depth, position) for view in views)
    return Taps(net.config.depth, position)


def first_of(taps):
    """The taps that blocks of one width are called with: all, or those of the first stage."""
    return taps.stages[0] if isinstance(taps, StagedTaps) else taps


def test_forward_shapes(net, toy_batch):
    tokens, c = net(toy_batch[0]), net.config
    b = len(toy_batch[0])
    count = toy_batch[0].shape[1] if net.pointwise else c.groups
    assert tokens.x.shape == (b, tokens.prefix + count, c.dim)
    assert tokens.pos.shape[:2] == tokens.x.shape[:2]
    assert tokens.pos.shape[2] == (0 if net.positions_enter == "once" else c.dim)
    assert tokens.centers.shape == (b, count, 3)
    assert tokens.prompts == 0
    assert tokens.x.isfinite().all()


def test_a_stage_calls_every_site_of_its_blocks_in_order_with_its_width(net, toy_batch):
    if not net.stage_views():
        pytest.skip("has one width")
    taps = StagedTaps(RecordingTaps(view.config.depth) for view in net.stage_views())
    assert torch.equal(net(toy_batch[0], taps).x, net(toy_batch[0]).x)
    for view, own in zip(net.stage_views(), taps.stages, strict=True):
        c = view.config
        (_, first, (one, n, width)), *inside, last = own.seen
        assert (first, one, width) == ("patch_out", 1, c.dim)
        assert last == (None, "norm_out", (1, n, c.dim))
        assert [row[:2] for row in inside if row[1] != "kv"] == [
            (i, site) for i in range(c.depth) for site in BLOCK_SITES if site != "kv"
        ]
        widths = {"qkv": 3 * c.dim, "fc1": c.fc1, "act": c.hidden}
        for _, site, shape in inside:
            assert site == "kv" or shape == (1, n, widths.get(site, c.dim)), site


def test_taps_that_do_nothing_change_nothing(net, toy_batch):
    assert torch.equal(net(toy_batch[0]).x, net(toy_batch[0], identity(net)).x)


def test_position_enters_once_or_in_every_block(net, toy_batch):
    every = net(toy_batch[0], identity(net, "every_block")).x
    one_way = bool(net.positions_enter)
    assert torch.equal(every, net(toy_batch[0], identity(net, "once")).x) == one_way
    shallow = type(net)(dataclasses.replace(net.config, depth=1)).eval()
    one, other = (shallow(toy_batch[0], identity(shallow, p)).x for p in ("every_block", "once"))
    assert torch.equal(one, other)


class RecordingBlock(BlockTaps):
    def __init__(self, seen, index):
        super().__init__()
        self.seen, self.index = seen, index


class RecordingTaps(Taps):
    def __init__(self, depth):
        super().__init__(depth)
        self.seen = []
        self.blocks = torch.nn.ModuleList(RecordingBlock(self.seen, i) for i in range(depth))


def recording(base, site, **shift):
    """A method that notes the call, then does what ``base`` does."""

    def tap(self, first, *rest):
        x = first.x if isinstance(first, Tokens) else first
        self.seen.append((getattr(self, "index", None), site, tuple(x.shape)))
        return getattr(base, site)(self, first, *rest)

    return tap


for _site in BLOCK_SITES:
    setattr(RecordingBlock, _site, recording(BlockTaps, _site))
for _site in SITES:
    setattr(RecordingTaps, _site, recording(Taps, _site))


def test_every_site_is_called_once_in_order_with_its_width(one_width, toy_batch):
    net = one_width
    taps, c, b = RecordingTaps(net.config.depth), net.config, len(toy_batch[0])
    plain = net(toy_batch[0])
    assert torch.equal(net(toy_batch[0], taps).x, plain.x)
    t = plain.x.shape[1]
    widths = {site: c.dim for site in BLOCK_SITES} | {"qkv": 3 * c.dim}
    widths |= {"fc1": c.fc1, "act": c.hidden}
    expected = [(None, "points_in", tuple(toy_batch[0].shape))]
    expected += [(None, "patch_out", (b, c.groups, c.dim)), (None, "tokens_in", (b, t, c.dim))]
    for i in range(c.depth):
        shapes = {site: (b, t, widths[site]) for site in BLOCK_SITES}
        shapes["kv"] = (b, c.heads, t, c.dim // c.heads)
        expected += [(i, site, shapes[site]) for site in BLOCK_SITES]
    expected += [(None, site, (b, t, c.dim)) for site in ("norm_out", "tokens_out")]
    assert taps.seen == expected


class DoublingBlock(BlockTaps):
    def __init__(self, site):
        super().__init__()
        if site == "mlp":
            self.mlp = lambda x, out, tokens: (2 * out, None)
        elif site in ("block_in", "block_out"):
            setattr(self, site, lambda tokens, *memo: tokens.with_x(2 * tokens.x + 1))
        elif site == "kv":
            self.kv = lambda k, v: (k, 2 * v)
        else:
            setattr(self, site, lambda x, *source: 2 * x)


@pytest.mark.parametrize("site", BLOCK_SITES)
def test_what_a_tap_of_a_block_returns_counts(net, site, toy_batch):
    taps = identity(net)
    first_of(taps).blocks[0] = DoublingBlock(site)
    assert not torch.allclose(net(toy_batch[0], taps).x, net(toy_batch[0]).x)


@pytest.mark.parametrize("site", SITES)
def test_what_a_tap_of_the_whole_returns_counts(net, site, toy_batch):
    if site not in net.sites:
        pytest.skip("is no site of this family")
    whole = identity(net)
    taps = first_of(whole)
    if site == "points_in":
        taps.points_in = lambda points: (2 * points, None)
    elif site.startswith("tokens"):
        setattr(taps, site, lambda tokens, *rest: tokens.with_x(2 * tokens.x))
    else:
        setattr(taps, site, lambda x: 2 * x)
    assert not torch.allclose(net(toy_batch[0], whole).x, net(toy_batch[0]).x)


class SceneTaps(Taps):
    """Adds a point and a prompt, and hands things on."""

    def points_in(self, points):
        return torch.cat([points, points[:, :1]], dim=1), "memo"

    def tokens_in(self, tokens, scene):
        self.scene, self.other = scene, scene.patches(3, 5)
        return tokens.insert_prompts(self.other.x, self.other.pos).with_context("context")


def test_tokens_in_may_ask_for_patches_of_any_scale(one_width, toy_batch):
    net = one_width
    taps, b, dim = SceneTaps(net.config.depth), len(toy_batch[0]), net.config.dim
    tokens = net(toy_batch[0], taps)
    assert taps.scene.memo == "memo"
    assert torch.equal(taps.scene.position(taps.other.centers), taps.other.pos)
    assert tokens.context == "context"
    assert tokens.prompts == 3
    assert taps.other.x.shape == taps.other.pos.shape == (b, 3, dim)
    assert taps.other.centers.shape == (b, 3, 3)
    assert taps.other.prefix == 0
    points, _ = taps.points_in(toy_batch[0])
    own = net.patches(points, net.config.groups, net.config.group_size)
    assert torch.equal(own.centers, tokens.centers)
    embedded = net.embed(points, taps)
    assert torch.equal(embedded.patches, own.x)
    assert torch.equal(embedded.pos[:, embedded.prefix :], own.pos)


def test_prompts_can_be_dropped_again(family):
    x = torch.arange(6.0).view(1, 6, 1)
    tokens = Tokens(x=x, centers=torch.zeros(1, 3, 3), pos=x + 10, prompts=2).drop_prompts()
    assert tokens.prompts == 0
    assert tokens.x.flatten().tolist() == [0, 3, 4, 5]
    assert tokens.pos.flatten().tolist() == [10, 13, 14, 15]
    assert tokens.patches.flatten().tolist() == [3, 4, 5]


class MemoBlock(BlockTaps):
    def mlp(self, x, out, tokens):
        return out, ("memo", x.shape)

    def block_out(self, tokens, memo):
        self.got = memo
        return tokens


def test_block_out_gets_what_mlp_of_its_block_hands_on(net, toy_batch):
    taps = identity(net)
    own = first_of(taps)
    own.blocks = torch.nn.ModuleList(MemoBlock() for _ in own.blocks)
    net(toy_batch[0], taps)
    assert all(block.got[0] == "memo" and len(block.got[1]) == 3 for block in own.blocks)


class PromptBlock(BlockTaps):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def block_out(self, tokens, memo):
        return tokens.insert_prompts(torch.full_like(tokens.x[:, :1], self.number))


def test_blocks_take_prompts(one_width, toy_batch):
    net = one_width
    taps = identity(net)
    taps.blocks = torch.nn.ModuleList(PromptBlock(float(i)) for i in range(net.config.depth))
    tokens = net(toy_batch[0], taps)
    assert tokens.prompts == net.config.depth
    assert tokens.x.shape[1] == tokens.prefix + tokens.prompts + net.config.groups


def test_prompts_go_after_the_prefix_newest_first(family):
    x = torch.arange(4.0).view(1, 4, 1).expand(2, 4, 3)
    tokens = Tokens(x=x, centers=torch.zeros(2, 3, 3), pos=x + 10)
    for value in (100.0, 200.0):
        tokens = tokens.insert_prompts(torch.full((2, 2, 3), value))
    assert tokens.x[0, :, 0].tolist() == [0, 200, 200, 100, 100, 1, 2, 3]
    assert tokens.pos[0, :, 0].tolist() == [10, 0, 0, 0, 0, 11, 12, 13]
    assert tokens.prompts == 4


def test_pooling_names(family):
    x = torch.tensor([[[1.0], [5.0], [7.0], [2.0], [4.0], [9.0]]])  # CLS, 2 prompts, 3 patches
    tokens = Tokens(x=x, centers=torch.zeros(1, 3, 3), pos=x, prompts=2)
    got = {name: round(tokens.pool(name).item(), 5) for name in POOLS}
    assert got == {
        "cls": 1, "prompt_mean": 6, "prompt_max": 7, "patch_mean": 5, "patch_max": 9,
        "token_mean": 5.4, "token_max": 9,
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match="did you mean 'patch_max'"):
        tokens.pool("patchmax")
    bare = dataclasses.replace(tokens, prompts=0)
    for name in ("prompt_mean", "prompt_max"):
        with pytest.raises(ConfigError, match="adds none"):
            bare.pool(name)


def test_patches_do_not_depend_on_the_order_of_their_points(one_width):
    net = one_width
    torch.manual_seed(0)
    columns = net.encoder.linear1.in_features
    groups = torch.randn(3, net.config.groups, net.config.group_size, columns)
    shuffled = groups[:, :, torch.randperm(net.config.group_size)]
    torch.testing.assert_close(net.encoder(shuffled), net.encoder(groups), atol=1e-6, rtol=0)


def test_tokens_do_not_depend_on_the_order_of_the_points(one_width, toy_batch):
    # all but the first, from which sampling starts
    net, points = one_width, toy_batch[0]
    torch.manual_seed(0)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(points.shape[1] - 1)])
    got, want = net(points[:, order]), net(points)
    assert torch.equal(got.centers, want.centers)
    torch.testing.assert_close(got.x, want.x, atol=1e-5, rtol=0)


def test_clouds_of_a_batch_do_not_mix(net, toy_batch):
    points = toy_batch[0]
    torch.testing.assert_close(net(points[3:5]).x, net(points).x[3:5], atol=1e-5, rtol=0)


def test_drop_path_grows_from_zero_and_is_off_in_eval(net, toy_batch):
    net.set_drop_path(0.3)
    rates = [m.rate for m in net.modules() if isinstance(m, DropPath)]
    assert rates[0] == 0.0
    assert max(rates) == pytest.approx(0.3)
    assert rates == sorted(rates) or net.stage_views()  # a decoder begins at 0 again
    assert torch.equal(net(toy_batch[0]).x, net(toy_batch[0]).x)


def test_drop_path_drops_whole_samples_and_keeps_the_mean(family):
    drop = DropPath(0.25).train()
    torch.manual_seed(0)
    out = drop(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (out == out[:, :1, :1]).all()
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)


def test_fingerprint_is_stable_and_feels_one_bit(net, folder, family):
    assert net.fingerprint == load_backbone(folder, seed=5).fingerprint
    assert len(net.fingerprint) == 64
    for key in net.base_keys:
        value = net.state_dict()[key]
        before = value.clone()
        flat = value.view(-1)[-1:]
        flat.view(torch.int32 if value.is_floating_point() else value.dtype)[0] ^= 1
        assert net.sha256() != net.fingerprint, key
        value.copy_(before)
    assert net.sha256() == net.fingerprint


def test_fingerprint_takes_names_and_shapes(family):
    a = {"x": torch.arange(6.0)}
    assert tensors_sha256(a) != tensors_sha256({"y": torch.arange(6.0)})
    assert tensors_sha256(a) != tensors_sha256({"x": torch.arange(6.0).view(2, 3)})
    both = {"x": torch.ones(2), "y": torch.zeros(2)}
    assert tensors_sha256(both) == tensors_sha256(dict(reversed(both.items())))


def test_what_is_no_base_tensor_comes_from_the_seed(folder, family):
    a, b, c = (load_backbone(folder, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    random = {k for k in BACKBONES[family].optional if "norm" not in k}  # those start as 1 and 0
    assert {k for k in a if not torch.equal(a[k], c[k])} == random


def test_loading_leaves_the_random_state_alone(folder, family):
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    load_backbone(folder)
    assert torch.equal(torch.rand(1), want)


def test_save_and_load_is_equal_bit_for_bit(net, folder, toy_batch, tmp_path):
    again = load_backbone(save_backbone(net, tmp_path / "b")).eval()
    assert again.fingerprint == net.fingerprint
    assert again.config == net.config
    assert torch.equal(again(toy_batch[0]).x, net(toy_batch[0]).x)
    assert set(read_safetensors(tmp_path / "b/model.safetensors")) == set(net.base_keys)


def test_half_precision_file_keeps_one_fingerprint(net, tmp_path):
    once = load_backbone(save_backbone(net, tmp_path / "a", torch.float16))
    again = load_backbone(save_backbone(once, tmp_path / "b", torch.float32))
    assert once.fingerprint == again.fingerprint != net.fingerprint


def test_groups_may_be_changed_and_weights_stay(folder, one_width, toy_batch):
    net = one_width
    changed = load_backbone(folder, groups=5, group_size=4).eval()
    assert changed.fingerprint == net.fingerprint
    assert changed(toy_batch[0]).centers.shape[1] == 5


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 5}, {"heads": 0}, {"groups": 0}, {"group_size": -1}, {"dim": 0}, {"depth": 0},
    ],
)  # fmt: skip
def test_impossible_sizes(folder, change, one_width):
    with pytest.raises(ConfigError):
        load_backbone(folder, **change)


def test_too_few_points(one_width):
    net = one_width
    with pytest.raises(PointCloudError, match="4 points"):
        net(torch.rand(2, 4, 3))


def test_nan_is_refused(net):
    points = torch.rand(2, 64, 3)
    points[1, 5, 0] = torch.nan
    with pytest.raises(PointCloudError, match="NaN"):
        net(points)


def copy_of(folder, target, tensors=None, config=None):
    from pointadapt.core.files import read_json, write_json
    from pointadapt.core.tensors import write_safetensors

    state = read_safetensors(folder / "model.safetensors")
    values = read_json(folder / "config.json")
    write_safetensors(target / "model.safetensors", tensors(state) if tensors else state)
    write_json(target / "config.json", config(values) if config else values)
    return target


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if "blocks.1" not in k}, None, "is missing"),
        (lambda t: {k: v for k, v in t.items() if "blocks" not in k}, None, "no transformer"),
        (lambda t: t | {"stray": torch.ones(1)}, None, "'stray' is none of"),
        (lambda t: t | {max(t): torch.ones(3)}, None, "has shape"),
        (None, lambda c: {k: v for k, v in c.items() if k != "family"}, "no family"),
        (None, lambda c: [1, 2], "no family"),
        (None, lambda c: c | {"family": "point_vt"}, "did you mean"),
        (None, lambda c: c | {"dims": 3}, "did you mean 'dim'"),
        (None, lambda c: c | {"depth": "many"}, "whole number"),
    ],
)
def test_damaged_folder(folder, tensors, config, message, tmp_path):
    copy_of(folder, tmp_path, tensors, config)
    with pytest.raises(PointAdaptError, match=message) as caught:
        load_backbone(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"junk", "half", None])
def test_damaged_weights(folder, damage, tmp_path):
    path = copy_of(folder, tmp_path) / "model.safetensors"
    content = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        load_backbone(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_size_says_what_it_is(family):
    cls = BACKBONES[family]
    assert cls.name == family
    assert cls.__doc__
    assert cls.sizes
    for config in cls.sizes.values():
        assert isinstance(config, cls.config_class)
    with pytest.raises(UnknownNameError, match="known: "):
        load_backbone(f"{family}:smal")


def test_random_backbone_by_name_is_fixed_by_its_seed(family, net, monkeypatch):
    monkeypatch.setitem(BACKBONES[family].sizes, "test", net.config)
    nets = [load_backbone(f"{family}:test", seed=s) for s in (0, 0, 1)]
    assert nets[0].fingerprint == nets[1].fingerprint != nets[2].fingerprint
    assert nets[2].seed == 1
    assert set(nets[0].base_keys) == set(nets[0].state_dict())


@pytest.mark.parametrize("name", ["nowhere", "point_vit", "point_vit:", "runs/none"])
def test_unknown_backbone(name, family):
    with pytest.raises(UnknownNameError, match="tiny"):
        load_backbone(name)
