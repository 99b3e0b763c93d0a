"""Adapters to the Hub and from it; the Hub is a small one on loopback that speaks its API."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import pointadapt
from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.fold import fold
from pointadapt.cli.main import main
from pointadapt.core.errors import AdapterError, ConfigError, FetchError, PointAdaptError
from pointadapt.core.files import cache_dir
from pointadapt.pretrained.hub_folder import forget

PLACE = "hf://someone/chairs"


@pytest.fixture
def pushed(hub, micro_adapter):
    pointadapt.push(micro_adapter, PLACE, licence="mit")
    return hub


def files(hub, name="someone/chairs"):
    return hub.at(name)[1]


def head(hub):
    return yaml.safe_load(files(hub)["README.md"].decode().split("---")[1])


def gets(hub):
    return [path for method, path in hub.asked if method == "GET"]


def test_what_is_pushed_is_loaded(hub, micro_adapter, micro_backbone):
    done = pointadapt.push(micro_adapter, PLACE)
    assert (done["address"], done["commit"]) == (PLACE, hub.at("someone/chairs")[0])
    assert done["files"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    points = torch.rand(2, 64, 3)
    near = pointadapt.load(micro_adapter)(points)
    far = pointadapt.load(PLACE, backbone=micro_backbone)(points)
    assert torch.equal(near, far)


def test_the_card_has_what_the_hub_understands(pushed, micro_adapter):
    results = json.loads((micro_adapter / "adapter_config.json").read_text())["results"]
    about = head(pushed)
    assert about["library_name"] == "pointadapt"
    assert about["tags"] == ["point-cloud", "dapt", "classification"]
    assert (about["license"], about["metrics"][0]) == ("mit", "accuracy")
    [result] = about["model-index"][0]["results"]
    told = {row["type"]: row["value"] for row in result["metrics"]}
    assert told["accuracy"] == results["accuracy"]
    assert result["dataset"]["type"] == "shapes"
    assert not {"base_model", "datasets"} & about.keys()  # neither is on the Hub, or published
    assert f'pointadapt.load("{PLACE}")' in files(pushed)["README.md"].decode()


def test_no_place_of_this_machine_is_told(pushed, micro_adapter, micro_backbone):
    for name, content in files(pushed).items():
        for place in (micro_adapter.parent, micro_backbone):
            assert str(place).encode() not in content, name
    with pytest.raises(AdapterError, match=r"needs the backbone 'backbone'.* pass --backbone DIR"):
        pointadapt.load(PLACE)


def test_a_card_of_ones_own(hub, micro_adapter, tmp_path):
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\nMine.\n")
    pointadapt.push(micro_adapter, PLACE, card_file=tmp_path / "card.md")
    assert files(hub)["README.md"].endswith(b"Mine.\n")
    with pytest.raises(ConfigError, match=r"none\.md: the card cannot be read"):
        pointadapt.push(micro_adapter, PLACE, card_file=tmp_path / "none.md")


def test_a_folded_adapter_brings_its_backbone(hub, micro_adapter, tmp_path):
    fold(micro_adapter, tmp_path / "folded")
    done = pointadapt.push(tmp_path / "folded", "hf://someone/folded")
    assert "backbone/model.safetensors" in done["files"]
    points = torch.rand(1, 64, 3)
    near = pointadapt.load(tmp_path / "folded")(points)
    assert torch.equal(near, pointadapt.load("hf://someone/folded")(points))


def test_commands(hub, micro_adapter, micro_backbone, own_files, capsys):
    assert main(["push", str(micro_adapter), PLACE, "--private"]) == 0
    assert PLACE in capsys.readouterr().out
    assert hub.private == {"someone/chairs"}
    flags = ["--adapter", PLACE, "--backbone", str(micro_backbone), "--json"]
    assert main(["predict", str(own_files), *flags]) == 0
    near = ["--adapter", str(micro_adapter), "--json"]
    far = capsys.readouterr()
    assert far.err.startswith("fetching hf://someone/chairs\n")
    assert main(["predict", str(own_files), *near]) == 0
    assert json.loads(far.out) == json.loads(capsys.readouterr().out)
    assert main(["evaluate", *flags]) == 0
    scores = json.loads(capsys.readouterr().out)
    results = json.loads((micro_adapter / "adapter_config.json").read_text())["results"]
    assert scores["accuracy"] == results["accuracy"]


def test_a_private_one_is_read_with_the_token_alone(hub, micro_adapter, monkeypatch):
    pointadapt.push(micro_adapter, PLACE, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(FetchError, match=r"someone/chairs is not there .*or is private or gated"):
        adapter_folder.located(PLACE)


def test_it_is_downloaded_once_and_asked_for_once(pushed):
    folder = adapter_folder.located(PLACE)
    assert folder.parent == cache_dir() / "adapters/someone/chairs"
    assert sorted(p.name for p in folder.iterdir()) == [
        adapter_folder.CONFIG,
        adapter_folder.WEIGHTS,
    ]
    count = len(pushed.asked)
    assert adapter_folder.located(Path(PLACE)) == folder  # as the command line has it
    assert len(pushed.asked) == count
    forget()
    assert adapter_folder.located(PLACE) == folder
    assert gets(pushed)[-1] == "/api/models/someone/chairs/revision/main"
    assert len(pushed.asked) == count + 1


def test_a_newer_commit_is_taken_and_an_old_one_can_be_had(pushed, micro_adapter):
    old = adapter_folder.located(PLACE)
    pointadapt.push(micro_adapter, PLACE, licence="cc-by-4.0")
    assert adapter_folder.located(PLACE) != old
    assert adapter_folder.located(f"{PLACE}@{old.name}") == old


def test_without_a_network_the_copy_is_used(pushed, monkeypatch, capsys):
    folder = adapter_folder.located(PLACE)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    capsys.readouterr()
    assert adapter_folder.located(PLACE) == folder
    assert "using the copy that is here" in capsys.readouterr().err
    with pytest.raises(
        FetchError, match=r"^hf://someone/else: no answer from 127.0.0.1 .Connection refused"
    ):
        adapter_folder.located("hf://someone/else")
    forget()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert adapter_folder.located(PLACE) == folder
    with pytest.raises(FetchError, match=r"hf://someone/else is not in the cache .*offline mode"):
        adapter_folder.located("hf://someone/else")


def test_what_is_no_adapter_is_not_downloaded(hub):
    hub.commit("someone/words", {"model.safetensors": b"x" * 1000})
    with pytest.raises(FetchError, match=r"^hf://someone/words is no adapter: it has no adapter_c"):
        adapter_folder.located("hf://someone/words")
    peft = {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": b"x"}
    hub.commit("someone/lora", peft)
    with pytest.raises(AdapterError, match=r"someone/lora.* was written by peft itself"):
        adapter_folder.located("hf://someone/lora")
    assert not [path for path in gets(hub) if path.endswith(".safetensors")]
    assert not list(cache_dir().rglob("*.part"))


def test_bytes_that_were_changed_are_thrown_away(pushed):
    pushed.changes["adapter_model.safetensors"] = b"x" * len(
        files(pushed)["adapter_model.safetensors"]
    )
    with pytest.raises(FetchError, match="gave a file with sha256"):
        adapter_folder.located(PLACE)
    assert not list(cache_dir().rglob("*.safetensors*"))


def test_only_files_of_an_adapter_are_taken(pushed):
    more = {"backbone/../../x.safetensors": b"x", "run.py": b"x", "backbone/model.bin": b"x"}
    pushed.commit("someone/chairs", more)
    folder = adapter_folder.located(PLACE)
    assert len(list(folder.rglob("*"))) == 2


@pytest.mark.parametrize("place", ["hf://someone", "hf://a/b/c", "hf://../x", "hf://a/.."])
def test_no_address_of_an_adapter(place):
    with pytest.raises(FetchError, match="write hf://owner/name"):
        pointadapt.load(place)


def test_pushing_is_refused(hub, micro_adapter, monkeypatch, tmp_path):
    hub.commit("someone/words", {"model.bin": b"x"})
    hub.commit("someone/others", {})
    for place, fault in [
        ("someone/chairs", "write hf://owner/name"),
        (f"{PLACE}@v1", "write hf://owner/name"),
        ("hf://someone/words", "holds something else than an adapter"),
    ]:
        with pytest.raises(PointAdaptError, match=fault):
            pointadapt.push(micro_adapter, place)
    with pytest.raises(ConfigError, match="no licence that the Hub knows"):
        pointadapt.push(micro_adapter, PLACE, licence="My own!")
    with pytest.raises(AdapterError, match="does not exist"):
        pointadapt.push(tmp_path / "none", PLACE)
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    for place in (PLACE, "hf://someone/others"):
        with pytest.raises(FetchError, match=f"^{place}: the Hub refuses this .*set HF_TOKEN"):
            pointadapt.push(micro_adapter, place)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(FetchError, match=f"^{PLACE}: no answer from 127.0.0.1 .Connection refused"):
        pointadapt.push(micro_adapter, PLACE)
