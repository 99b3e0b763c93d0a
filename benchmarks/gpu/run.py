"""One command for each stage of README.md, on a machine with a GPU, from the repository's root.

    . benchmarks/gpu/setup.sh && python3 benchmarks/gpu/run.py STAGE [--minutes 9] [--rehearse]

Stages: tests, speed, compiled, rates and pretrain, variants, conv, scenes, modelnet40, few-shot,
promise. Results go to $OUT as JSON, at most eight files. `--rehearse` runs the same code at toy
size, on whatever device there is. What a stage leaves for its next call lies in $GPU_HOME
(~/pointadapt-gpu).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPO = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

OUT = Path(os.environ.get("OUT") or "gpu-out")
TOY = "--rehearse" in sys.argv
HOME = Path(
    os.environ.get("GPU_HOME") or (tempfile.mkdtemp() if TOY else Path.home() / "pointadapt-gpu")
)
Args = argparse.Namespace


def write(name: str, content: dict[str, Any]) -> None:
    """A stage's figures, with the machine and the command they come from."""
    from _measure import commit
    from pointadapt.core.machine import describe_machine

    OUT.mkdir(parents=True, exist_ok=True)
    head = {"command": " ".join(["python3", *sys.argv]), "commit": commit()}
    text = json.dumps({**head, "machine": describe_machine(), **content}, indent=1)
    (OUT / name).write_text(text + "\n")
    print(f"{OUT / name}: {len(text)} bytes", flush=True)


def call(command: list[str], seconds: float, log: Path, **env: str) -> dict[str, Any]:
    """Run ``command`` for at most ``seconds``; its output goes to ``log`` and its end is shown."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(log, "wb") as to:
        process = subprocess.Popen(
            command, stdout=to, stderr=subprocess.STDOUT, env=os.environ | env, cwd=REPO
        )
        try:
            rc = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(2)
            try:
                rc = process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                rc = process.wait()
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(lines[-15:]), flush=True)
    return {"rc": rc, "seconds": round(time.monotonic() - began, 1), "tail": lines[-3:]}


# ---- stages


def tests(args: Args) -> None:
    """The GPU's own tests, then, in what is left of the time, the whole suite there."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", "--tb=short"]
    own = ["benchmarks/gpu/test_gpu.py", "tests/unit/ops", "tests/golden"]
    if args.rehearse:
        own, env = own[:1], {"POINTADAPT_REHEARSE": "1", "POINTADAPT_SKIP_INDUCTOR": "1"}
    else:
        env = {}
    began = time.monotonic()
    left = 60 * args.minutes
    first = call([*pytest, *own, "--durations=8"], left, OUT / "tests.log", **env)
    found = {"own": first}
    left -= time.monotonic() - began
    if left > 120 and not args.rehearse:
        found["suite"] = call([*pytest, "tests", "-n", "12"], left, OUT / "suite.log")
    write("tests.json", found)


def speed(args: Args) -> None:
    import torch
    from speed import measure

    batches = [4] if args.rehearse else [32, 512]
    seconds = 0.1 if args.rehearse else 2.5 * args.minutes  # that steps take turns, a batch size
    for figures in measure(args.rehearse, batches, args.compile, seconds):
        write("speed.json", figures | {"triton": has_triton(), "torch": torch.__version__})
    for row in figures["geometry"] + figures["steps"]:
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})


def compiled(args: Args) -> None:
    """Compiled and captured steps beside today's, with what the compiler wrote."""
    import torch
    from compiled import measure, show

    logs = HOME / "logs" / "compiled"
    rows = measure(logs, args.rehearse, 600 if args.rehearse else 60 * args.minutes)
    with tarfile.open(OUT / "compiled.tgz", "w:gz") as archive:
        archive.add(logs, "compiled")
    write("compiled.json", {"rows": rows, "triton": has_triton(), "torch": torch.__version__})
    show(rows)


def has_triton() -> str:
    try:
        import triton  # type: ignore[import-not-found]
    except ImportError:
        return ""
    return str(triton.__version__)


SMALL = """--size small --groups 64 --data modelnet40 shapedb shapes
--weights modelnet40=0.4 shapedb=0.1 shapes=0.5 --available 2048 --batch-size 512 --lr 1e-3
--warmup-steps 300 --mask-ratio 0.6 --label-weight 0.03 --attribute-weight 0.005
--augment scale_shift rotate_z --precision bf16 --save-every 200 --probe-every 1000
--probe-clouds 1200 --picture-every 1000 --save-precision bf16 --shard-mb 16 --seed 0"""
TOY_PRETRAIN = """--size tiny --groups 8 --group-size 8 --points 64 --batch-size 8 --precision fp32
--save-every 2 --save-precision bf16 --shard-mb 16 --picture-every 0 --warmup-steps 1"""
RATES = "--size small --groups 64 --batch-size 512 --precision bf16 --picture-every 0"
BUDGET = 22 * 60  # seconds that the pre-training has


def rates(args: Args) -> None:
    """Clouds a second of training and of the loader, and the number of steps that fits."""
    seconds = {}
    workers = (1,) if args.rehearse else (8, 14)
    for count in workers:
        out = HOME / f"try{count}"
        shutil.rmtree(out, ignore_errors=True)
        flags = TOY_PRETRAIN if args.rehearse else RATES
        flags += f" --steps {100 if args.rehearse else 150} --workers {count} --out {out} --json"
        command = [sys.executable, "-m", "pointadapt", "pretrain", *flags.split()]
        call(command, 60 * args.minutes / (len(workers) + 1), OUT / f"rates{count}.log")
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        between = rows[-1]["seconds"] - rows[0]["seconds"]  # without the start
        clouds = (rows[-1]["step"] - rows[0]["step"]) * (8 if args.rehearse else 512)
        seconds[count] = clouds / max(between, 1e-3)
    loader = [sys.executable, "benchmarks/data.py", "--workers", *map(str, workers)]
    loader += ["--batch-size", "8" if args.rehearse else "512", "--seconds", "1"]
    call([*loader, "--json", str(OUT / "data.json")], 120, OUT / "data.log")
    best = max(seconds, key=lambda k: seconds[k])
    found = {"clouds_per_s": seconds, "workers": best, "steps": int(BUDGET * seconds[best] / 512)}
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "steps.json").write_text(json.dumps(found))
    write("rates.json", found)


def pretrain(args: Args) -> None:
    """The pre-training; the same call again continues it."""
    plan = {"steps": 4, "workers": 0} if args.rehearse else {}
    if not plan:
        plan = json.loads((HOME / "steps.json").read_text())
    if args.steps:
        plan["steps"] = args.steps
    out, root = HOME / "small", HOME / "pretrain"
    command = [sys.executable, "-m", "pointadapt", "pretrain"]
    flags = TOY_PRETRAIN if args.rehearse else f"{SMALL} --root {root}"
    flags += f" --steps {plan['steps']} --workers {plan['workers']} --resume --out {out}"
    found = call([*command, *flags.split()], 60 * args.minutes, OUT / "pretrain.log")
    if (out / "log.jsonl").exists():
        shutil.copy(out / "log.jsonl", OUT)
    done = (out / "backbone").exists()
    if done:
        for shard in (out / "backbone").glob("*.safetensors"):
            shutil.copy(shard, OUT)
        rest = ["backbone/config.json", "backbone/model.safetensors.index.json", "summary.json"]
        with tarfile.open(OUT / "rest.tgz", "w:gz") as archive:
            for name in [*rest, "log.jsonl", "pictures"]:
                if (out / name).exists():
                    archive.add(out / name, name)
    write("pretrain.json", {"plan": plan, "done": done, **found})


def variants(args: Args) -> None:
    """All variants of ``benchmarks/pretraining.py`` from the bundled backbone, side by side.

    What comes home is scored there, by the same benchmark (``--more NAME=FOLDER``).
    """
    from jobs import Job, run_jobs

    from pretraining import SHARED, VARIANTS

    plan = f"pretrain --init tiny --steps {args.steps or 1000} --batch-size 256 --lr 5e-4 "
    plan += "--warmup-steps 100 --precision bf16 --workers 2 --save-every 250"
    if args.rehearse:
        plan = "pretrain --steps 2 --batch-size 8 --workers 0 --warmup-steps 1"
        plan += " --groups 16 --group-size 8"
    plan += " --save-precision bf16 --threads 1"
    names = [name for name in VARIANTS if name not in args.without]
    jobs = [
        Job(name.replace(", ", "-").replace(" ", "-"),
            [*plan.split(), *as_flags({**SHARED, **VARIANTS[name]})], place, "summary.json")
        for name in names for place in (HOME / "variants" / name.replace(" ", "-"),)
    ]  # fmt: skip
    log, began = HOME / "logs" / "variants", time.monotonic()
    found = run_jobs(jobs, len(jobs), began + 60 * args.minutes - 30, log)
    for k in range(0, len(jobs), 2):  # two of 6 MB fit a file
        with tarfile.open(OUT / f"variants{k // 2}.tgz", "w:gz") as archive:
            for job in jobs[k : k + 2]:
                for part in ("backbone", "summary.json", "log.jsonl"):
                    if (job.out / part).exists():
                        archive.add(job.out / part, f"{job.name}/{part}")
    write("variants.json", {"minutes": args.minutes, "jobs": found})


def conv(args: Args) -> None:
    """The forms of the submanifold convolution, and whether they agree."""
    from conv import measure

    rows = measure(args.rehearse, os.environ)
    write("conv.json", {"triton": has_triton(), "rows": rows})
    for row in rows:
        print(row)


SCENES = """--data scenes --backbone ptv3 --size tiny --points 2048 --batch-size 36 --lr 1.5e-3
--precision bf16 --save-precision bf16 --save-every 100 --seed 0"""
TOY_SCENES = """--data scenes --backbone ptv3 --size tiny --points 256 --batch-size 2
--precision fp32 --save-precision bf16 --save-every 2 --threads 1"""
TRIAL = 24  # steps that tell the rate
STARTS, SCORES = 20, 95  # seconds: until the first step; the runs that score the weights
REAL = REPO / ".gpu/scenes"  # NAME/train/FILE and NAME/test/FILE, every point labelled
ASIDE = 4  # runs from random weights beside the pre-training


def scenes(args: Args) -> None:
    """Pre-training on made-up scenes, as many steps as the minutes allow, then what it gives.

    The checkpoint lies in $OUT from the start, so that a run that is cut off is not lost. Where
    there are labelled scenes, networks are trained on them from random weights meanwhile, and from
    the pre-trained ones at the end.
    """
    import threading

    os.environ["POINTADAPT_TRITON"] = "0"  # compiling would take from the minutes
    end = time.monotonic() + 60 * args.minutes
    log, aside = HOME / "logs" / "scenes", scene_jobs("ptv3:tiny", "random", args.rehearse)
    known: dict[str, Any] = {}

    def beside() -> None:
        known.update(run_jobs_until(aside, ASIDE, end - 10, log))

    other = threading.Thread(target=beside)
    other.start()
    done = pretrain_scenes(args, end - (SCORES if aside and not args.rehearse else 0))
    jobs = scene_jobs(str(OUT / "scenes/backbone"), "pretrained", args.rehearse)
    if done["rc"] == 0:
        known.update(run_jobs_until(jobs, len(jobs), end - 10, log))
    other.join()
    write("scenes.json", {"pretraining": done, "jobs": known})


def run_jobs_until(jobs: list[Any], at_once: int, until: float, log: Path) -> dict[str, Any]:
    from jobs import run_jobs

    return run_jobs(jobs, at_once, until, log) if jobs else {}


def pretrain_scenes(args: Args, end: float) -> dict[str, Any]:
    """A trial, then the steps that fit before ``end``."""
    flags, workers = (TOY_SCENES, 1) if args.rehearse else (SCENES, max(1, cores() - 1 - ASIDE))

    def run(steps: int, out: Path) -> dict[str, Any]:
        more = f" --steps {steps} --warmup-steps {steps // 20} --workers {workers} --out {out}"
        command = [sys.executable, "-m", "pointadapt", "pretrain", *(flags + more).split()]
        left = max(20.0, end - time.monotonic())
        return call([*command, "--resume", "--json"], left, OUT / f"{out.name}.log")

    steps, trial = args.steps, 4 if args.rehearse else TRIAL
    if not steps:
        run(trial, HOME / "scenes-trial")
        took = json.loads((HOME / "scenes-trial/summary.json").read_text())["seconds"]
        left = end - time.monotonic() - STARTS
        steps = trial if args.rehearse else max(trial, int(0.9 * trial * left / took))
    return {"steps": steps, "workers": workers, **run(steps, OUT / "scenes")}


def scene_jobs(backbone: str, name: str, toy: bool) -> list[Any]:
    """Runs of the recipe ``ptv3-scenes`` without its forest, 300 steps, from ``backbone``."""
    from jobs import Job

    sets = {"ahn": "", "ign": " ignore=1", "isprs": ""}
    blocks, less = ("blocks=4 test_blocks=2", "--points 512") if toy else ("blocks=200", "")
    return [
        Job(
            f"{root}-{method}-{name}",
            f"train --recipe ptv3-scenes --root {REAL / root} --backbone {backbone} {less} "
            f"--method {method} --epochs {1 if toy else 3} --data-options {blocks}{option} "
            "--task-options forest=0 --threads 1 --seed 0 --no-tensorboard --no-summary".split(),
            HOME / "scenes" / f"{root}-{method}-{name}",
        )
        for method in ("linear_probe", "full", "lora")
        for root, option in sets.items()
        if (REAL / root).is_dir() and (not toy or (root, method) == ("ahn", "full"))
    ]


def cores() -> int:
    return len(os.sched_getaffinity(0))


def as_flags(options: dict[str, Any]) -> list[str]:
    """Options of a configuration as the command line has them."""
    out: list[str] = []
    for key, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        out += [f"--{key.replace('_', '-')}", *map(str, values)]
    return out


def data_root(args: Args) -> tuple[Path, str]:
    """Where ModelNet40 lies, and the flags that say how the runs see it."""
    if not args.rehearse:
        return HOME / "data/modelnet40", "--precision bf16 --available 0"
    import runpy

    root = Path(tempfile.mkdtemp())
    look_alike = runpy.run_path(str(REPO / "tests/data/modelnet40/make.py"))
    small = "--points 64 --available 0 --groups 8 --group-size 8 --batch-size 2 --epochs 2"
    small += " --warmup-epochs 1"
    return look_alike["write_npz"](root), small


METHODS = ("dapt", "full", "linear-probe")


def modelnet40(args: Args) -> None:
    """The papers' recipe, three methods and three seeds, some at a time."""
    from jobs import Job

    root, flags = data_root(args)
    seeds = range(1) if args.rehearse else range(3)
    jobs = [
        Job(
            f"{method}-{seed}",
            f"train --recipe {method}-modelnet40 --root {root} {flags} --backbone {args.backbone} "
            f"--seed {seed} --step {args.step} --save-every 10 "
            "--no-tensorboard --no-summary".split(),
            HOME / "modelnet40" / f"{method}-{seed}",
        )
        for seed in seeds
        for method in METHODS
        if args.only in ("", method)
    ]
    finish("modelnet40", jobs, args)


SETTINGS = ((5, 10), (5, 20), (10, 10), (10, 20))


def few_shot(args: Args) -> None:
    """Ten folds of each setting and method; folds run side by side inside a command."""
    from jobs import Job

    root, flags = data_root(args)
    settings = ((2, 1),) if args.rehearse else SETTINGS
    folds = "--folds 2 --queries 1 --jobs 1" if args.rehearse else f"--jobs {args.jobs}"
    jobs = [
        Job(
            f"{method}-{way}w{shot}s",
            f"few-shot --recipe {method}-few-shot --data modelnet40 --root {root} {flags} {folds} "
            f"--way {way} --shot {shot} --backbone {args.backbone} --step {args.step}".split(),
            HOME / "few-shot" / f"{method}-{way}w{shot}s",
            result="few_shot.json",
            resumes=False,
        )
        for way, shot in settings
        for method in METHODS
        if args.only in ("", method)
    ]
    args.jobs = 1
    finish("few-shot", jobs, args)


SMALL_SETS = {  # the rest of what --sets of promise.py says
    "street": r"{sets}/street,group=_f\d+_,points=0,groups=0,epochs=20",
    "tabletop": r"{sets}/tabletop,up=y,group=[a-z]+\d+_,epochs=20",
    "gesture": r"{sets}/gesture,group=p\d+,points=0,groups=0,epochs=10",
    "lpsb": "{sets}/lpsb,epochs=20,augment=scale_shift",
    "shapes": ",data=shapes,size=2400,test_size=640,rotate=lying,shots=20,epochs=20",
    "few5": "{modelnet40},data=modelnet40,way=5,shot=10,epochs=40",
    "few10": "{modelnet40},data=modelnet40,way=10,shot=10,epochs=40",
    "modelnet20": "{modelnet40},data=modelnet40,shots=20,epochs=20",
}
WHOLE = (
    "modelnet40={modelnet40},data=modelnet40,points=1024,groups=64,epochs=20,augment=scale_shift"
)
FIRST = ["stem-adapter-forest", "instant", "instant-forest", "full", "full-forest", "dapt-released"]
REST = ["linear-probe", "adapter", "lora", "pointgst"]


def promise(args: Args) -> None:
    """`benchmarks/promise.py` on each set in a process of its own; the records come home.

    The most important methods first, then all; whole ModelNet40 with the voices of the preset and
    of full fine-tuning alone. At home: `python benchmarks/promise.py --join RECORDS`.
    """
    end, out, log = time.monotonic() + 60 * args.minutes - 20, HOME / "promise", HOME / "logs"
    log.mkdir(parents=True, exist_ok=True)
    lines = {
        name: promise_commands(name, where, out, args.rehearse)
        for name, where in promise_sets(args).items()
    }
    running = {name: chained(commands, log / f"promise-{name}.log")
               for name, commands in lines.items()}  # fmt: skip
    while time.monotonic() < end and any(p.poll() is None for p in running.values()):
        time.sleep(0.5)
    stopped = [name for name, p in running.items() if p.poll() is None]
    for name in stopped:
        os.killpg(running[name].pid, 2)
    for name, process in running.items():
        process.wait()
        print(name, "stopped" if name in stopped else process.returncode, flush=True)
        print("\n".join((log / f"promise-{name}.log").read_text().splitlines()[-3:]), flush=True)
    with tarfile.open(OUT / "promise.tgz", "w:gz") as archive:
        archive.add(log, "logs")
        for found in sorted(out.rglob("*.json")) + sorted(out.rglob("config.yaml")):
            archive.add(found, found.relative_to(HOME))
    write("promise.json", {"minutes": args.minutes, "stopped": stopped})


def promise_sets(args: Args) -> dict[str, str]:
    """Name -> what --sets says of it."""
    places = {"sets": HOME / "data/sets", "modelnet40": HOME / "data/modelnet40"}
    if not args.rehearse:
        every = {**{n: f"{n}={text}" for n, text in SMALL_SETS.items()}, "modelnet40": WHOLE}
        every = {name: text.format(**places) for name, text in every.items()}
        return {name: text for name, text in every.items() if name not in args.without}
    tiny = "points=64,groups=8,group_size=8,epochs=1,way=3,shot=2,queries=1,pool=all"
    return {"few": f"few={data_root(args)[0]},data=modelnet40,{tiny}"}


def promise_commands(name: str, where: str, out: Path, toy: bool) -> list[list[str]]:
    """The calls of promise.py for a set, one after the other."""
    call = [sys.executable, str(HERE.parent / "promise.py"), "--sets", f"{where},step=auto"]
    call += ["--runs", str(out / "runs"), "--threads", "1", "--lrs", "2e-3", "8e-3"]
    if toy:
        return [[*call, "--json", str(out / "few.json"), "--seeds", "0", "--tune-epochs", "1",
                 "--methods", "instant"]]  # fmt: skip
    if name == "modelnet40":
        return [[*call, "--json", str(out / "modelnet40.json"), "--seeds", "0", "1", "2", "--jobs",
                 "4", "--tune-epochs", "5", "--methods", "stem-adapter-forest", "instant",
                 "full-forest"]]  # fmt: skip
    call += ["--seeds", *"01234", "--jobs", "2", "--tune-epochs", "10"]
    return [
        [*call, "--json", str(out / f"{name}-{len(lines)}.json"), "--methods", *lines]
        for lines in (FIRST, FIRST + REST)
    ]


def chained(commands: list[list[str]], log: Path) -> subprocess.Popen[bytes]:
    """One command after the other, in a process group of its own."""
    line = " && ".join(shlex.join(command) for command in commands)
    with open(log, "wb") as to:
        return subprocess.Popen(
            ["sh", "-c", line], stdout=to, stderr=to, cwd=REPO, start_new_session=True
        )


def finish(name: str, jobs: list[Any], args: Args) -> None:
    """Run what is left, and bring home what there is: one JSON file, the logs, DAPT's adapters."""
    from jobs import run_jobs

    known = REPO / "benchmarks/results/gpu" / f"{name}.json"
    home = json.loads(known.read_text())["jobs"] if known.exists() else {}
    home = {n: job for n, job in home.items() if job["state"] == "done" and not args.rehearse}
    began, log = time.monotonic(), HOME / "logs" / name
    todo = [job for job in jobs if job.name not in home]
    found = run_jobs(todo, args.jobs, began + 60 * args.minutes - 30, log)
    for key, job in found.items():
        shown = job.get("results") or job
        print(key, {k: shown[k] for k in ("accuracy", "mean", "state", "why") if k in shown})
    with tarfile.open(OUT / f"{name}.tgz", "w:gz") as archive:
        for folder in (log, *(j.out / "adapter" for j in todo if j.name.startswith("dapt"))):
            if folder.exists():
                archive.add(folder, folder.relative_to(HOME))
    write(
        f"{name}.json", {"minutes": args.minutes, "at_once": args.jobs, "jobs": {**home, **found}}
    )


STAGES: dict[str, Callable[[Args], None]] = {
    "tests": tests, "speed": speed, "compiled": compiled, "rates": rates, "pretrain": pretrain,
    "variants": variants, "conv": conv, "scenes": scenes,
    "modelnet40": modelnet40, "few-shot": few_shot, "promise": promise,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--minutes", type=float, default=9.0, help="how long this call may run")
    parser.add_argument("--rehearse", action="store_true", help="toy size, any device")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--only", default="", choices=["", *METHODS], help="one method alone")
    parser.add_argument("--backbone", default="weights/small")
    parser.add_argument("--step", default="auto", help="eager, graph, compile or auto")
    parser.add_argument("--steps", type=int, default=0, help="of pretrain, instead of its rates'")
    parser.add_argument(
        "--without", nargs="*", default=[], help="variants, or sets, that are left out"
    )
    parser.add_argument(
        "--compile", action="store_true", help="speed: also torch.compile (minutes)"
    )
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    STAGES[args.stage](args)


if __name__ == "__main__":
    main()
