"""Patches along a curve."""

import torch

from pointadapt.backbones.voxel.patches import cut, positions


def test_the_last_patch_is_filled_up_by_those_before():
    assert positions(7, 3).tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 5]
    assert positions(6, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert positions(3, 3).tolist() == [0, 1, 2]


def test_small_clouds_are_one_patch_and_every_row_is_found_again():
    order = torch.tensor([2, 0, 1, 4, 3, 9, 5, 6, 8, 7])  # clouds of 3, 2 and 5
    got = cut(order, [3, 2, 5], 3)
    assert [rows.tolist() for rows in got.rows] == [
        [[2, 0, 1], [9, 5, 6], [8, 7, 6]],
        [[4, 3]],
    ]
    flat = torch.cat([rows.flatten() for rows in got.rows])
    assert flat[got.place].tolist() == list(range(10))


def test_patches_as_small_as_the_smallest_cloud():
    got = cut(torch.arange(5), [2, 3], 4, smallest=True)
    assert [rows.tolist() for rows in got.rows] == [[[0, 1], [2, 3], [4, 3]]]
