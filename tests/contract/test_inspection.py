"""Any method on any family of backbones can be looked into, and is left as it was."""

import numpy as np
import pytest
import torch
from families import ONE_WIDTH, STAGED, marked, pairs

from pointadapt.adapters.folder import save_adapter
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones import BlockTaps, Taps
from pointadapt.core.errors import ConfigError
from pointadapt.inference.export import export_file
from pointadapt.inference.forward import Inputs
from pointadapt.methods import METHODS, make_method
from pointadapt.ops import cloud_traits
from pointadapt.pretrained.load import load_backbone
from pointadapt.reports.inspection import inspect
from pointadapt.reports.inspection.measure import look
from pointadapt.reports.inspection.worth import Scorer, worth_of_inputs, worth_of_prompts
from pointadapt.tasks import make_task

CLASSES = ("ball", "bar", "helix", "plate")
each_method = pytest.mark.parametrize("name", [*METHODS, marked("peft:lora")])
each_pair = pytest.mark.parametrize(
    ("name", "family"), pairs((*METHODS, "peft:lora"), families=ONE_WIDTH)
)


def new_model(folder, name, seed=0, task="classification", **options):
    """A model whose adapter is not what it starts as: every tensor of it is shaken."""
    net = load_backbone(folder)
    torch.manual_seed(seed)
    own = {"parts": tuple(f"{name}/part" for name in CLASSES)} if task != "classification" else {}
    adapter = Adapter(net, make_method(name, options), make_task(task), CLASSES, **own)
    model = PointModel(net, adapter).eval()
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        parameters = dict(net.named_parameters())
        for key in sorted(adapter.method.trainable_among(parameters)):
            parameters[key].add_(0.1 * torch.randn_like(parameters[key]))
    return model


def scored(model, batch):
    points, labels = batch
    inputs = Inputs(points[:20].numpy(), traits=cloud_traits(points[:20]).numpy())
    seen = look(model, inputs, 64)
    return inputs, seen, Scorer(model, labels[:20], labels[:20], seen.outputs)


@each_pair
def test_a_look_shows_each_block_and_changes_nothing(name, family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    hooks = [len(m._forward_hooks) for m in model.modules()]
    inputs, seen, scorer = scored(model, toy_batch)
    assert len(seen.changes) == model.backbone.config.depth
    assert all(np.isfinite(value) for row in seen.changes for value in row.values())
    assert seen.centers.shape == (20, 8, 3)
    assert seen.outputs.shape == (20, 4)
    with torch.no_grad():
        rows = model.adapter.head.from_rows(seen.rows)
    assert torch.allclose(rows, seen.outputs, atol=1e-5)
    prompts = worth_of_prompts(scorer, inputs, 64, seen.prompts, seen.rows.mean(dim=0))
    assert [row["prompts"] for row in prompts][-1] == seen.prompts
    assert prompts[-1]["score"] == pytest.approx(scorer.judged(seen.outputs)[0])
    assert prompts[-1]["change"] == prompts[-1]["error"] == 0
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [len(m._forward_hooks) for m in model.modules()] == hooks


@pytest.mark.parametrize("family", ONE_WIDTH)
def test_a_method_that_changes_nothing_shows_nothing(family, bare_backbone, toy_batch):
    seen = scored(new_model(bare_backbone(family), "linear_probe"), toy_batch)[1]
    assert seen.prompts == 0 and not seen.scales
    assert seen.entry == 0
    for row in seen.changes:
        assert row["apart"] == row["own"] == 0
        assert row["cosine"] == pytest.approx(1, abs=1e-5)
        assert row["change"] == row["bare_change"] > 0


@pytest.mark.parametrize("family", ONE_WIDTH)
def test_what_full_training_moved_is_not_in_the_bare_backbone(family, bare_backbone, toy_batch):
    model = new_model(bare_backbone(family), "full")
    seen = scored(model, toy_batch)[1]
    with torch.no_grad():
        tokens = load_backbone(bare_backbone(family)).eval()(toy_batch[0][:20])
    assert torch.allclose(seen.pooled[:, :24], tokens.pool("patch_max"), atol=1e-5)
    assert seen.entry > 0
    assert all(row["own"] > 0.01 and row["apart"] > 0.01 for row in seen.changes)


class HalfTaps(BlockTaps):
    """Adds 3 times a scale that is 2 for every second patch and 0 for all other tokens."""

    def __init__(self):
        super().__init__()
        self.scale = Every2nd()

    def token_scale(self):
        return self.scale

    def mlp(self, x, out, tokens):
        return out + 3 * self.scale(x), None


class Every2nd(torch.nn.Module):
    def forward(self, x):
        scale = x.new_zeros(*x.shape[:2], 1)
        scale[:, -8::2] = 2
        return scale


def test_a_new_method_offers_its_scale_in_its_own_taps(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), "linear_probe")
    model.adapter.taps.blocks[1] = HalfTaps()
    seen = scored(model, toy_batch)[1]
    assert list(seen.scales) == [1]
    assert seen.scales[1].tolist() == [[2, 0] * 4] * 20
    assert seen.kinds[1]["patches"] == (1, 50)
    assert seen.kinds[1]["first"] == (0, 0)
    assert seen.kinds[1]["all"] == pytest.approx((8 / 9, 400 / 9))
    assert seen.changes[0]["own"] == 0 < seen.changes[1]["own"]


def test_the_dynamic_scale_of_dapt_is_what_its_adapter_computes(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), "dapt", layers=("1",))
    given = []
    adapter = model.adapter.taps.blocks[1].adapter
    adapter.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    seen = scored(model, toy_batch)[1]
    with torch.no_grad():
        x = adapter.norm(torch.cat(given[:2]))
        by_hand = (x @ adapter.scale.weight.T + adapter.scale.bias).clamp(min=0)[:, -8:, 0]
    assert np.allclose(seen.scales[1], by_hand.numpy(), atol=1e-5)
    assert seen.prompts == 1
    fixed = new_model(bare_backbone("point_vit"), "dapt", dynamic_scale=False)
    assert not scored(fixed, toy_batch)[1].scales


class Prompted(Taps):
    """Prompts 5, 4 and 3, the newest first, that no block changes."""

    def __init__(self, depth):
        super().__init__(depth)
        for block in range(depth):
            self.blocks[block] = Kept()

    def tokens_in(self, tokens, view):
        for value in (3.0, 4.0, 5.0):
            tokens = tokens.insert_prompts(torch.full((len(tokens.x), 1, 24), value))
        return tokens


class Kept(BlockTaps):
    def block_out(self, tokens, memo):
        self.prompts = tokens.prompts
        return tokens


def test_prompts_are_taken_away_from_the_oldest(bare_backbone, toy_batch):
    net, taps = load_backbone(bare_backbone("point_vit")).eval(), Prompted(2)
    for most, mean in ((None, 4), (3, 4), (2, 4.5), (1, 5), (0, 0)):
        taps.most_prompts = most
        taps.norm_out = lambda x: x
        with torch.no_grad():
            tokens = net.begin(toy_batch[0], taps)
        assert tokens.prompts == (3 if most is None else most)
        assert tokens.pos.shape[1] == tokens.x.shape[1] == 9 + tokens.prompts
        assert float(tokens.pool("prompt_mean").mean()) == pytest.approx(mean)
        assert tokens.seen_prompts == (3 if most is None else min(most + 1, 3))
        assert net(toy_batch[0], taps).prompts == taps.blocks[1].prompts == tokens.prompts


def test_an_input_that_decides_all_is_missed_and_enough(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), "linear_probe")
    seen = scored(model, toy_batch)[1]
    head, labels = model.adapter.head, toy_batch[1][:20]
    head.from_rows = lambda rows: rows[:, 24:28]  # the second input begins with the answer
    rows = torch.zeros_like(seen.rows)
    rows[:, 24:28] = torch.nn.functional.one_hot(labels, 4).float()
    whole = Scorer(model, labels, labels, head.from_rows(rows))
    first, second = worth_of_inputs(whole, rows, rows.mean(dim=0))
    assert (first["input"], second["input"]) == ("cls", "patch_max")
    assert first["without"]["score"] == second["alone"]["score"] == 100
    assert first["without"]["error"] == 0
    chance = second["without"]["score"]
    assert chance == first["alone"]["score"] < 40
    wrong = round(20 * (1 - chance / 100))
    assert second["without"]["change"] == pytest.approx(chance - 100)
    assert second["without"]["error"] == pytest.approx(100 * wrong**0.5 / 20, abs=1e-3)


def test_a_model_that_labels_points_shows_its_blocks(bare_backbone, toy_batch):
    model = new_model(bare_backbone("point_vit"), "dapt", task="part_segmentation")
    seen = look(model, Inputs(toy_batch[0][:5].numpy()), 64)
    assert seen.outputs is None and seen.rows is None
    assert len(seen.changes) == len(seen.scales) == 2


@pytest.mark.parametrize("family", STAGED)
def test_a_family_of_stages_is_refused_in_one_line(family, bare_backbone, tmp_path):
    model = new_model(bare_backbone(family), "lora")
    save_adapter(model, tmp_path / "a", backbone=str(bare_backbone(family)), points=64)
    with pytest.raises(ConfigError, match="inspect is written for backbones of one width"):
        inspect(tmp_path / "a", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="export is written for backbones of one width"):
        export_file(tmp_path / "a", tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
