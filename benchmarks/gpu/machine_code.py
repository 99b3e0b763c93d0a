"""What the Triton kernels become on an H200 (sm_90): needs Triton, but no GPU.

    python benchmarks/gpu/machine_code.py

For each size: registers and spilled bytes a thread, shared memory, and how many fused
multiply-adds (FFMA) and instructions that flush denormals (.ftz in PTX) there are. Both must be
0, or indices would differ from the CPU's; it exits with 1 otherwise. About half a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton  # type: ignore[import-not-found]
from triton.backends.compiler import GPUTarget  # type: ignore[import-not-found]
from triton.compiler import ASTSource  # type: ignore[import-not-found]

from pointadapt.ops import _triton

TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
SAMPLING = {"axes": "*fp32", "picked": "*i64", "plane": "i32", "n": "i32", "start": "i32"}
SEARCH = {
    "queries": "*fp32", "points": "*fp32", "dist2": "*fp32", "index": "*i64",
    "query_plane": "i32", "point_plane": "i32", "m": "i32", "n": "i32",
}  # fmt: skip


def tool(name: str, *arguments: str | Path) -> str:
    run = subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True, check=True)
    return run.stdout + run.stderr


def build(kernel: Any, types: dict[str, str], constants: dict[str, int], warps: int) -> bool:
    """Compile, print a line, and say whether the arithmetic is as written."""
    place = {name: i for i, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        fn=kernel,
        signature={**types, **dict.fromkeys(constants, "constexpr")},
        constexprs={(place[name],): value for name, value in constants.items()},
    )
    options = {"num_warps": warps, "enable_fp_fusion": False}
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder) / "k.ptx", Path(folder) / "k.cubin"
        ptx.write_text(made.asm["ptx"])
        cubin.write_bytes(made.asm["cubin"])
        report = tool("ptxas", "-arch=sm_90a", "-v", "--fmad=false", ptx, "-o", ptx.with_suffix(""))
        code = tool("cuobjdump", "--dump-sass", cubin)
    used = re.findall(r"Used (\d+) registers", report)[0]
    spilled = re.findall(r"(\d+) bytes spill stores", report)[0]
    fused, flushed = len(re.findall("FFMA", code)), made.asm["ptx"].count(".ftz")
    print(
        f"{kernel.__name__} {constants} warps {warps}: {used} registers, {spilled} bytes spilled, "
        f"{made.metadata.shared} bytes shared, {fused} FFMA, {flushed} ftz",
        flush=True,
    )
    return fused == flushed == 0


def main() -> None:
    right = True
    for block, warps in ((1024, 4), (2048, 8), (8192, 32), (16384, 32)):
        resident = block <= _triton.RESIDENT
        constants = {"m": 128, "block": block, "ball": True, "resident": resident}
        right &= build(_triton._fps_kernel, SAMPLING, constants, warps)
    for block, warps in ((1024, 1), (2048, 1), (2048, 2), (8192, 8), (16384, 16)):
        right &= build(_triton._knn_kernel, SEARCH, {"k": 32, "block": block}, warps)
    sys.exit(not right)


if __name__ == "__main__":
    main()
