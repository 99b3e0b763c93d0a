"""Time encoders of the Point Transformer V3 family with random weights on a made-up room.

    python benchmarks/modern.py [--sizes concerto_tiny concerto_base] [--precisions fp32 bf16]
                                [--voxels 16000] [--threads 1] [--train] [--device cuda]

A room of about ``--voxels`` voxels: floor, four walls and boxes. Timed is all that a new cloud
needs: curves, neighbours, patches and the network. ``--train`` times a step of LoRA, too. On a
machine whose processor does not compute in bfloat16, that is imitated and slower than float32.
"processor ms" is the least processor time of a run: with ``--threads 1``, what an idle core takes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from _measure import TOY, in_turns, parser, processor_ms, report, start
from pointadapt.backbones.voxel.levels import Voxels
from pointadapt.backbones.voxel.network import PTv3
from pointadapt.backbones.voxel.sizes import SIZES
from pointadapt.methods import make_method
from pointadapt.methods.staged import attach_by_stage, select_trainable
from pointadapt.ops.voxels import grid_sample


def sheet(u: int, v: int, at: float) -> Tensor:
    """Points of the unit square on axes u and v, the third coordinate ``at``."""
    points = torch.full((150_000, 3), float(at))
    points[:, [u, v]] = torch.rand(150_000, 2)
    return points


def room(voxels: int) -> Voxels:
    """A room of about that many voxels."""
    torch.manual_seed(0)
    walls = [sheet(0, 1, 0), *(sheet(a, 2, at) for a, at in ((0, 0), (0, 1), (1, 0), (1, 1)))]
    size = torch.tensor([6.0, 5.0, 2.8])
    points = torch.cat([wall * size for wall in walls])
    boxes = [sheet(0, 1, 1) * torch.tensor([1.2, 0.8, 0.7]) + torch.rand(3) * 3 for _ in range(4)]
    points = torch.cat([points, *boxes])
    surface = 30 + 2 * 2.8 * 11 + 4  # square metres
    drawn = grid_sample(points, (surface / voxels) ** 0.5)
    coord = points[drawn.rows]
    features = torch.cat([coord, torch.rand(len(coord), 6)], dim=1)
    return Voxels(drawn.grid, coord, features, torch.zeros(len(coord), dtype=torch.long))


def forward(net: PTv3, voxels: Voxels, half: bool) -> Callable[[], object]:
    device = voxels.coord.device.type

    def call() -> object:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=half):
            return net(voxels)

    return call


def lora_step(net: PTv3, voxels: Voxels, half: bool) -> Callable[[], object]:
    method = make_method("lora", {"rank": 8})
    device = voxels.coord.device
    taps = attach_by_stage(method, net).to(device)
    select_trainable(method, net)

    def call() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = net(voxels, taps).upcast().square().mean()
        loss.backward()
        return loss

    return call


def main() -> None:
    own = parser(__doc__, seconds=20)
    own.add_argument("--sizes", nargs="+", default=["concerto_tiny", "concerto_base"])
    own.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    own.add_argument("--voxels", type=int, default=16_000)
    own.add_argument("--train", action="store_true")
    args = own.parse_args()
    start(args)
    voxels = room(300 if TOY else args.voxels)
    voxels = Voxels(*(t.to(args.device) for t in (
        voxels.grid, voxels.coord, voxels.features, voxels.batch)))  # fmt: skip
    rows = []
    for size in args.sizes:
        torch.manual_seed(0)
        net = PTv3(SIZES[size]).eval().to(args.device)
        kinds = {"forward": forward, **({"LoRA step": lora_step} if args.train else {})}
        calls = {
            (what, precision): make(net, voxels, precision == "bf16")
            for what, make in kinds.items() for precision in args.precisions
        }  # fmt: skip
        named = {f"{what}, {precision}": call for (what, precision), call in calls.items()}
        for name, timing in in_turns(named, args.seconds, device=args.device).items():
            rows.append({
                "network": size, "what": name, "voxels": len(voxels.grid),
                "voxels_per_second": round(len(voxels.grid) / timing.median), **timing.columns(),
                "processor_ms": min(processor_ms(named[name], 1 if TOY else 3)),
            })  # fmt: skip
    report("modern_{}", "Point Transformer V3 family, random weights", rows, args)


if __name__ == "__main__":
    main()
