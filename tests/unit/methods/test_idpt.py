import pytest
import torch
import torch.nn.functional as F

from pointadapt.core.errors import ConfigError
from pointadapt.methods import make_method
from pointadapt.methods.idpt import EdgeConv, PromptModule


def test_edge_conv_is_the_formula(one):
    torch.manual_seed(1)
    conv = EdgeConv(12)
    torch.nn.init.uniform_(conv.norm.running_mean, -1, 1)
    conv.eval()
    x, index = torch.randn(2, 5, 12), torch.randint(5, (2, 5, 3))
    out = conv(x, index)
    for b in range(2):
        for i in range(5):
            edges = [torch.cat([x[b, i], x[b, j] - x[b, i]]) for j in index[b, i]]
            h = F.leaky_relu(conv.norm(conv.linear(torch.stack(edges))), 0.2)
            torch.testing.assert_close(out[b, i], h.amax(dim=0))


def test_prompt_joins_the_layers_and_takes_their_maximum(one):
    taps = one.taps("idpt", neighbors=2, layers=2)
    x, prompt = one.tokens.patches, taps.prompt
    first = prompt.convs[0](x, prompt.nearest(x))
    second = prompt.convs[1](first, prompt.nearest(first))
    fused = prompt.norm(prompt.fuse(torch.cat([first, second], dim=-1)).transpose(1, 2))
    expected = F.leaky_relu(fused, 0.2).amax(dim=2)
    torch.testing.assert_close(prompt(x, one.tokens.centers)[:, 0], expected)


def test_nearest_include_the_patch_itself(one):
    module = PromptModule(make_method("idpt", {"neighbors": 2}), 4)
    x = torch.tensor([[[0.0], [1.0], [1.5], [9.0]]])
    assert [sorted(row) for row in module.nearest(x)[0].tolist()] == [
        [0, 1],
        [1, 2],
        [1, 2],
        [2, 3],
    ]
    module.k = 20
    assert module.nearest(x).shape == (1, 4, 4)


def test_graph_of_centers_does_not_see_features(one):
    torch.manual_seed(0)
    tokens, centers = one.tokens.patches, torch.randn(2, 5, 3)
    by_centers = one.taps("idpt", neighbors=2, graph="centers").prompt
    by_features = one.taps("idpt", neighbors=2).prompt
    by_features.load_state_dict(by_centers.state_dict())
    other = torch.randn(2, 5, 3)
    assert not torch.equal(by_centers(tokens, centers), by_centers(tokens, other))
    assert torch.equal(by_features(tokens, centers), by_features(tokens, other))


@pytest.mark.parametrize("before", [1, 2])
def test_prompt_enters_before_its_block(one, before):
    taps = one.taps("idpt", before=before)
    start = taps.tokens_in(one.tokens, None)
    first, second = taps.blocks
    middle = first.block_out(start, None)
    assert (start.prompts, middle.prompts) == ((0, 1) if before == 1 else (1, 1))
    assert second.block_out(middle, None).prompts == 1
    source = one.tokens if before == 2 else start
    expected = taps.prompt(source.patches, source.centers)
    assert torch.equal(middle.x[:, 1:2], expected)


def test_must_have_that_many_blocks(one):
    with pytest.raises(ConfigError, match=r"before=3 counts blocks from the end, but .* has 2"):
        one.taps("idpt", before=3)
