import pytest
import torch
import torch.nn.functional as F

from pointadapt.core.errors import ConfigError
from pointadapt.methods.edge_conv import nearest


def test_prompt_joins_the_layers_and_takes_their_maximum(one):
    taps = one.taps("idpt", neighbors=2, layers=2)
    x, prompt = one.tokens.patches, taps.prompt
    first = prompt.convs[0](x, nearest(x, 2))
    second = prompt.convs[1](first, nearest(first, 2))
    fused = prompt.norm(prompt.fuse(torch.cat([first, second], dim=-1)).transpose(1, 2))
    expected = F.leaky_relu(fused, 0.2).amax(dim=2)
    torch.testing.assert_close(prompt(x, one.tokens.centers)[:, 0], expected)


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
