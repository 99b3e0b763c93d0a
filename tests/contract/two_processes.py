"""Training steps of every method, shared out over two processes and not.

    torchrun --nproc_per_node=2 two_processes.py BACKBONE BATCH OUT METHOD...

Started by test_runs.py, once for all methods. ``OUT/rank0.pt`` and ``OUT/rank1.pt`` then hold for
each method and each mode the adapter's tensors before and after the steps, or the error.

Modes: "frozen" puts every BatchNorm into evaluation mode, so that no cloud depends on its batch,
and the reference is one process with the whole batch. "batch" leaves BatchNorm as training has it.
It is not synced, so the reference is the mean of the gradients of the two halves, and the running
statistics are those of the first process.
"""

import sys
import traceback
from datetime import timedelta
from pathlib import Path

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.layers import DropPath
from pointadapt.core.machine import make_accelerator
from pointadapt.methods import make_method
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task

CLASSES, STEPS = ("ball", "bar", "helix", "plate"), 3


def new_model(backbone, name, mode):
    """Nothing random in it."""
    net = load_backbone(backbone)
    torch.manual_seed(0)
    task = make_task("classification", {"hidden": 16})
    model = PointModel(net, Adapter(net, make_method(name), task, CLASSES)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.rate = 0.0
        if isinstance(module, _BatchNorm) and mode == "frozen":
            module.eval()
    return model


def optimizer_of(model):
    """Plain descent: Adam would make whole steps of gradients that are but rounding noise."""
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)


def shared_out(acc, model, points, labels):
    """The adapter's tensors after steps on this process's half."""
    net, optimizer = acc.prepare(model, optimizer_of(model))
    own = slice(acc.process_index, None, 2)
    for _ in range(STEPS):
        acc.backward(model.adapter.task.loss(net(points[own]), labels[own]))
        optimizer.step()
        optimizer.zero_grad()
    return copied(model.adapter_state())


def alone(model, shares):
    """The same from this process alone: the mean gradient of ``shares``, buffers of the first."""
    optimizer = optimizer_of(model)
    for _ in range(STEPS):
        before = copied(dict(model.named_buffers()))
        for points, labels in reversed(shares):
            for key, buffer in model.named_buffers():
                buffer.copy_(before[key])
            model.adapter.task.loss(model(points), labels).backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= len(shares)  # not the loss: a method may add its own to it
        optimizer.step()
        optimizer.zero_grad()
    return copied(model.adapter_state())


def copied(state):
    return {k: v.detach().clone() for k, v in state.items()}


def one(acc, backbone, name, mode, points, labels):
    model = new_model(backbone, name, mode)
    start = copied(model.adapter_state())
    halves = [(points[k::2], labels[k::2]) for k in (0, 1)]
    shares = halves if mode == "batch" else [(points, labels)]
    want = alone(new_model(backbone, name, mode), shares) if acc.is_main_process else {}
    return {"start": start, "want": want, "got": shared_out(acc, model, points, labels)}


def main(backbone, batch, out, *names):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=120))
    acc, done = make_accelerator("fp32"), {}
    assert acc.num_processes == 2
    points, labels = torch.load(batch, weights_only=True)
    for name in names:
        try:
            done[name] = {
                mode: one(acc, backbone, name, mode, points, labels) for mode in ("frozen", "batch")
            }
        except Exception:
            done[name] = {"error": traceback.format_exc()}
            break  # the processes may be out of step: what follows would say nothing
    torch.save(done, Path(out) / f"rank{acc.process_index}.pt")
    if "error" not in done.get(names[-1], {}):
        acc.wait_for_everyone()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
