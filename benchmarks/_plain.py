"""DAPT as the paper's arithmetic reads, in plain eager operations: what the benchmarks start from.

One patch encoder over all points with the patch's maximum repeated for each, kept in the graph;
scale-shifts as ``x * gamma + beta``; attention as three products. It shares its tensors with a
:class:`pointadapt.adapters.model.PointModel`, whose logits it must give (``train_step.py`` checks
it).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pointadapt.adapters.model import PointModel
from pointadapt.ops import group


def scale_shift(x: Tensor, module: torch.nn.Module) -> Tensor:
    return x * module.gamma + module.beta


def encode(encoder: torch.nn.Module, groups: Tensor) -> Tensor:
    b, g, k, _ = groups.shape
    x = groups.reshape(b * g, k, 3).transpose(1, 2)
    x = F.relu(encoder.norm1(F.conv1d(x, encoder.linear1.weight[:, :, None], encoder.linear1.bias)))
    x = F.conv1d(x, encoder.linear2.weight[:, :, None], encoder.linear2.bias)
    pooled = x.max(dim=2, keepdim=True).values
    x = torch.cat([pooled.expand(-1, -1, k), x], dim=1)
    x = F.conv1d(x, encoder.linear3.weight[:, :, None], encoder.linear3.bias)
    x = F.conv1d(F.relu(encoder.norm2(x)), encoder.linear4.weight[:, :, None], encoder.linear4.bias)
    return x.max(dim=2).values.reshape(b, g, -1)


def attention(attn: torch.nn.Module, taps: torch.nn.Module, x: Tensor) -> Tensor:
    b, t, d = x.shape
    qkv = scale_shift(F.linear(x, attn.qkv.weight), taps.ss_qkv)
    q, k, v = qkv.reshape(b, t, 3, attn.heads, -1).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-2, -1)) * (d // attn.heads) ** -0.5
    x = (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, t, d)
    return scale_shift(attn.proj(x), taps.ss_proj)


def block(net: torch.nn.Module, taps: torch.nn.Module, x: Tensor) -> Tensor:
    x = x + net.drop_path(attention(net.attn, taps, scale_shift(net.norm1(x), taps.ss_norm1)))
    h = scale_shift(net.norm2(x), taps.ss_norm2)
    a = taps.adapter
    adapted = a.norm(h)
    scale = F.relu(a.scale(adapted))
    adapted = a.up(a.dropout(F.gelu(a.down(adapted)))) * scale
    out = F.gelu(scale_shift(net.mlp.fc1(h), taps.ss_fc1))
    out = scale_shift(net.mlp.fc2(out), taps.ss_fc2) + adapted
    x = x + net.drop_path(out)
    prompt = scale_shift(F.gelu(adapted).mean(dim=1, keepdim=True), taps.ss_prompt)
    return torch.cat([x[:, :1], prompt, x[:, 1:]], dim=1)


def logits(model: PointModel, points: Tensor) -> Tensor:
    """(B, N, 3) to (B, classes); for DAPT with default options and its default head inputs."""
    net, taps, c = model.backbone, model.adapter.taps, model.backbone.config
    centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule)
    patches = scale_shift(encode(net.encoder, groups), taps.ss_patch)
    cls = net.cls_token.expand(len(points), -1, -1)
    pos = torch.cat([net.cls_pos.expand(len(points), -1, -1), net.pos_embed(centers)], dim=1)
    x = torch.cat([cls, patches], dim=1) + pos
    for part, part_taps in zip(net.blocks, taps.blocks, strict=True):
        x = block(part, part_taps, x)
    x, n = scale_shift(net.norm(x), taps.ss_out), len(net.blocks)
    pooled = [x[:, 0], x[:, 1 : 1 + n].mean(dim=1), x[:, 1 + n :].max(dim=1).values]
    return model.adapter.head.layers(torch.cat(pooled, dim=1))
