import pytest
import torch


@pytest.mark.parametrize("hidden", [0, 4])
def test_attention_sees_the_prefix(one, hidden):
    whole = one.taps("prefix", tokens=3, hidden=hidden)
    taps, attention = whole.blocks[0], one.block.attn
    if hidden:
        inner = torch.tanh(whole.trunk.linear(whole.trunk.prefix))
        keys, values = taps.linear(inner).chunk(2, dim=-1)
    else:
        keys, values = taps.keys_values
    x = torch.randn(2, 6, 12)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    heads = []
    for h in (slice(0, 6), slice(6, 12)):
        k_all = torch.cat([keys[:, h].expand(2, -1, -1), k[..., h]], dim=1)
        v_all = torch.cat([values[:, h].expand(2, -1, -1), v[..., h]], dim=1)
        heads.append((q[..., h] @ k_all.transpose(1, 2) / 6**0.5).softmax(-1) @ v_all)
    want = attention.proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x, taps), want)


def test_no_token_is_added(one):
    assert one.run(one.taps("prefix").blocks[0]).shape == one.tokens.x.shape


def test_the_mlp_that_blocks_share_is_stored_once(one):
    keys = [k for k in one.taps("prefix", hidden=4).state_dict() if "trunk" in k]
    assert keys == ["trunk.prefix", "trunk.linear.weight", "trunk.linear.bias"]
