"""Trainable parameters on the published size, exactly (Tab. 1 of the paper)."""

import pytest
import torch

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.point_vit import PointViT
from pointadapt.methods import make_method
from pointadapt.methods.dapt import DynamicAdapter
from pointadapt.methods.modules import ScaleShift
from pointadapt.tasks import make_task
from pointadapt.tasks.metrics import parameter_counts


@pytest.fixture(scope="module")
def small():
    with torch.device("meta"):  # spares the random numbers
        net = PointViT(PointViT.sizes["small"])
    net.to_empty(device="cpu")
    for value in net.state_dict().values():
        value.zero_()
    return net.seal(k for k in net.state_dict() if k not in net.optional)


def model_of(net, method, classes, head, **options):
    names = tuple(f"class_{i}" for i in range(classes))
    task = make_task("classification")
    return PointModel(net, Adapter(net, make_method(method, options), task, names, head))


def count(modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def parts(model):
    taps = list(model.adapter.taps.modules())
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    return (
        count(m for m in taps if isinstance(m, DynamicAdapter)),
        count(m for m in taps if isinstance(m, ScaleShift)),
        count([model.adapter.head]),
        sum(p.numel() for p in trained),
    )


@pytest.mark.parametrize(
    ("rank", "classes", "head", "expected", "total"),
    [
        (64, 15, ("cls", "prompt_mean", "patch_max"), (609036, 112128, 365839, 768), 1_087_771),
        (64, 15, ("cls", "prompt_mean"), (609036, 112128, 267535, 768), 989_467),
        (72, 40, ("cls", "patch_max"), (682860, 112128, 273960, 768), 1_069_716),
    ],
    ids=["PB_T50_RS", "OBJ_ONLY", "ModelNet40"],
)
def test_dapt(small, rank, classes, head, expected, total):
    model = model_of(small, "dapt", classes, head, rank=rank)
    assert parts(model) == expected
    assert sum(expected) == total == parameter_counts(model)[0]


def test_dapt_default_head_is_that_of_pb_t50_rs(small):
    assert parameter_counts(model_of(small, "dapt", 15, ()))[0] == 1_087_771


def test_full(small):
    model = model_of(small, "full", 15, ("cls", "patch_max"))
    assert count([model.adapter.head]) == 267_535
    assert parameter_counts(model) == (22_093_327, 22_093_327)


def test_linear_probe(small):
    model = model_of(small, "linear_probe", 15, ("cls", "patch_max"))
    assert parameter_counts(model) == (267_535, 22_093_327)


@pytest.mark.parametrize(
    ("method", "options", "added", "trained"),
    [
        # 8 D biases a block, last LayerNorm, patch encoder, position MLP, CLS and its position
        ("bitfit", {}, 0, 12 * 3072 + 384 + 1920 + 512 + 768),
        ("bitfit", {"train_cls": False}, 0, 39_680),
        ("norm", {}, 0, 25 * 768 + 768),
        ("norm", {"batchnorm_affine": True}, 0, 25 * 768 + 768 + 1280),
        ("ssf", {}, 12 * 8448 + 1536, 768),
        ("adapter", {}, 24 * 24_992, 24 * 768 + 768),
        ("adapter", {"train_norm": False}, 599_808, 768),
        ("adaptformer", {}, 12 * 49_600, 768),
        ("prefix", {}, 12 * 2 * 10 * 384, 768),
        ("prefix", {"hidden": 512}, 10 * 384 + 385 * 512 + 12 * 513 * 768, 768),
        ("vpt", {}, 12 * 20 * 384, 768),
        ("vpt", {"deep": False}, 20 * 384, 768),
        ("fact", {}, 2 * 384 * 16 + 144 * 256, 768),
        ("fact", {"form": "tk"}, 2 * 384 * 16 + 144 * 16 + 4096, 768),
        ("ia3", {}, 12 * 6 * 384, 768),
        ("ia3", {"train_cls": False}, 27_648, 0),
        ("lora", {}, 24 * 24_576, 768),
        ("lora", {"targets": ("q", "k", "v", "proj", "fc1", "fc2"), "rank": 1}, 12 * 18 * 384, 768),
        ("most", {}, 12 * 9 * 384**2 // 8, 768),
    ],
)
def test_generic(small, method, options, added, trained):
    model = model_of(small, method, 15, ("cls", "patch_max"), **options)
    assert count([model.adapter.taps]) == added
    assert sum(p.numel() for p in small.parameters() if p.requires_grad) == trained
    assert parameter_counts(model)[0] == added + trained + 267_535


@pytest.mark.parametrize(
    ("blocks", "published"),
    [(8, 2.3), (16, 1.3), (32, 0.8)],  # in its ablation of b
)
def test_published_counts_of_most(small, blocks, published):
    """Which layers it adapts is inferred from these counts."""
    total = parameter_counts(model_of(small, "most", 15, (), blocks=blocks))[0]
    assert round(total / 1e6, 1) == published


def test_published_count_of_the_larger_stag(small):
    larger = {"adapted": 0.75, "down_sets": 4, "graph_sets": 3}
    # 4 W_d of 384 · 192 + 192; 3 sets of 3 (192² + 192) and 192 · 384 + 384; in all 1.02 M
    added = 4 * 73_920 + 3 * (111_168 + 74_112)
    model = model_of(small, "stag", 15, (), **larger)
    assert count([model.adapter.taps]) == added
    assert parameter_counts(model)[0] == added + 169_231 == 1_020_751


@pytest.mark.parametrize(
    ("options", "adapters", "scale_shifts", "prompts"),
    [
        # 12 adapters of 2 D r + r + D + (D + 1) + 2 D = 50,753; 12 · 11 D · 2 + 4 D; 12 · 2 D
        ({}, 609_036, 102_912, 9_216),
        ({"dynamic_scale": False}, 609_036 - 12 * 385, 102_912, 9_216),
        ({"adapter_norm": False}, 609_036 - 12 * 768, 102_912, 9_216),
        ({"scale_shift": False}, 609_036, 0, 0),
        ({"scale_shift_sites": "prompt"}, 609_036, 0, 9_216),
        ({"prompt": False}, 609_036, 102_912, 0),
        ({"prompts": 3}, 609_036, 102_912, 3 * 9_216),
        ({"prompt_source": "random"}, 609_036, 102_912, 12 * 384),
        ({"prompt_source": "random", "prompts": 5}, 609_036, 102_912, 5 * 12 * 384),
        ({"placement": "serial"}, 609_036, 102_912, 9_216),
        ({"layers": ("6-11",)}, 609_036 // 2, 102_912, 9_216 // 2),
        ({"layers": ("none",)}, 0, 102_912, 0),
        ({"rank": 8}, 12 * (50_753 - 56 * 769), 102_912, 9_216),
    ],
)
def test_ablations_of_dapt(small, options, adapters, scale_shifts, prompts):
    model = model_of(small, "dapt", 15, ("cls", "patch_max"), **options)
    assert parts(model)[0] == adapters
    assert count([model.adapter.taps]) == adapters + scale_shifts + prompts
    head = 267_535
    assert parameter_counts(model)[0] == adapters + scale_shifts + prompts + head + 768


@pytest.mark.parametrize(
    ("method", "total", "published"),
    [  # in millions, in the tables of DAPT and PointGST
        ("vpt", 360_463, 0.36), ("lora", 858_127, 0.9), ("ssf", 371_215, 0.4),
        ("adapter", 886_543, 0.9), ("idpt", 1_696_783, 1.7), ("ppt", 1_042_191, 1.04),
        ("point_lora", 772_752, 0.77), ("pointgst", 622_831, 0.62), ("gaprompt", 600_487, 0.6),
        ("point_peft", 707_071, 0.7), ("stag", 428_431, 0.43), ("gft", 731_919, 0.73),
    ],
)  # fmt: skip
def test_published_counts(small, method, total, published):
    assert parameter_counts(model_of(small, method, 15, ()))[0] == total
    assert round(total / 1e6, len(str(published)) - 2) == published


def test_what_an_adapter_file_holds_of_the_backbone(small):
    """CLS and its position; and the moved statistics of the patch encoder's two BatchNorms."""
    model = model_of(small, "dapt", 15, ())
    own = {"backbone.cls_token", "backbone.cls_pos"}
    assert {k for k in model.adapter_state() if k.startswith("backbone.")} == own
    before = {n: b.clone() for n, b in small.named_buffers()}
    try:
        for buffer in small.buffers():
            buffer.add_(1)
        moved = {k for k in model.adapter_state() if k.startswith("backbone.")} - own
    finally:
        for name, buffer in small.named_buffers():
            buffer.copy_(before[name])
    assert moved == {
        f"backbone.encoder.norm{i}.{b}"
        for i in (1, 2)
        for b in ("running_mean", "running_var", "num_batches_tracked")
    }
