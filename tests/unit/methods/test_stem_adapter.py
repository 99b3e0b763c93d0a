import pytest

from pointadapt.methods import make_method

NAMES = {
    "encoder.linear1.weight": "stem",
    "encoder.norm1.weight": "stem",
    "encoder.norm1.bias": "stem",
    "blocks.0.norm1.weight": "norms",
    "norm.weight": "norms",
    "blocks.3.norm2.bias": "biases",
    "blocks.3.mlp.fc1.bias": "biases",
    "pos_embed.0.bias": "biases",
    "cls_token": "train_cls",
    "blocks.0.attn.qkv.weight": None,
    "pos_embed.0.weight": None,
}
PARTS = ("stem", "norms", "biases", "train_cls")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_trains_alone(part):
    method = make_method("stem_adapter", {**dict.fromkeys(PARTS, False), part: True})
    trained = {name for name in NAMES if method.trainable(name)}
    alone = {name for name, of in NAMES.items() if of == part}
    if part == "biases":
        alone.add("encoder.norm1.bias")  # a bias, whose it is
    assert trained == alone


def test_all_of_them_train_and_no_large_matrix_does():
    method = make_method("stem_adapter")
    assert {name for name in NAMES if not method.trainable(name)} == {
        "blocks.0.attn.qkv.weight", "pos_embed.0.weight"
    }  # fmt: skip
