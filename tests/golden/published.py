"""Names and shapes of the official files of each family, as their public code makes them.

Written from the modules of the released code, not from our renaming, which they test. Tensors of
heads, decoders and teachers are here as far as a file of the family has them, with one or a few
tensors for a whole teacher.
"""

import torch

Shapes = dict[str, tuple[int, ...]]


def under(prefix, shapes):
    return {prefix + key: shape for key, shape in shapes.items()}


def linear(name, into, out, bias=True, conv=False):
    shapes = {f"{name}.weight": (out, into, 1) if conv else (out, into)}
    return shapes | ({f"{name}.bias": (out,)} if bias else {})


def norm(name, dim):
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def batchnorm(name, dim):
    moving = {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,)}
    return norm(name, dim) | moving | {f"{name}.num_batches_tracked": ()}


def encoder(dim, widths):
    """``first_conv`` and ``second_conv`` of the patch encoder; four widths are the deep one."""
    *first, last = widths
    shapes, into = {}, 3
    for i, out in enumerate(first):
        shapes |= linear(f"encoder.first_conv.{3 * i}", into, out, conv=True)
        if i + 1 < len(first):
            shapes |= batchnorm(f"encoder.first_conv.{3 * i + 1}", out)
        into = out
    shapes |= linear("encoder.second_conv.0", 2 * into, last, conv=True)
    shapes |= batchnorm("encoder.second_conv.1", last)
    return shapes | linear("encoder.second_conv.3", last, dim, conv=True)


def attention(name, dim):
    return linear(f"{name}.qkv", dim, 3 * dim, bias=False) | linear(f"{name}.proj", dim, dim)


def mlp(name, dim):
    return linear(f"{name}.fc1", dim, 4 * dim) | linear(f"{name}.fc2", 4 * dim, dim)


def block(name, dim):
    shapes = norm(f"{name}.norm1", dim) | norm(f"{name}.norm2", dim)
    return shapes | mlp(f"{name}.mlp", dim) | attention(f"{name}.attn", dim)


def tokens(dim, *names):
    return {name: (1, 1, dim) for name in names}


def vit(dim, depth, widths, encoder_dim=0, sine=False, cls=True):
    shapes = encoder(encoder_dim or dim, widths)
    if encoder_dim:
        shapes |= linear("reduce_dim", encoder_dim, dim)
    inputs, hidden = (dim, dim) if sine else (3, 128)
    shapes |= linear("pos_embed.0", inputs, hidden) | linear("pos_embed.2", hidden, dim)
    for i in range(depth):
        shapes |= block(f"blocks.blocks.{i}", dim)
    return shapes | norm("norm", dim) | (tokens(dim, "cls_token", "cls_pos") if cls else {})


def head(dim, inputs, classes, name="cls_head_finetune"):
    shapes = linear(f"{name}.0", dim * inputs, 256) | batchnorm(f"{name}.1", 256)
    shapes |= linear(f"{name}.4", 256, 256) | batchnorm(f"{name}.5", 256)
    return shapes | linear(f"{name}.8", 256, classes)


def plain_head(dim, classes, name="cls_head_finetune"):
    """Of Point-BERT, and of MaskPoint where its configuration says "1x"."""
    return linear(f"{name}.0", 2 * dim, 256) | linear(f"{name}.3", 256, classes)


def wide_head(dim, classes, name="cls_head_finetune"):
    """Of MaskPoint where its configuration says "2x": on ScanObjectNN."""
    shapes = linear(f"{name}.0", 2 * dim, 512) | batchnorm(f"{name}.1", 512)
    shapes |= linear(f"{name}.4", 512, 256) | batchnorm(f"{name}.5", 256)
    return shapes | linear(f"{name}.8", 256, classes)


def linear_head(dim, inputs, classes, name="cls_head_finetune"):
    """Of ACT (transfer_type), PCP-MAE and ReCon (type) where it is "linear"."""
    return linear(f"{name}.0", dim * inputs, classes)


def point_bert(dim=384, depth=12, widths=(128, 256, 512), encoder_dim=256):
    net = vit(dim, depth, widths, encoder_dim) | tokens(dim, "mask_token")
    net |= linear("lm_head", dim, 8192) | linear("cls_head.0", dim, 512)
    net |= linear("cls_head.2", 512, 512)
    rest = {"queue": (512, 16384), "queue_ptr": (1,), "dvae.codebook": (8192, 256)}
    rest |= under("dvae.", encoder(256, (128, 256, 512)))
    return under("transformer_q.", net) | under("transformer_k.", net) | rest


def maskpoint(dim=384, depth=12, widths=(128, 256, 512), encoder_dim=256):
    net = vit(dim, depth, widths, encoder_dim) | tokens(dim, "mask_token")
    net |= linear("cls_head.0", dim, 512) | linear("cls_head.2", 512, 512)
    net |= linear("bin_cls_head.0", dim, 64) | linear("bin_cls_head.2", 64, 2)
    for name in ("q_proj", "k_proj", "v_proj"):
        net |= linear(f"decoder.blocks.0.attn.{name}", dim, dim, bias=False)
    net |= linear("decoder.blocks.0.attn.proj", dim, dim) | mlp("decoder.blocks.0.mlp", dim)
    net |= norm("decoder.blocks.0.norm1", dim) | norm("decoder.blocks.0.norm2", dim)
    rest = {"queue": (512, 16384), "queue_ptr": (1,)}
    return under("transformer_q.", net) | under("transformer_k.", net) | rest


def act(dim=384, depth=12, widths=(128, 256, 512)):
    net = vit(dim, depth, widths) | linear("lm_head", dim, 8192)
    net |= linear("cls_head.0", dim, 512) | linear("cls_head.2", 512, 512)
    rest = tokens(dim, "mask_token") | linear("proj_head", dim, 384)
    rest |= linear("decoder_pos_embed.0", 3, 128) | linear("decoder_pos_embed.2", 128, dim)
    for i in range(2):
        rest |= block(f"ACT_decoder.blocks.{i}", dim)
    rest |= under("dvae_tokenizer.", encoder(384, (128, 256, 512)))
    return under("ACT_encoder.", net) | rest | norm("ACT_decoder.norm", dim)


def pcp_mae(dim=384, depth=12, widths=(128, 256, 512)):
    net = vit(dim, depth, widths, sine=True, cls=False) | tokens(dim, "mask_pos_token")
    rest = tokens(dim, "mask_token") | linear("increase_dim.0", dim, 96, conv=True)
    rest |= linear("pred_pos_proj.0", dim, dim) | norm("pred_pos_proj.1", dim)
    rest |= linear("pred_pos_proj.3", dim, dim)
    for i in range(4):
        rest |= block(f"MAE_decoder.blocks.{i}", dim)
    return under("MAE_encoder.", net) | rest | norm("MAE_decoder.norm", dim)


def recon_net(dim, depth, widths):
    """The network that pre-training and fine-tuning share."""
    shapes = vit(dim, depth, widths) | tokens(dim, "img_token", "img_pos", "text_token", "text_pos")
    for i in range(depth):
        name = f"blocks.blocks.{i}"
        shapes |= norm(f"{name}.norm1_contrast", dim) | norm(f"{name}.norm2_contrast", dim)
        shapes |= mlp(f"{name}.mlp_contrast", dim)
        shapes |= linear(f"{name}.attn_contrast.q", dim, dim, bias=False)
        shapes |= linear(f"{name}.attn_contrast.kv", dim, 2 * dim, bias=False)
        shapes |= linear(f"{name}.attn_contrast.proj", dim, dim)
    return shapes


def recon(dim=384, depth=12, widths=(128, 256, 512)):
    rest = tokens(dim, "mask_token") | linear("increase_dim.0", dim, 96, conv=True)
    rest |= linear("decoder_pos_embed.0", 3, 128) | linear("decoder_pos_embed.2", 128, dim)
    rest |= linear("img_proj", dim, 768) | linear("text_proj", dim, 512)
    for i in range(4):
        rest |= block(f"MAE_decoder.blocks.{i}", dim)
    return (
        under("MAE_encoder.", recon_net(dim, depth, widths)) | rest | norm("MAE_decoder.norm", dim)
    )


def recon_tuned(dim=384, depth=12, widths=(128, 256, 512), classes=15):
    return recon_net(dim, depth, widths) | head(dim, 4, classes)


def gpt_layers(name, dim, depth):
    shapes = {}
    for i in range(depth):
        one = f"{name}.layers.{i}"
        shapes |= norm(f"{one}.ln_1", dim) | norm(f"{one}.ln_2", dim)
        shapes |= {
            f"{one}.attn.in_proj_weight": (3 * dim, dim),
            f"{one}.attn.in_proj_bias": (3 * dim,),
        }
        shapes |= linear(f"{one}.attn.out_proj", dim, dim)
        shapes |= linear(f"{one}.mlp.0", dim, 4 * dim) | linear(f"{one}.mlp.2", 4 * dim, dim)
    shapes |= {f"{name}.sos": (dim,)} | norm(f"{name}.ln_f", dim)
    return shapes | linear(f"{name}.increase_dim.0", dim, 96, conv=True)


def pointgpt_net(dim, depth, widths):
    shapes = encoder(dim, widths) | gpt_layers("blocks", dim, depth)
    shapes |= gpt_layers("generator_blocks", dim, 4) | norm("norm", dim)
    return shapes | tokens(dim, "sos_pos")


def pointgpt(dim=384, depth=12, widths=(128, 256, 512)):
    return under("GPT_Transformer.", pointgpt_net(dim, depth, widths))


def pointgpt_tuned(dim=384, depth=12, widths=(128, 256, 512), classes=15):
    shapes = pointgpt_net(dim, depth, widths) | tokens(dim, "cls_token", "cls_pos")
    shapes |= norm("blocks.cls_norm", dim)
    return shapes | head(dim, 2, classes, "blocks.cls_head_finetune")


UNI3D = {  # width, depth, form, hidden width, positions of the image model, its classes, parameters
    "ti": (192, 12, "packed", 512, 257, 0, 6_384_449),
    "s": (384, 12, "packed", 1024, 257, 0, 22_823_681),
    "b": (768, 12, "split", 2048, 1025, 1000, 88_960_617),
    "l": (1024, 24, "split", 2730, 1025, 1000, 307_350_313),
    "g": (1408, 40, "plain", 6144, 1601, 1000, 1_017_358_057),
}  # fmt: skip


def uni3d(size):
    """As Uni3D's public code makes it of timm's EVA models."""
    dim, depth, form, hidden, positions, classes, _ = UNI3D[size]
    net = encoder(512, (128, 256, 512)) | {"encoder.first_conv.0.weight": (128, 6, 1)}
    net |= linear("encoder2trans", 512, dim) | linear("trans2embed", dim, 1024)
    net |= linear("pos_embed.0", 3, 128) | linear("pos_embed.2", 128, dim)
    net |= tokens(dim, "cls_token", "cls_pos", "visual.cls_token")
    net |= {"visual.pos_embed": (1, positions, dim), "visual.patch_embed.proj.bias": (dim,),
            "visual.patch_embed.proj.weight": (dim, 3, 14, 14)}  # fmt: skip
    for i in range(depth):
        net |= eva_block(f"visual.blocks.{i}", dim, hidden, form)
    net |= norm("visual.fc_norm", dim) | (linear("visual.head", dim, classes) if classes else {})
    return {"logit_scale": ()} | under("point_encoder.", net)


def eva_block(name, dim, hidden, form):
    shapes = norm(f"{name}.norm1", dim) | norm(f"{name}.norm2", dim)
    shapes |= linear(f"{name}.attn.proj", dim, dim) | linear(f"{name}.mlp.fc2", hidden, dim)
    if form == "split":
        for one in "qkv":
            shapes |= linear(f"{name}.attn.{one}_proj", dim, dim, bias=one != "k")
        shapes |= linear(f"{name}.mlp.fc1_g", dim, hidden) | norm(f"{name}.mlp.norm", hidden)
        return shapes | linear(f"{name}.mlp.fc1_x", dim, hidden)
    shapes |= {f"{name}.attn.{one}_bias": (dim,) for one in "qv"}
    shapes |= {f"{name}.attn.qkv.weight": (3 * dim, dim)}
    return shapes | linear(f"{name}.mlp.fc1", dim, hidden * (2 if form == "packed" else 1))


FILES = {
    "point_bert": point_bert, "maskpoint": maskpoint, "act": act, "pcp_mae": pcp_mae,
    "recon": recon, "pointgpt": pointgpt,
}  # fmt: skip


def parameters(shapes):
    """How many values are parameters: all but BatchNorm's moving ones and queues."""
    moving = ("running_mean", "running_var", "num_batches_tracked", "queue", "queue_ptr")
    sizes = [torch.Size(s).numel() for k, s in shapes.items() if not k.endswith(moving)]
    return sum(sizes)


def look_alike(shapes, used):
    """Tensors of these shapes: random where ``used(key)``, else one value that fills no memory."""
    torch.manual_seed(0)
    out = {}
    for i, (key, shape) in enumerate(shapes.items()):
        if key.endswith(("num_batches_tracked", "queue_ptr")):
            out[key] = torch.full(shape, i)
        elif used(key):
            out[key] = torch.randn(shape).mul_(0.05)
            if key.endswith("running_var") or ("norm" in key and key.endswith("weight")):
                out[key].add_(1)
        else:
            out[key] = torch.tensor(float(i)).expand(shape)
    return out
