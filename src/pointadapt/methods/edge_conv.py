"""EdgeConv: what a patch learns of its neighbours on a graph (DGCNN, Wang et al., ToG 2019)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import gather_points, is_exporting


class EdgeConv(nn.Module):
    """max over j of LeakyReLU(BN(W [x_i, x_j - x_i])), of width C_in to C_out."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim_in, dim_out, bias=False)
        self.norm = nn.BatchNorm1d(dim_out)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """(B, G, C_in) features and (B, G, k) neighbours to (B, G, C_out)."""
        # W [x_i, x_j - x_i] = (W_1 - W_2) x_i + W_2 x_j: k times less work than edge by edge.
        w_own, w_edge = self.linear.weight.chunk(2, dim=1)
        own, other = F.linear(x, w_own - w_edge), F.linear(x, w_edge)
        edges = own.unsqueeze(2) + gather_points(other, index)
        edges = self.norm(edges.flatten(0, 2)).view(edges.shape)
        return F.leaky_relu(edges, 0.2).max(dim=2).values


class EdgeConvs(nn.ModuleList):
    """EdgeConvs in a row, of one width to the next.

    Args:
        widths: of the input, and of each EdgeConv's output.
        neighbors: k of the graph, each row itself included; all rows where there are fewer.
    """

    def __init__(self, *widths: int, neighbors: int) -> None:
        super().__init__(EdgeConv(*pair) for pair in pairwise(widths))
        self.neighbors = neighbors

    def forward(self, x: Tensor, places: Tensor | None = None) -> list[Tensor]:
        """The output (B, G, C) of each EdgeConv over ``x``.

        Args:
            x: (B, G, C_in) features.
            places: (B, G, 3) whose nearest are neighbours for all EdgeConvs. Without them each
                finds neighbours anew, among the features that it reads.
        """
        index = None if places is None else nearest(places, self.neighbors)
        outputs = []
        for conv in self:
            x = conv(x, nearest(x, self.neighbors) if index is None else index)
            outputs.append(x)
        return outputs


@torch.no_grad()
def nearest(x: Tensor, k: int) -> Tensor:
    """(B, G, C) to the indices (B, G, k) of each row's nearest rows, itself among them."""
    x = x.float()
    if is_exporting():  # less what is the same for all of a row; no runtime but torch has cdist
        distance = x.square().sum(dim=-1).unsqueeze(1) - 2 * x @ x.transpose(1, 2)
    else:
        distance = torch.cdist(x, x)
    return distance.topk(min(k, x.shape[1]), largest=False).indices
