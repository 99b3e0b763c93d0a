"""The backbone that ships inside the package."""

import torch

from pointadapt.backbones.point_vit import PointViT
from pointadapt.core.fields import BUNDLED
from pointadapt.core.files import read_json
from pointadapt.core.tensors import read_safetensors
from pointadapt.pretrained.load import find_backbone, load_backbone


def test_bundled_backbones_are_whole_small_and_described():
    for name in BUNDLED:
        folder = find_backbone(name)
        size = sum(p.stat().st_size for p in folder.iterdir())
        assert size < 12e6
        card = (folder / "README.md").read_text(encoding="utf-8")
        for word in ("pointadapt pretrain", "seed", "Apache-2.0", load_backbone(name).fingerprint):
            assert word in card, word


def test_tiny_is_of_its_size_and_works():
    net = load_backbone("tiny").eval()
    assert net.config == PointViT.sizes["tiny"]
    stored = read_safetensors(find_backbone("tiny") / "model.safetensors")
    assert set(stored) >= {k for k in net.state_dict() if k not in net.optional}
    assert all(value.isfinite().all() for value in stored.values())
    with torch.no_grad():
        tokens = net(torch.rand(2, 1024, 3) * 2 - 1)
    assert tokens.x.shape == (2, 65, 192)
    assert tokens.x.isfinite().all()
    # trained weights, and the statistics of BatchNorm that go with them
    assert stored["encoder.norm1.num_batches_tracked"] > 1000


def test_tiny_config_says_all_that_its_tensors_do_not():
    values = read_json(find_backbone("tiny") / "config.json")
    assert values["family"] == "point_vit"
    assert {"heads", "groups", "group_size", "sampling_rule"} <= set(values)
