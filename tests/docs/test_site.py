"""The documentation is whole: every name, command and table of it is that of the code."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

import pointadapt
from pointadapt.cli.commands import COMMANDS
from pointadapt.cli.listing import methods
from pointadapt.cli.main import main
from pointadapt.inference.predictor import PREDICTORS

ROOT = Path(__file__).parents[2]
DOCS, RECORDS = ROOT / "docs", ROOT / "benchmarks/results"
FLAG, CELL = re.compile(r"--[a-z][\w-]*"), re.compile(r"^\| (.+?) \|", re.MULTILINE)
DECISIONS = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.stem != "index")


def tool(name):
    """A module of tools/docs."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/docs/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


PAGES = tool("command_pages")


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link.partition("#")[0]).is_file()] == []


def test_every_public_name_is_in_the_reference():
    pages = (DOCS / "reference/python").glob("*.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    found = re.findall(r"^::: pointadapt\.(\w+)$", text, re.MULTILINE)
    assert sorted(found) == sorted(set(pointadapt.__all__) - {"__version__"})


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_commands_page_has_the_options_of_its_help(name, capsys):
    page = PAGES.command_pages()[name]
    inner = PAGES.members(COMMANDS[name])
    for words in [[name, word] for word in inner] or [[name]]:
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        lines = re.findall(r"^[│ ]*(--[a-z][^│\n]*)", capsys.readouterr().out, re.MULTILINE)
        shown = {flag for line in lines for flag in FLAG.findall(re.split(r" {2,}", line)[0])}
        section = page.partition(f"# pointadapt {' '.join(words)}\n")[2].partition("\n## ")[0]
        listed = {flag for cell in CELL.findall(section) for flag in FLAG.findall(cell)}
        assert listed == shown and listed
        assert "From Python: [`pointadapt." in section


def test_predict_has_the_options_of_every_kind_of_adapter():
    page = PAGES.command_pages()["predict"]
    for name in PREDICTORS:
        section = page.partition(f"## With an adapter that {PREDICTORS[name].about}\n")[2]
        own = {option.usage for option in PAGES.options_of(PREDICTORS[name])}
        assert own and all(f"`{usage}`" in section for usage in own)


def test_options_say_what_they_take_and_do():
    rows = {option.usage: option for option in PAGES.options_of(COMMANDS["train"])}
    assert rows["--points NUMBER"].default == "1024"
    assert rows["--data-options TEXT…"].text == "its other options, as key=value."
    assert "--keep {all,lean,recompute}" in rows
    assert rows["--tensorboard, --no-tensorboard"].default == "yes"
    required = [o.usage for o in PAGES.options_of(COMMANDS["fold"]) if o.required]
    assert required == ["ADAPTER", "--out PATH"]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_asks_and_answers(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r"(?:---\ntopic: \w[\w ,-]*\n---\n)?# \S", text), "a title, perhaps a topic"
    assert "**Question.**" in text and "**Decision.**" in text


# ---- tables are those of the records


def rows_of(page, first):
    """The table of a page whose head begins with ``first``: a list of its rows' cells."""
    lines = (DOCS / "results" / page).read_text(encoding="utf-8").splitlines()
    at = next(
        k for k, line in enumerate(lines) if line.startswith(f"| {first} |".replace("  ", " "))
    )
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().strip("`*") for cell in line.strip("|").split("|")])
    return rows


def record(name):
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


def number(cell):
    return float(re.search(r"-?[\d,]*\.?\d+", cell)[0].replace(",", ""))


def near(cell, value):
    """Whether a cell is ``value``, rounded as far as the cell shows it."""
    text = re.search(r"\d[\d,]*(?:\.(\d+))?", cell)
    return abs(number(cell) - value) <= 0.5000001 * 10 ** -len(text[1] or "")


def test_the_board():
    shapes, modelnet = (
        {row["label"]: row for row in record(f"board_{name}_tiny")["methods"]}
        for name in ("shapes", "modelnet40")
    )
    rows = rows_of("board.md", "method")
    assert {row[0] for row in rows} == set(shapes) == set(modelnet)
    for name, trained, on_shapes, on_modelnet, lr, seconds, memory, _ in rows:
        own = shapes[name]
        assert number(trained) == own["trainable_parameters"], name
        assert near(on_shapes, own["accuracy"]) and near(on_modelnet, modelnet[name]["accuracy"])
        assert number(lr) == own["lr"]
        assert near(seconds, own["seconds"]) and near(memory, own["peak_memory_bytes"] / 1e6), name


def test_modelnet40():
    rows = rows_of("modelnet40.md", "method")
    found = record("modelnet40_tiny")
    assert len(rows) == len(found)
    for row, own in zip(rows, found, strict=True):
        assert number(row[1]) == own["trainable_parameters"]
        assert near(row[2], own["accuracy"]) and near(row[3], own["class_accuracy"])
        assert near(row[5], own["peak_memory_bytes"] / 1e6)
        assert near(row[6], own["adapter_bytes"] / 1e6)


@pytest.mark.parametrize("k", range(4))
def test_few_shot(k):
    cells = rows_of("few-shot.md", "")[k]
    way, shot = re.fullmatch(r"(\d+)-way (\d+)-shot", cells[0]).groups()
    for cell, own in zip(cells[2:], record(f"few_shot_{way}w{shot}s_tiny"), strict=True):
        mean, deviation = cell.split(" ± ")
        assert near(mean, own["accuracy"]) and near(deviation, own["accuracy_sd"])


def test_parts():
    for cells, name in zip(rows_of("segmentation.md", ""), ("lpsb", "shapes"), strict=True):
        for cell, own in zip(cells[1:], record(f"part_segmentation_{name}_tiny"), strict=True):
            instance, of_class = cell.split(" / ")
            assert near(instance, own["instance_miou"]) and near(of_class, own["class_miou"])


def test_what_a_step_keeps():
    saved = {
        (r["method"], r["keep"], r["precision"], r["batch"]): r
        for r in record("memory_cpu")["results"]
    }
    for step, _, _, mib, share, share_32 in rows_of("speed-and-memory.md", "step"):
        method = "full" if step.startswith("full") else "dapt"
        precision = "bf16" if "bfloat16" in step else "fp32"
        given = re.search(r"--keep (\w+)", step)
        keep = given[1] if given else "all" if method == "full" else "lean"
        small, large = (saved[method, keep, precision, batch] for batch in (8, 32))
        assert near(mib, small["saved_MiB"]), step
        if share:
            assert near(share, 100 * small["saved_against_full"]), step
            assert near(share_32, 100 * large["saved_against_full"]), step


def test_what_a_server_holds():
    found = record("serving")["results"]
    rows = rows_of("serving.md", "adapters")
    assert len(rows) == len(found)
    for cells, own in zip(rows, found, strict=True):
        assert (number(cells[0]), cells[1]) == (own["adapters"], own["sent"])
        told = [
            own[k] for k in ("clouds_per_s", "p50_ms", "p95_ms", "p99_ms", "server_ms", "ratio")
        ]
        shares = [own["read_%"], own["sample_%"] + own["group_%"], own["network_%"], own["load_%"]]
        for cell, value in zip(cells[2:], [*told, *shares, own["memory_mb"] / 1e3], strict=True):
            assert near(cell, value), (cells, value)


def test_what_the_preset_has_on_modelnet40():
    runs = record("gpu/modelnet40_preset_h200")["runs"]
    of = {"stem_adapter": "runs/stem-adapter-forest/", "Instant": "runs/instant/"}
    for cells in rows_of("modelnet40.md", "20 epochs"):
        (start,) = [start for name, start in of.items() if name in cells[0]]
        found = [run for name, run in runs.items() if name.startswith(start)]
        assert number(cells[1]) == found[0]["trainable_parameters"]
        for cell, key in zip(cells[2:4], ("accuracy", "class_accuracy"), strict=True):
            mean = sum(run[key] for run in found) / len(found)
            assert near(cell.split(" (")[0], mean), (cell, mean)


def test_what_a_server_stood():
    (row,), (own,) = rows_of("serving.md", "requests"), record("soak")["results"]
    told = (own["requests"], own["killed"], sum(own["sent again"].values()), own["right"])
    assert tuple(number(cell) for cell in row[:4]) == told and own["left"] == []
    (row,), found = rows_of("serving.md", "files"), record("hostile_uploads")
    sums = [
        sum(one[key] for one in found["results"])
        for key in ("files", "sent", "answered", "refused", "faults")
    ]
    assert [number(cell) for cell in row[:5]] == sums
    assert near(row[5], found["growth_bytes"] / 1e6)


@pytest.fixture(scope="module")
def known():
    """What ``pointadapt list methods`` says, by name."""
    return {row["name"]: row for row in methods()}


def test_published_counts_are_those_of_the_methods(known):
    rows = rows_of("methods.md", "method")
    assert len(rows) > 10
    for name, trained, published in rows:
        assert number(trained) == known[name]["parameters"]
        assert abs(1e6 * number(published) - number(trained)) < 0.06e6, name


def test_the_table_of_methods_has_them_all(known, monkeypatch):
    tables = tool("tables")
    monkeypatch.setattr(tables, "methods", lambda: list(known.values()))
    text = tables.with_tables((DOCS / "results/methods.md").read_text(encoding="utf-8"))
    for row in known.values():
        assert re.search(rf"^\| `{row['name']}` \|.*\| {row['foldable']} \|", text, re.MULTILINE)
    assert "| `dapt` | DAPT | 1,087,771 | partly |" in text
