"""Fixtures that several test files share: a backbone and data small enough for any machine."""

import runpy
import signal
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pointadapt.core import progress_lines, stops

TOY = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "data/toy/make.py")))
MICRO = {
    "dim": 24, "depth": 2, "heads": 2, "groups": 8, "group_size": 8,
    "encoder_widths": (8, 16, 16), "sampling_rule": "plain",
}  # fmt: skip


STAGES = {
    "depths": (1, 2), "channels": (12, 24), "heads": (2, 3), "patch_sizes": (16, 16),
    "decoder_depths": (1,), "decoder_channels": (18,), "decoder_heads": (2,),
    "decoder_patch_sizes": (16,),
}  # fmt: skip


@pytest.fixture(scope="session")
def micro_backbone(tmp_path_factory) -> Path:
    """A backbone folder with random weights: 24 wide, 2 blocks, 8 patches of 8 points."""
    import torch

    from pointadapt.backbones.folder import save_backbone
    from pointadapt.backbones.point_vit import PointViT, PointViTConfig

    config = PointViTConfig(
        dim=24, depth=2, heads=2, groups=8, group_size=8, encoder_widths=(8, 16, 16),
        sampling_rule="plain",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = PointViT(config).seal()
    return save_backbone(net, tmp_path_factory.mktemp("micro") / "backbone")


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch):
    """A machine that is busy does not make a quick command say how far it is."""
    monkeypatch.setattr(progress_lines, "FIRST", 3600.0)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    """The forest that stands beside each result took most of the time of a toy's training."""
    from pointadapt.inference import forest, point_forest

    monkeypatch.setattr(forest, "TREES", 10)
    monkeypatch.setattr(point_forest, "TREES", 10)


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory) -> Path:
    """A data set for ``folder``: four classes, 40 training and 16 test clouds of 64 points."""
    return TOY.make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_batch():
    """32 clouds (32, 64, 3) of four classes, normalised, and their labels."""
    return toy_clouds(8)


@pytest.fixture(scope="session")
def toy_batch_64():
    """64 such clouds."""
    return toy_clouds(16)


def toy_clouds(each):
    import torch

    from pointadapt.ops import normalize

    points, labels = TOY.clouds(each)
    return normalize(torch.from_numpy(points)), torch.from_numpy(labels)


@pytest.fixture(scope="session")
def bare_backbone(tmp_path_factory):
    """Family -> a micro backbone's folder without what pre-training lacks (a CLS token).

    Its running statistics are not those of a new BatchNorm, so that losing them shows.
    """
    import torch

    from pointadapt.backbones import BACKBONES
    from pointadapt.backbones.folder import save_backbone

    made = {}

    def make(family):
        if family not in made:
            cls = BACKBONES[family]
            known = {f.name for f in fields(cls.config_class)}
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(11)
                small = {k: v for k, v in MICRO.items() if k in known}
                if "network" in known:  # a network of stages
                    stages = replace(cls.config_class().network, **STAGES)
                    small = {"network": stages, "grid": 0.25}
                net = cls(cls.config_class(**small))
                for name, buffer in net.named_buffers():
                    if name.endswith("running_mean"):
                        buffer.normal_(0, 0.1)
                    elif name.endswith("running_var"):
                        buffer.uniform_(0.5, 1.5)
            net.seal(k for k in net.state_dict() if k not in net.optional)
            made[family] = save_backbone(net, tmp_path_factory.mktemp(family) / "backbone")
        return made[family]

    return make


@pytest.fixture(scope="session")
def micro_flags(micro_backbone) -> list[str]:
    """Flags of ``pointadapt train`` for a training of about a second on made-up shapes."""
    return [
        "--backbone", str(micro_backbone), "--points", "64", "--data", "shapes",
        "--data-options", "size=64", "test_size=32", "--epochs", "1", "--batch-size", "16",
        "--no-tensorboard",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def micro_adapter(micro_flags, tmp_path_factory) -> Path:
    """A DAPT adapter on ``micro_backbone``, trained by the command line."""
    from pointadapt.cli.main import main

    out = tmp_path_factory.mktemp("run") / "run"
    flags = ["--method", "dapt", "--options", "rank=4", "--no-summary"]
    assert main(["train", "--out", str(out), *micro_flags, *flags]) == 0
    return out / "adapter"


@pytest.fixture
def own_files(tmp_path) -> Path:
    """A folder of two classes, four files each, in four formats; no test folder."""
    import numpy as np

    from pointadapt.io import write_points

    rng = np.random.default_rng(0)
    for name, height in (("flat", 0.05), ("tall", 3.0)):
        for k, ending in enumerate((".ply", ".xyz", ".npy", ".pcd")):
            cloud = rng.uniform(-1, 1, (80, 3)) * [1, 1, height]
            write_points(tmp_path / "own" / name / f"{k}{ending}", cloud.astype(np.float32))
    return tmp_path / "own"


@pytest.fixture
def sigterm():
    """SIGTERM stops the test's process as it stops a command; afterwards all is as before."""
    if sys.platform == "win32":
        pytest.skip("no process gets SIGTERM on this system")
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    stops.install()
    yield
    stops.forget()
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _no_given_width(monkeypatch):
    """pytest-xdist tells its workers of 80 columns; what we print into pipes has no width."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def ray_cluster():
    """The address of a Ray cluster of one node with two cores on this machine."""
    pytest.importorskip("ray", reason="needs ray: pip install 'pointadapt[ray]'")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 << 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # a busy machine lets niceness 15 starve
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        before = signal.getsignal(signal.SIGTERM)
        cluster = Cluster(initialize_head=True, head_node_args=head)
        signal.signal(signal.SIGTERM, before)  # Ray's would end this process
        yield cluster.address
        cluster.shutdown()


@pytest.fixture(scope="session")
def refused():
    """A context in which nothing asks for a value or looks for one, as in a capture."""
    from torch.utils._python_dispatch import TorchDispatchMode

    asks = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    class Refused(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            if name in asks:
                raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
            return func(*args, **(kwargs or {}))

    return Refused
