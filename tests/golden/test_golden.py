"""Equality with the published arithmetic; README.md here says how the arrays were made.

The tolerances are those that the arithmetic itself allows: eval tensors 1e-5 absolute, train-mode
logits and loss 5e-5, train-mode gradients 1e-3 relative a tensor, buffers 1e-5.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import Published, convert
from pointadapt.backbones.layers import DropPath
from pointadapt.backbones.published.layouts import LAYOUTS
from pointadapt.methods.dapt import from_published as dapt_from_published

HERE = Path(__file__).parent
KINDS = ("dapt", "ft")


def arrays(name):
    with np.load(HERE / f"{name}.npz") as file:
        return {k: torch.from_numpy(file[k]) for k in file.files}


def our_names(tensors):
    """Released names to the names of PointModel's parameters."""
    out = {f"backbone.{k}": v for k, v in LAYOUTS["point_mae"].read(tensors).items()}
    out |= {f"adapters.default.taps.{k}": v for k, v in dapt_from_published(tensors).items()}
    head = "cls_head_finetune."
    out |= {
        f"adapters.default.head.layers.{k.removeprefix(head)}": v
        for k, v in tensors.items()
        if k.startswith(head)
    }
    assert len(out) == len(tensors)
    return out


@pytest.fixture(params=KINDS)
def case(request, tmp_path):
    """(kind, model converted from the released state, expected arrays)."""
    kind = request.param
    path = tmp_path / "released.pth"
    torch.save(
        {"base_model": {f"module.{k}": v for k, v in arrays(f"{kind}_small_state").items()}}, path
    )
    convert(path, tmp_path / "out", Published(heads=3, groups=16, group_size=8, points=256))
    return kind, adapter_folder.load(tmp_path / "out" / "adapter"), arrays(f"{kind}_small_out")


def record(model, kind, points):
    """Every intermediate the golden file holds, by hooks and wrapped taps."""
    seen, net = {}, model.backbone
    taps = model.adapter.taps
    net.encoder.register_forward_hook(lambda m, i, o: seen.__setitem__("encoder_out", o))
    net.pos_embed.register_forward_hook(lambda m, i, o: seen.__setitem__("pos_embed_out", o))
    net.norm.register_forward_hook(lambda m, i, o: seen.__setitem__("norm_out", o))
    model.adapter.head.layers.register_forward_pre_hook(
        lambda m, i: seen.__setitem__("concat_f", i[0])
    )
    for i, block in enumerate(net.blocks):
        block.register_forward_pre_hook(lambda m, a, i=i: seen.__setitem__(f"block{i}_in", a[0].x))
        block.register_forward_hook(lambda m, a, o, i=i: seen.__setitem__(f"block{i}_out", o.x))
        block.attn.register_forward_hook(
            lambda m, a, o, i=i: seen.__setitem__(f"block{i}_attn_out", o)
        )
        block.mlp.register_forward_hook(
            lambda m, a, o, i=i: seen.__setitem__(f"block{i}_mlp_out", o)
        )
        if kind == "dapt":
            adapter = taps.blocks[i].adapter
            adapter.register_forward_hook(
                lambda m, a, o, i=i: seen.__setitem__(f"block{i}_adapter_out", o)
            )
            adapter.scale.register_forward_hook(
                lambda m, a, o, i=i: seen.__setitem__(f"block{i}_scale_pre_relu", o)
            )
    seen["logits"] = model(points)
    return seen


def test_eval_tensors(case):
    kind, model, expected = case
    with torch.no_grad():
        seen = record(model, kind, expected["points"])
    checked = [k for k in expected if k in seen]
    # ft: 3 blocks x (in, attn, mlp, out) + 5; dapt has two more a block
    assert len(checked) == (23 if kind == "dapt" else 17), sorted(set(expected) - set(seen))
    for key in checked:
        torch.testing.assert_close(
            seen[key], expected[key], atol=1e-5, rtol=0, msg=lambda m, k=key: f"{k}: {m}"
        )
    loss = model.adapter.task.loss(seen["logits"], expected["labels"])
    torch.testing.assert_close(loss, expected["loss_eval"], atol=1e-5, rtol=0)


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_eval_gradients(case):
    kind, model, expected = case
    out = model(expected["points"])
    model.adapter.task.loss(out, expected["labels"]).backward()
    want = our_names(
        {k.removeprefix("grad_eval."): v for k, v in arrays(f"{kind}_small_grad_eval").items()}
    )
    got = gradients(model)
    assert set(got) == set(want)  # what trains is exactly what the released code trains
    for name, published in want.items():
        grad = published.reshape(got[name].shape)
        assert (got[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-7, name


def train_step(model, expected):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.rate = 0.0
    out = model(expected["points"])
    loss = model.adapter.task.loss(out, expected["labels"])
    loss.backward()
    return out, loss


def test_train_mode(case):
    kind, model, expected = case
    out, loss = train_step(model, expected)
    torch.testing.assert_close(out, expected["train_logits"], atol=5e-5, rtol=0)
    torch.testing.assert_close(loss, expected["loss_train"], atol=5e-5, rtol=0)
    stored = arrays(f"{kind}_small_train")
    want = our_names(
        {k.removeprefix("grad_train."): v for k, v in stored.items() if k.startswith("grad_")}
    )
    got = gradients(model)
    assert set(got) == set(want)
    for name, published in want.items():
        grad = published.reshape(got[name].shape)
        # biases before BatchNorm have a gradient of zero up to rounding
        assert (got[name] - grad).norm() <= 1e-3 * grad.norm() + 5e-5, name
    norm = torch.stack([g.norm() for g in got.values()]).norm()
    torch.testing.assert_close(norm, expected["grad_norm_train"], rtol=1e-3, atol=0)
    buffers = our_names(
        {
            k.removeprefix("buffer_after_train."): v
            for k, v in stored.items()
            if k.startswith("buffer_")
        }
    )
    own = dict(model.named_buffers())
    for name, value in buffers.items():
        torch.testing.assert_close(own[name], value, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("gradient", ["golden", "own"])
def test_optimizer_step(gradient):
    """One AdamW step after clipping at 10, DAPT, with the two decay groups.

    Adam's first step is lr * sign(gradient), so entries whose gradient is rounding noise around
    zero step either way: with our own gradients only the others are compared.
    """
    model, expected = converted("dapt")
    train_step(model, expected)
    stored = arrays("dapt_small_train")
    golden = our_names(
        {k.removeprefix("grad_train."): v for k, v in stored.items() if k.startswith("grad_")}
    )
    own = dict(model.named_parameters())
    golden = {n: g.reshape(own[n].shape) for n, g in golden.items()}
    if gradient == "golden":
        for name, value in golden.items():
            own[name].grad = value.clone()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    torch.optim.AdamW(model.parameter_groups(0.05), lr=5e-4).step()
    want = our_names(
        {k.removeprefix("param_after_step."): v for k, v in arrays("dapt_small_after_step").items()}
    )
    compared = 0
    for name, value in want.items():
        sure = golden[name].abs() > (0.0 if gradient == "golden" else 1e-3)
        difference = (own[name] - value.reshape(own[name].shape)).abs()[sure]
        compared += difference.numel()
        assert (difference <= (1e-6 if gradient == "golden" else 1e-5)).all(), name
    assert compared > 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_decay_groups(kind):
    model, _ = converted(kind)
    rest, decay = model.parameter_groups(0.05)
    names = {id(p): n for n, p in model.named_parameters()}
    expected = json.loads((HERE / f"{kind}_small_config.json").read_text())["no_decay_then_decay"]
    for group, listed in zip((rest, decay), expected, strict=True):
        want = our_names({name: torch.empty(1) for name in listed})
        assert {names[id(p)] for p in group["params"]} == set(want)


def converted(kind):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "released.pth"
        torch.save(arrays(f"{kind}_small_state"), path)
        convert(path, Path(folder) / "out", Published(heads=3, groups=16, group_size=8, points=256))
        return adapter_folder.load(Path(folder) / "out" / "adapter"), arrays(f"{kind}_small_out")


def test_schedule_is_the_released_one():
    from pointadapt.training.schedule import warmup_cosine

    used = json.loads((HERE / "lr_used_per_epoch.json").read_text())
    # the released runner steps after the epoch, so each epoch uses the value of the one before
    ours = [warmup_cosine(max(0, e - 1), 300, 10, 5e-4) for e in range(301)]
    assert ours == pytest.approx(used, rel=1e-9)
