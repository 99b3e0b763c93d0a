"""Networks whose tensors are called as torch-pointcloud calls them (its version 0.0.18).

Written from that library's public module tree: which module holds which, under which attribute.
The names come out of ``state_dict``, so they owe nothing to our renaming, which they test.
"""

from itertools import pairwise

import torch
from torch import nn

WIDTHS = (8, 16, 12)


class BatchNorm(nn.Module):
    """PyG's: torch's own, one level down."""

    def __init__(self, dim):
        super().__init__()
        self.module = nn.BatchNorm1d(dim)

    def forward(self, x):
        return self.module(x)


class MLP(nn.Module):
    """PyG's: linear layers, with norm and activation after all but the last."""

    def __init__(self, widths, norm=False, act=torch.relu):
        super().__init__()
        self.act = act
        self.lins = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        hidden = widths[1:-1]
        self.norms = nn.ModuleList(BatchNorm(w) if norm else nn.Identity() for w in hidden)

    def forward(self, x):
        shape = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        for lin, norm in zip(self.lins, self.norms, strict=False):
            x = self.act(norm(lin(x)))
        return self.lins[-1](x).reshape(*shape, -1)


class PointPatchEmbed(nn.Module):
    def __init__(self, dim, widths=WIDTHS):
        super().__init__()
        *local, last = widths
        self.local_mlp = MLP([3, *local], norm=True)
        self.global_mlp = MLP([2 * local[-1], last, dim], norm=True)

    def forward(self, groups):
        x = self.local_mlp(groups)
        x = torch.cat([x.amax(dim=2, keepdim=True).expand_as(x), x], dim=-1)
        return self.global_mlp(x).amax(dim=2)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for one in self.qkv(x).chunk(3, dim=-1)
        )
        out = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), MLP([dim, 4 * dim, dim], act=nn.functional.gelu)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TransformerEncoder(nn.Module):
    def __init__(self, dim, depth, heads):
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))


def token(dim):
    return nn.Parameter(torch.randn(1, 1, dim))


def before(first, rest):
    return torch.cat([first.expand(len(rest), -1, -1), rest], dim=1)


def pooled(x, prefix=1):
    return torch.cat([x[:, prefix - 1], x[:, prefix:].amax(dim=1)], dim=-1)


class PointMAEClassification(nn.Module):
    def __init__(self, dim=24, depth=2, heads=2, classes=5):
        super().__init__()
        self.encoder = PointPatchEmbed(dim)
        self.cls_token, self.cls_pos = token(dim), token(dim)
        self.pos_embed = MLP([3, 128, dim], act=nn.functional.gelu)
        self.blocks = TransformerEncoder(dim, depth, heads)
        self.norm_f = nn.LayerNorm(dim)
        self.head = MLP([2 * dim, 256, 256, classes], norm=True)

    def forward(self, centers, groups):
        x = before(self.cls_token, self.encoder(groups))
        pos = before(self.cls_pos, self.pos_embed(centers))
        for block in self.blocks.blocks:
            x = block(x + pos)
        return self.head(pooled(self.norm_f(x)))


class MaskTransformer(nn.Module):
    """Of Point-MAE's pre-training; no CLS token."""

    def __init__(self, dim, depth, heads):
        super().__init__()
        self.encoder = PointPatchEmbed(dim)
        self.pos_embed = MLP([3, 128, dim], act=nn.functional.gelu)
        self.blocks = TransformerEncoder(dim, depth, heads)
        self.norm = nn.LayerNorm(dim)


class PointMAEPretraining(nn.Module):
    def __init__(self, dim=24, depth=2, heads=2):
        super().__init__()
        self.MAE_encoder = MaskTransformer(dim, depth, heads)
        self.mask_token = token(dim)
        self.decoder_pos_embed = MLP([3, 128, dim])
        self.MAE_decoder = TransformerEncoder(dim, 1, heads)
        self.MAE_decoder.norm = nn.LayerNorm(dim)
        self.increase_dim = MLP([dim, 96])

    def forward(self, centers, groups, cls_token, cls_pos):
        net = self.MAE_encoder
        x = before(cls_token, net.encoder(groups))
        pos = before(cls_pos, net.pos_embed(centers))
        for block in net.blocks.blocks:
            x = block(x + pos)
        return net.norm(x)


class PointBERTEncoder(nn.Module):
    def __init__(self, dim, depth, heads, encoder_dim=16):
        super().__init__()
        self.encoder = PointPatchEmbed(encoder_dim)
        self.reduce_dim = nn.Linear(encoder_dim, dim)
        self.cls_token, self.cls_pos = token(dim), token(dim)
        self.pos_embed = MLP([3, 128, dim], act=nn.functional.gelu)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, centers, groups):
        x = before(self.cls_token, self.reduce_dim(self.encoder(groups)))
        pos = before(self.cls_pos, self.pos_embed(centers))
        for block in self.blocks:
            x = block(x + pos)
        return self.norm(x)


class PointBERTPretraining(PointBERTEncoder):
    def __init__(self, dim=24, depth=2, heads=2):
        super().__init__(dim, depth, heads)
        self.mask_token = token(dim)
        self.lm_head = nn.Linear(dim, 20)
        self.cls_head = MLP([dim, 10, 10])


class PointBERTClassification(nn.Module):
    def __init__(self, dim=24, depth=2, heads=2, classes=5):
        super().__init__()
        self.encoder = PointBERTEncoder(dim, depth, heads)
        self.head = MLP([2 * dim, 256, classes])

    def forward(self, centers, groups):
        return self.head(pooled(self.encoder(centers, groups)))


class PointGPTBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads)
        self.mlp = MLP([dim, 4 * dim, dim], act=nn.functional.gelu)

    def forward(self, x, mask):
        x = self.ln_1(x).transpose(0, 1)
        x = (x + self.attn(x, x, x, attn_mask=mask, need_weights=False)[0]).transpose(0, 1)
        return x + self.mlp(self.ln_2(x))


class PointGPTExtractor(nn.Module):
    def __init__(self, dim, heads, depth):
        super().__init__()
        self.sos = nn.Parameter(torch.randn(dim))
        self.layers = nn.ModuleList(PointGPTBlock(dim, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(dim)


class PointGPTPretraining(nn.Module):
    def __init__(self, dim=24, depth=2, heads=2):
        super().__init__()
        self.encoder = PointPatchEmbed(dim)
        self.sos_pos = token(dim)
        self.blocks = PointGPTExtractor(dim, heads, depth)
        self.generator_blocks = PointGPTExtractor(dim, heads, 1)
        self.generator_blocks.increase_dim = MLP([dim, 96])
        self.norm = nn.LayerNorm(dim)

    def forward(self, centers, groups, cls_token, cls_pos):
        """Centres and groups in their order; the tokens after the last block."""
        angle = 2 * torch.pi * centers
        pair = torch.stack([angle.sin(), angle.cos()], dim=-1)
        waves = pair.repeat(1, 1, 1, cls_pos.shape[-1] // 6).flatten(2)
        x = before(self.blocks.sos.view(1, 1, -1), before(cls_token, self.encoder(groups)))
        pos = before(cls_pos, before(self.sos_pos, waves))
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        for block in self.blocks.layers:
            x = block(x + pos, mask)
        return self.blocks.ln_f(x)


class PointGPTClassification(PointGPTPretraining):
    def __init__(self, dim=24, depth=2, heads=2, classes=5):
        super().__init__(dim, depth, heads)
        self.cls_token, self.cls_pos = token(dim), token(dim)
        self.cls_norm = nn.LayerNorm(dim)
        self.head = MLP([2 * dim, 256, 256, classes], norm=True)

    def forward(self, centers, groups):
        x = super().forward(centers, groups, self.cls_token, self.cls_pos)
        return self.head(pooled(self.cls_norm(x), prefix=2))
