"""Seeds, memory and the machine."""

import json

import pytest
import torch

from pointadapt.core.errors import ConfigError
from pointadapt.core.machine import (
    derive_seed,
    describe_machine,
    keep_large_blocks,
    make_accelerator,
    peak_memory,
)


def test_seeds_differ_where_any_part_does():
    parts = [(a, b, c) for a in range(6) for b in range(6) for c in range(6)]
    parts += [(a, b) for a in range(6) for b in range(6)] + [(a,) for a in range(6)] + [()]
    seeds = {derive_seed(*p) for p in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= s < 2**32 for s in seeds)
    assert derive_seed(1, 2) == derive_seed(1, 2)


def test_peak_memory_covers_what_was_held():
    block = torch.ones(40_000_000)  # four bytes each
    after = peak_memory()
    assert 160e6 < after < 1e12 or torch.cuda.is_available()
    del block
    assert peak_memory() > after - 5e6  # Linux counts in batches of pages


def test_machine_is_plain_values():
    machine = describe_machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["torch"] == torch.__version__
    assert machine["cpu"]
    assert machine["cores"] >= 1


def test_allocator_setting_is_harmless_twice():
    assert keep_large_blocks() == keep_large_blocks()
    assert torch.ones(10_000_000).sum() == 1e7


def test_the_allocator_is_left_alone_where_the_user_set_it(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    assert keep_large_blocks() is False


def test_accelerators_of_several_precisions():
    for precision, mixed in (("bf16", "bf16"), ("fp32", "no"), ("bf16", "bf16")):
        engine = make_accelerator(precision, accumulate=3)
        assert engine.mixed_precision == mixed
        assert engine.gradient_accumulation_steps == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a GPU")
def test_fp16_on_a_cpu_is_not_silently_something_else():
    with pytest.raises(ConfigError, match="use bf16 or fp32"):
        make_accelerator("fp16")
    assert make_accelerator("fp32").mixed_precision == "no"
