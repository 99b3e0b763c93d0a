"""Published files told apart, and their backbones alone."""

import pytest
import torch

from pointadapt.core.errors import CheckpointError
from pointadapt.pretrained.convert import convert_backbone, kind_of


def test_kinds():
    assert kind_of(["MAE_encoder.norm.weight"]) == "pretrained"
    assert kind_of(["blocks.blocks.0.norm1.weight"]) == "pretrained"
    assert kind_of(["blocks.blocks.0.Adapter_MLP.scale.bias"]) == "dapt"
    assert kind_of(["cls_head_finetune.0.weight", "blocks.blocks.0.a"]) == "full"
    assert kind_of(["blocks.cls_head_finetune.0.weight"]) == "full"


GIANTS = {
    # a vector of 4 MB that says the network is 10^6 wide, and a block that says it is deep
    "wide": {"blocks.blocks.0.norm1.weight": torch.ones(10**6)},
    "deep": {"blocks.blocks.999999.norm1.weight": torch.ones(8),
             "blocks.blocks.0.norm1.weight": torch.ones(8)},
    "expanded": {"blocks.blocks.0.norm1.weight": torch.ones(1).expand(10**9)},
}  # fmt: skip


@pytest.mark.parametrize("name", list(GIANTS))
def test_a_small_file_makes_no_giant(name, tmp_path):
    sides = {f"encoder.{part}.weight": torch.ones(8, 3, 1)
             for part in ("first_conv.0", "first_conv.3", "second_conv.0")}  # fmt: skip
    torch.save({f"MAE_encoder.{k}": v for k, v in (GIANTS[name] | sides).items()},
               tmp_path / "p.pth")  # fmt: skip
    with pytest.raises(CheckpointError, match="a far larger network") as caught:
        convert_backbone(tmp_path / "p.pth", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["blocks.blocks.0.norm1.weight", "pos_embed.0.weight"])
def test_tensors_without_the_axes_that_sizes_are_read_from(key, tmp_path):
    sides = {"blocks.blocks.0.norm1.weight": torch.ones(8), key: torch.tensor(1.0)}
    torch.save({f"MAE_encoder.{k}": v for k, v in sides.items()}, tmp_path / "p.pth")
    with pytest.raises(CheckpointError):
        convert_backbone(tmp_path / "p.pth", tmp_path / "out")


def test_a_fine_tuned_model_is_no_backbone(tmp_path):
    names = ("cls_head_finetune.0.weight", "blocks.blocks.0.norm1.weight")
    names += tuple(f"encoder.{p}.weight" for p in ("first_conv.0", "first_conv.3", "second_conv.0"))
    torch.save({name: torch.ones(8, 8) for name in names}, tmp_path / "p.pth")
    with pytest.raises(CheckpointError, match=r"fine-tuned model.*pointadapt convert"):
        convert_backbone(tmp_path / "p.pth", tmp_path / "out")
