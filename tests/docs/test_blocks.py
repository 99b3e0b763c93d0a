"""Every command and every piece of code in the README, the start page and the guides is run.

A page's blocks run in order, in a folder with small files of the names that the page uses, in this
process, and with a network and numbers of a toy's size. What cannot run stands below a comment that
says why: ``<!-- not run: REASON -->``. A block with a ``title="PATH"`` is written to that file.

The guides for those who extend the package (``write-*.md``) are run by ``test_extending.py``.
"""

import re
import runpy
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from runs_here import run_here

import pointadapt
from pointadapt.cli.main import main

ROOT = Path(__file__).parents[2]
FILES = runpy.run_path(str(ROOT / "tests/data/guides/make.py"))
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
USING = [path for path in GUIDES if not path.name.startswith("write-")]
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *USING]
FENCE = re.compile(
    r"(?P<before>[^\n]*\n)(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```\s*$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = re.compile(r"^\s*<!-- not run: (.+?) -->$")
SHELL, SHOWN = ("sh", "bash"), ("text", "yaml", "toml", "csv", "json")
MOST_NOT_RUN = 18  # of 91 blocks; each has its reason, and one more is a decision
SLOW = {
    "choose-what-to-label",
    "look-inside",
    "label-scenes",
    "compare-methods",
    "few-labels",
    "gpus-and-clusters",
    "label-parts",
}
TRAINED = ("runs/scans/adapter", "runs/other/adapter")  # what a page may start from


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("info")) + 1
        language, _, rest = found["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        reason = NOT_RUN.match(found["before"])
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
        yield Block(
            page, line, language, title[1] if title else "", body, reason[1] if reason else ""
        )


def commands_of(text):
    """The commands of a shell block, as lists of words."""
    lines = text.replace("\\\n", " ").split("\n")
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def small(command, backbone, data):
    """The options that make a command a toy; they win over those of the page."""
    options = {"backbone": backbone, "epochs": 1, "points": 64, "groups": 8, "group_size": 8,
               "batch_size": 8, "tensorboard": False}  # fmt: skip
    extra = {
        "train": {},
        "compare": {"seeds": [0], "jobs": 1},
        "cross-validate": {"folds": 2},
        "few-shot": {"way": 2, "shot": 2, "queries": 2, "folds": 2},
    }
    if "scene" in data:
        extra["train"]["task_options"] = ["width=16", "hidden=16,8"]
    if command in extra:
        return {**options, **extra[command]}
    return {
        "pretrain": {
            "points": 64, "groups": 8, "group_size": 8, "steps": 2, "batch_size": 4,
            "warmup_steps": 0, "decoder_depth": 1, "workers": 0, "picture_every": 0,
        },
        "probe": {"points": 64, "most": 12},
        "robustness": {"most": 4},
    }.get(command, {})  # fmt: skip


def small_data(words):
    """Options of the data that keep a toy small, by the data set that is meant."""
    if "folder_segmentation" in words or any(str(word).endswith("-scenes") for word in words):
        return ["blocks=8", "test_blocks=4", "least=40"]
    own = any(word in words for word in ("--recipe", "--data", "recipe", "data"))
    return ["size=32", "test_size=16"] if "shapes" in words or not own else []


class Reader:
    """Does what a page says."""

    def __init__(self, backbone, monkeypatch):
        self.backbone, self.patch = backbone, monkeypatch
        self.names = {"__name__": "__main__"}
        for name in ("train", "compare", "cross_validate", "few_shot", "pretrain", "probe",
                     "robustness"):  # fmt: skip
            monkeypatch.setattr(pointadapt, name, self.smaller(name))

    def smaller(self, name):
        call = getattr(pointadapt, name)

        def smaller(*given, **options):
            words = [*map(str, options), *map(str, options.values())]
            toy = small(name.replace("_", "-"), self.backbone, " ".join(words))
            if "tensorboard" in toy and small_data(words):
                toy["data_options"] = [*options.get("data_options", ()), *small_data(words)]
            return call(*given, **{**options, **toy})

        return smaller

    def read(self, block):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, f"<{block}>", "exec"), self.names)
        elif block.language in SHELL:
            for words in commands_of(block.text):
                self.type(words, block)

    def type(self, words, block):
        assert words[0] == "pointadapt", f"{block}: neither run nor marked: {' '.join(words)}"
        args = [*words[1:]]
        toy = small(args[0], self.backbone, " ".join(args))
        extra = small_data(args) if "tensorboard" in toy else []
        if extra and "--data-options" in args:
            at = args.index("--data-options") + 1
            args[at:at] = extra
        elif extra:
            args += ["--data-options", *extra]
        assert main([*args, *flags(toy)]) == 0, f"{block}: pointadapt {' '.join(args)}"


def flags(options):
    """Options as the command line takes them."""
    out = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            out.append(f"--{name}" if value else f"--no-{name}")
        else:
            out += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return out


@pytest.fixture(scope="module")
def adapter(micro_backbone, tmp_path_factory):
    """An adapter for the classes of the scans."""
    folder = tmp_path_factory.mktemp("trained")
    FILES["scans"](folder / "scans")
    toy = flags(small("train", micro_backbone, ""))
    given = ["train", "--recipe", "dapt-folder", "--root", str(folder / "scans")]
    assert main([*given, "--out", str(folder / "run"), "--no-summary", *toy]) == 0
    return folder / "run" / "adapter"


@pytest.fixture
def reader(micro_backbone, tmp_path, monkeypatch):
    """A reader in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "cache"))
    run_here(monkeypatch)
    return Reader(micro_backbone, monkeypatch)


@pytest.mark.parametrize("page", [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in SLOW))
    for page in PAGES
])  # fmt: skip
def test_what_a_page_says_works(page, reader, adapter, tmp_path):
    text = page.read_text(encoding="utf-8")
    FILES["make"](tmp_path, text)
    for name in TRAINED:
        if name in text and f"--out {Path(name).parent}\n" not in text:
            shutil.copytree(adapter, tmp_path / name)
    for block in blocks_of(page):
        if not block.reason:
            reader.read(block)


def test_every_block_is_run_or_says_why_not():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    for block in blocks:
        assert block.language in ("python", *SHELL, *SHOWN), f"{block}: of which language?"
        assert not block.reason or len(block.reason.split()) >= 3, f"{block}: say why"
        assert block.language not in SHOWN or "\npointadapt " not in f"\n{block.text}", f"{block}"
    not_run = [block for block in blocks if block.reason]
    assert 0 < len(not_run) <= MOST_NOT_RUN < len(blocks) - len(not_run)
