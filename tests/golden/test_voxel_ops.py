"""Equality of curves, convolution and grids with the released code."""

from dataclasses import replace

import pytest
import torch

from modern import arrays, close, close_gradient, needed
from pointadapt.backbones.voxel.inputs import RECIPES, placed
from pointadapt.ops.curves import ORDERS, serialise
from pointadapt.ops.sparse_conv import find_neighbors, submanifold_conv
from pointadapt.ops.voxels import grid_sample

pytestmark = needed


def test_codes_of_all_curves():
    stored = arrays("serialization")
    cube, compared = stored["cube4.grid_coord"], 0
    for key, want in stored.items():
        case, order = key.rsplit(".", 1)
        if order not in ORDERS:
            continue
        grid = stored.get(f"{case}.grid_coord", cube)
        batch = stored.get(f"{case}.batch", torch.zeros(len(grid)))
        depth = int(case.rsplit("depth", 1)[1])
        assert torch.equal(serialise(grid, batch, depth, [order])[0], want), key
        compared += 1
    assert compared == 4 * (2 + 7)


@pytest.mark.parametrize("kernel", [3, 5])
def test_submanifold_convolution(kernel):
    s = {k.split(".")[1]: v for k, v in arrays("subm").items() if k.startswith(f"k{kernel}.")}
    x, weight, bias = (s[k].requires_grad_() for k in ("features", "weight", "bias"))
    near = find_neighbors(s["indices"][:, 1:], s["indices"][:, 0], kernel)
    out = submanifold_conv(x, weight, bias, near)
    close(out.detach(), s["out"], "out")
    i, j = (torch.arange(n).double() for n in out.shape)
    (out * torch.cos(0.37 * i.unsqueeze(1) + 0.91 * j)).sum().backward()
    for name, tensor in (("features", x), ("weight", weight), ("bias", bias)):
        close_gradient(tensor.grad, s[f"grad_{name}"], name)


@pytest.mark.parametrize("which", ["room", "object"])
def test_points_drawn_to_a_grid(which):
    s = arrays("clouds")
    raw = s[f"{which}_raw_coord"]
    low, high = raw.min(dim=0).values, raw.max(dim=0).values
    shifted = raw - torch.stack([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    got = grid_sample(shifted, 0.08)
    theirs, inverse = s[f"concerto_{which}_grid_coord"].long(), s[f"concerto_{which}_inverse"]
    assert torch.equal(got.grid[got.inverse], theirs[inverse.long()])
    assert len(got.grid) == len(theirs)


@pytest.mark.parametrize("kind", ["concerto_room", "concerto_object", "utonia_room"])
def test_clouds_as_the_released_transforms_prepare_them(kind):
    s, which = arrays("clouds"), kind.split("_")[1]
    recipe = replace(RECIPES[kind if kind in RECIPES else "concerto"], grid=1.0)  # of no account
    raw = [s[f"{which}_raw_{part}"] for part in ("coord", "color", "normal")]
    whole = torch.cat([placed(raw[0], recipe), raw[1].float() / 255, raw[2]], dim=1)
    # which point of a voxel the released code keeps is free: the nearest of its points is one
    rows, inverse = s[f"{kind}_feat"], s[f"{kind}_inverse"].long()
    apart = (whole - rows[inverse]).abs().amax(dim=1)
    best = torch.full((len(rows),), torch.inf).scatter_reduce(0, inverse, apart, "amin")
    close(best, torch.zeros_like(best), "features", 3e-6)


def test_an_object_in_the_unit_ball():
    s = arrays("clouds")
    got = placed(s["object_raw_coord"], RECIPES["utonia_object"])
    close(got, s["utonia_object_normalize_coord"], "coordinates", 3e-6)
