"""The forwards of the released code, as plain arithmetic on tensors under their official names."""

import math

import torch
import torch.nn.functional as F
from torch.nn.functional import gelu, linear

from pointadapt.backbones.pointgpt import nearest_chain
from pointadapt.core.config import Published
from pointadapt.ops import gather_points

DIM, DEPTH, HEADS, WIDTHS = 24, 2, 2, (8, 16, 12)
FACTS = Published(heads=HEADS, groups=6, group_size=8, points=64)
SMALL = {"dim": DIM, "depth": DEPTH, "widths": WIDTHS}


def squeezed(tensors):
    """1x1 convolutions as linear layers."""
    return {k: v.squeeze(-1) if v.dim() == 3 and "conv" in k else v for k, v in tensors.items()}


def layer(t, name, x):
    return linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def norm(t, name, x):
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])


def batchnorm(t, name, x):
    mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
    x = (x - mean) / (var + 1e-5).sqrt()
    return (x * t[f"{name}.weight"] + t[f"{name}.bias"]).relu()


def encode(t, groups):
    x, i = layer(t, "encoder.first_conv.0", groups), 0
    while f"encoder.first_conv.{i + 1}.running_mean" in t:
        x = batchnorm(t, f"encoder.first_conv.{i + 1}", x)
        x, i = layer(t, f"encoder.first_conv.{i + 3}", x), i + 3
    x = torch.cat([x.amax(dim=2, keepdim=True).expand_as(x), x], dim=-1)
    x = batchnorm(t, "encoder.second_conv.1", layer(t, "encoder.second_conv.0", x))
    x = layer(t, "encoder.second_conv.3", x).amax(dim=2)
    return layer(t, "reduce_dim", x) if "reduce_dim.weight" in t else x


def heads(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def attended(q, k, v, mask=0.0):
    scores = heads(q) @ heads(k).transpose(-2, -1) / math.sqrt(q.shape[-1] / HEADS) + mask
    return (scores.softmax(dim=-1) @ heads(v)).transpose(1, 2).flatten(2)


def self_attention(t, name, x):
    out = attended(*layer(t, f"{name}.qkv", x).chunk(3, dim=-1))
    return layer(t, f"{name}.proj", out)


def feed_forward(t, name, x):
    return layer(t, f"{name}.fc2", gelu(layer(t, f"{name}.fc1", x)))


def position(t, centers):
    if t["pos_embed.0.weight"].shape[1] != 3:
        omega = 1 / 10000 ** (torch.arange(DIM // 6) / (DIM / 6))
        waves = [
            f(centers[..., i : i + 1] * omega) for i in range(3) for f in (torch.sin, torch.cos)
        ]
        centers = torch.cat(waves, dim=-1)
    return layer(t, "pos_embed.2", gelu(layer(t, "pos_embed.0", centers)))


def before(rest, *first):
    return torch.cat([*(one.expand(len(rest), -1, -1) for one in first), rest], dim=1)


def vit_forward(t, centers, groups):
    """Without CLS: its start values are not in every file."""
    x, pos = encode(t, groups), position(t, centers)
    if "cls_token" in t:
        x, pos = before(x, t["cls_token"]), before(pos, t["cls_pos"])
    for i in range(DEPTH):
        name, x = f"blocks.blocks.{i}", x + pos
        x = x + self_attention(t, f"{name}.attn", norm(t, f"{name}.norm1", x))
        x = x + feed_forward(t, f"{name}.mlp", norm(t, f"{name}.norm2", x))
    return norm(t, "norm", x)


def recon_forward(t, centers, groups):
    names = ("cls", "img", "text")
    x = before(encode(t, groups), *(t[f"{n}_token"] for n in names))
    pos = before(position(t, centers), *(t[f"{n}_pos"] for n in names))
    for i in range(DEPTH):
        name, x = f"blocks.blocks.{i}", x + pos
        few = norm(t, f"{name}.norm1_contrast", x[:, :3])
        rest = norm(t, f"{name}.norm1", x[:, 3:])
        cross = f"{name}.attn_contrast"
        kv = layer(t, f"{cross}.kv", rest).chunk(2, dim=-1)
        few = few + layer(t, f"{cross}.proj", attended(layer(t, f"{cross}.q", few), *kv))
        rest = rest + self_attention(t, f"{name}.attn", rest)
        few = norm(t, f"{name}.norm2_contrast", few)
        rest = norm(t, f"{name}.norm2", rest)
        few = few + feed_forward(t, f"{name}.mlp_contrast", few)
        x = torch.cat([few, rest + feed_forward(t, f"{name}.mlp", rest)], dim=1)
    return norm(t, "norm", x)


def pointgpt_forward(t, centers, groups):
    order = nearest_chain(centers)
    centers = gather_points(centers, order)
    groups = torch.stack([g[o] for g, o in zip(groups, order, strict=True)])
    angle = centers * 2 * math.pi
    waves = torch.stack([angle.sin(), angle.cos()] * (DIM // 6), dim=-1).flatten(2)
    x = before(encode(t, groups), t["blocks.sos"].view(1, 1, -1), t["cls_token"])
    pos = before(waves, t["cls_pos"], t["sos_pos"])
    mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
    for i in range(DEPTH):
        name, x = f"blocks.layers.{i}", x + pos
        x = norm(t, f"{name}.ln_1", x)
        attention = torch.nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        start = f"{name}.attn."
        attention.load_state_dict({k[len(start) :]: v for k, v in t.items() if k.startswith(start)})
        x = x + attention(x, x, x, attn_mask=mask, need_weights=False)[0]
        hidden = gelu(layer(t, f"{name}.mlp.0", norm(t, f"{name}.ln_2", x)))
        x = x + layer(t, f"{name}.mlp.2", hidden)
    x = norm(t, "blocks.ln_f", x)
    return norm(t, "blocks.cls_norm", x) if "blocks.cls_norm.weight" in t else x


# Heads: what they read, and their layers ------------------------------------------------------


def cls_and_patches(x, prefix=1, cls=0):
    return torch.cat([x[:, cls], x[:, prefix:].amax(dim=1)], dim=-1)


def deep_head(t, name, x):
    """Linear, BatchNorm, ReLU, Dropout; twice; Linear."""
    for i in (0, 4):
        x = batchnorm(t, f"{name}.{i + 1}", layer(t, f"{name}.{i}", x))
    return layer(t, f"{name}.8", x)


def plain_head(t, name, x):
    """Linear, ReLU, Dropout; Linear."""
    return layer(t, f"{name}.3", layer(t, f"{name}.0", x).relu())


def linear_head(t, name, x):
    return layer(t, f"{name}.0", x)
