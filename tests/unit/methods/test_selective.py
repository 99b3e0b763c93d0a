"""BitFit and norm tuning: which of the backbone's own parameters train."""

import torch

from pointadapt.backbones.point_vit import PointViT
from pointadapt.methods import make_method


def trained(method, **options):
    method = make_method(method, {"train_cls": False, **options})
    with torch.device("meta"):
        net = PointViT(PointViT.sizes["tiny"])
    owners = dict(net.named_modules())
    names = [n for n, _ in net.named_parameters() if method.trainable(n)]
    return names, [type(owners[n.rpartition(".")[0]]).__name__ for n in names]


def test_bitfit_trains_every_bias_and_nothing_else():
    names, kinds = trained("bitfit")
    assert {n.rpartition(".")[2] for n in names} == {"bias"}
    assert set(kinds) == {"Linear", "LayerNorm", "BatchNorm1d"}
    assert len(names) == 6 * 5 + 1 + 6 + 2  # blocks (qkv has none), last norm, encoder, position


def test_norm_trains_every_layer_norm_and_on_request_batchnorm():
    names, kinds = trained("norm")
    assert set(kinds) == {"LayerNorm"}
    assert len(names) == 2 * (2 * 6 + 1)
    names, kinds = trained("norm", batchnorm_affine=True)
    assert set(kinds) == {"LayerNorm", "BatchNorm1d"}
    assert len(names) == 2 * (2 * 6 + 1 + 2)
