"""Published weights into the cache, from a real server and a make-believe Hub, both on loopback."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pointadapt.adapters import folder as adapter_folder
from pointadapt.adapters.convert import convert
from pointadapt.adapters.model import Adapter, PointModel
from pointadapt.backbones.published import tags
from pointadapt.cli.listing import backbones
from pointadapt.cli.main import main
from pointadapt.core.errors import (
    AdapterError,
    ConfigError,
    FetchError,
    PointAdaptError,
    UnknownNameError,
)
from pointadapt.methods import make_method
from pointadapt.pretrained import cache
from pointadapt.pretrained.fetch import by_hand, fetch
from pointadapt.pretrained.hf_hub import locate
from pointadapt.pretrained.load import load_backbone
from pointadapt.tasks import make_task


@pytest.fixture(scope="session")
def published(bare_backbone, tmp_path_factory):
    """A look-alike of Point-MAE's pre-training file; 24 wide."""
    tensors = load_backbone(bare_backbone("point_vit")).state_dict()
    state = {f"module.MAE_encoder.{k}": v for k, v in tensors.items() if not k.startswith("cls_")}
    state["module.MAE_decoder.norm.weight"] = torch.ones(24)
    path = tmp_path_factory.mktemp("published") / "pretrain.pth"
    torch.save({"base_model": state}, path)
    return path


@pytest.fixture
def source(site, published):
    site.content = published.read_bytes()
    site.sha256 = hashlib.sha256(site.content).hexdigest()
    return site


@pytest.fixture
def tag(source, monkeypatch):
    """Enters the tag "micro" of a file at the source; values may be changed."""

    def enter(**values):
        given = {
            "family": "point_vit", "size": "micro", "source": "made up for a test",
            "licence": "MIT", "url": f"{source.url}/pretrain.pth", "page": "https://example.com/p",
            **values,
        }  # fmt: skip
        own = tags.Tag(name="micro", **given)
        monkeypatch.setitem(tags.TAGS, "micro", own)
        return own

    return enter


def tree():
    """Every file in the cache, without the locks."""
    top = cache.cache_dir()
    files = (p for p in top.rglob("*") if p.is_file() and "locks" not in p.parts)
    return sorted(str(p.relative_to(top)) for p in files)


WHOLE = [f"backbones/micro/{name}" for name in ("config.json", "fetch.json", "model.safetensors")]
SLOW = 300  # seconds that a second process may take on a machine busy with other things
LINE = "by hand: download the file from "


# --- a tag


def test_a_tag_is_fetched_once_and_is_the_backbone_that_convert_writes(
    tag, source, published, tmp_path
):
    tag()
    convert(published, tmp_path / "by_hand")
    want = load_backbone(tmp_path / "by_hand/backbone")
    done = fetch("micro")
    assert (done["new"], done["file_sha256"]) == (True, source.sha256)
    assert done["checksum"] == "not known before; noted here"
    assert tree() == WHOLE
    net = load_backbone("micro")
    assert net.fingerprint == want.fingerprint == done["backbone_sha256"]
    assert fetch("micro")["new"] is False
    assert len(source.log) == 1
    assert load_backbone("micro", groups=5).config.groups == 5


def test_load_backbone_fetches_what_is_not_there(tag, source, capsys):
    tag(sha256=source.sha256)
    load_backbone("micro")
    assert tree() == WHOLE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "micro: licence MIT"
    assert lines[1].startswith("fetching micro from http://127.0.0.1")
    assert json.loads((cache.cache_dir() / WHOLE[1]).read_text())["checksum"] == "as published"


def test_again_fetches_anew_over_the_old(tag, source):
    tag()
    fetch("micro")
    (cache.cache_dir() / WHOLE[2]).write_bytes(b"damaged")
    assert fetch("micro", again=True)["new"] is True
    load_backbone("micro")
    assert tree() == WHOLE
    assert len(source.log) == 2


def test_a_checksum_learned_later_replaces_what_does_not_fit_it(tag, source):
    tag()
    fetch("micro")
    source.content += b"\0"  # zip files may have a tail
    tag(sha256=hashlib.sha256(source.content).hexdigest())
    assert cache.cached(tags.find_tag("micro")) is None
    assert fetch("micro")["new"] is True


def test_an_adapter_names_the_tag_and_finds_it_anywhere(tag, source, tmp_path):
    tag()
    net, task = load_backbone("micro"), make_task("classification")
    model = PointModel(net, Adapter(net, make_method("norm"), task, ("a", "b"), ("cls",)))
    adapter_folder.save_adapter(model, tmp_path / "adapter", backbone="micro", points=64)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["backbone"]["name"] == "micro"
    os.rename(cache.cache_dir(), tmp_path / "elsewhere")
    adapter_folder.load(tmp_path / "adapter")
    assert len(source.log) == 2


# --- where it cannot be had


def fails(name, match, **options):
    with pytest.raises(PointAdaptError, match=match) as caught:
        fetch(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("how", ["option", "POINTADAPT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_uses_the_cache_alone(tag, source, how, monkeypatch):
    tag()
    options = {"offline": True} if how == "option" else {}
    if not options:
        monkeypatch.setenv(how, "1")
    text = fails("micro", "offline mode is on", **options)
    assert text.endswith(
        f"{LINE}{source.url}/pretrain.pth or from the page https://example.com/p, "
        "then: pointadapt fetch micro --file FILE"
    )
    assert source.log == []
    assert not cache.cache_dir().exists()
    fetch("micro", offline=False)
    assert fetch("micro", **options)["new"] is False


def test_a_file_that_a_person_downloaded(tag, source, published, tmp_path):
    own = tag(url="", sha256=source.sha256)
    text = fails("micro", "micro has no address that a program can read")
    assert text.endswith(by_hand(own))
    assert "from the page https://example.com/p, then: pointadapt fetch micro --file" in text
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"PK\3\4 something else")
    fails("micro", r"wrong\.pth is not micro: its sha256 is", file=wrong)
    fails("micro", "does not exist", file=tmp_path / "none.pth")
    assert tree() == []
    assert fetch("micro", file=published, offline=True)["new"] is True
    assert published.exists()
    load_backbone("micro")


def test_no_network(tag):
    tag(url="http://127.0.0.1:1/pretrain.pth")
    text = fails("micro", r"^cannot fetch micro: no answer from 127\.0\.0\.1 \(Connection refused")
    assert f"{LINE}http://127.0.0.1:1/pretrain.pth or from the page" in text
    assert tree() == []


def test_wrong_bytes(tag, source):
    tag(sha256="0" * 64)
    fails("micro", f"gave a file with sha256 {source.sha256}, not 0000")
    assert tree() == []


def test_a_file_that_is_no_backbone_is_not_kept_to_fail_again(tag, source):
    tag()
    source.content = b"not a checkpoint"
    fails("micro", "pretrain.pth gave is thrown away: .* is no checkpoint")
    assert tree() == []


def test_a_right_file_that_cannot_be_read_is_kept_for_a_later_version(tag, source):
    source.content = b"not a checkpoint"
    tag(sha256=hashlib.sha256(source.content).hexdigest())
    fails("micro", "is no checkpoint")
    assert tree() == ["downloads/micro/pretrain.pth"]


def test_a_fine_tuned_file_is_no_backbone(tag, tmp_path):
    import numpy as np

    tag()
    with np.load(Path(__file__).parents[2] / "golden/ft_small_state.npz") as file:
        state = {k: torch.from_numpy(file[k]) for k in file.files}
    torch.save({"base_model": state}, tmp_path / "tuned.pth")
    fails("micro", "fine-tuned model, not a pre-trained backbone", file=tmp_path / "tuned.pth")
    assert tree() == []


def test_a_file_of_another_size_is_not_the_tag(tag, source, published):
    tag(url="", parameters=21_825_792)
    fails(
        "micro",
        r"pretrain\.pth is not micro: it has [\d,]+ parameters, not 21,825,792",
        file=published,
    )
    assert tree() == []


def test_unknown_names_and_values(tag):
    tag()
    with pytest.raises(UnknownNameError, match="did you mean 'micro'"):
        fetch("mikro")
    with pytest.raises(UnknownNameError, match="did you mean 'micro'"):
        load_backbone("mikro")
    with pytest.raises(ConfigError, match="timeout must be above 0"):
        fetch("micro", timeout=0)


# --- an address


def test_an_address_is_fetched_like_a_tag(source):
    name = f"{source.url}/some%20dir/best%2Bfile.pth?download=1"
    done = fetch(name)
    assert Path(done["folder"]).name.startswith("best-file-")
    load_backbone(name)
    assert len(source.log) == 1
    other = fetch(f"{source.url}/best+file.pth")
    assert other["folder"] != done["folder"]


def test_an_adapter_cannot_send_this_machine_to_an_address(source, micro_backbone, tmp_path):
    net, task = load_backbone(micro_backbone), make_task("classification")
    model = PointModel(net, Adapter(net, make_method("norm"), task, ("a", "b"), ("cls",)))
    name = f"{source.url}/pretrain.pth"
    adapter_folder.save_adapter(model, tmp_path / "adapter", backbone=name, points=64)
    with pytest.raises(AdapterError, match="pass --backbone http://127"):
        adapter_folder.load(tmp_path / "adapter")
    assert source.log == []


@pytest.mark.parametrize("name", ["hf://owner", "hf://owner/repo", "hf:///x/y"])
def test_an_incomplete_address(name):
    fails(name, "write hf://owner/repository/file")


# --- the Hub


@pytest.fixture
def hugging_face(source, monkeypatch):
    """A Hub that answers with a redirect to its store of large files, as the real one does."""
    monkeypatch.setenv("HF_ENDPOINT", source.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def script(*steps):
        # Newer clients ask the Hub another thing, once in a process: that is done here.
        with contextlib.suppress(FetchError):
            locate("hf://owner/repo/warm-up", 1.0)
        source.log.clear()
        source.tokens.clear()
        source.asked = lambda: [row[:2] for row in source.log if not row[1].startswith("/api/")]
        source.script = list(steps)
        return source

    return script


FILE = "/owner/repo/resolve/main/sub/pretrain.pth"


def test_from_the_hub(tag, hugging_face):
    tag(url="hf://owner/repo/sub/pretrain.pth")
    site = hugging_face("hub", "hub", ("break", 9000), "hub")
    done = fetch("micro")
    assert site.asked() == [("HEAD", FILE), *[("GET", FILE), ("GET", "/cdn")] * 2]
    assert site.log[-1][2] == "bytes=9000-"
    assert site.tokens == ["Bearer hf_secret", *["Bearer hf_secret", None] * 2]
    assert done["checksum"] == "as the Hugging Face Hub states"
    assert tree() == WHOLE
    load_backbone("micro")


def test_a_revision_of_the_hub(hugging_face):
    site = hugging_face("hub", "hub")
    assert fetch("hf://owner/repo@v1/pretrain.pth")["new"] is True
    assert site.asked()[0] == ("HEAD", "/owner/repo/resolve/v1/pretrain.pth")


@pytest.mark.parametrize("known", [True, False])
def test_wrong_bytes_from_the_hub(tag, hugging_face, known):
    tag(url="hf://owner/repo/pretrain.pth", sha256="0" * 64 if known else "")
    site = hugging_face("hub", "hub", "other")
    fails("micro", "gave a file with sha256 .*thrown away; by hand")
    assert len(site.asked()) == 3
    assert tree() == []


@pytest.mark.parametrize("code", ["EntryNotFound", "RepoNotFound", "RevisionNotFound"])
def test_nothing_there_on_the_hub(tag, hugging_face, code):
    tag(url="hf://owner/repo/pretrain.pth")
    site = hugging_face(("hub_lacks", code))
    fails("micro", "^cannot fetch micro: .*404.*hf auth login.*by hand: download")
    assert len(site.asked()) == 1


def test_a_hub_in_trouble_is_asked_again(tag, hugging_face):
    tag(url="hf://owner/repo/pretrain.pth")
    hugging_face(("status", 500), ("status", 503), "hub")
    assert fetch("micro")["checksum"] == "not known before; noted here"


def test_no_way_to_the_hub(tag, monkeypatch):
    tag(url="hf://owner/repo/pretrain.pth")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    fails("micro", "^cannot fetch micro: .*no answer from 127.0.0.1 .Connection refused.; by hand")


# --- several processes, killed ones, bad disks


def start(site, code):
    """Another process that fetches "micro" from ``site`` after running ``code``."""
    program = (
        "import os, signal; from pointadapt.pretrained import cache\n"
        "from pointadapt.pretrained.fetch import fetch\n"
        "from pointadapt.backbones.published.tags import Tag, add_tags\n"
        f"url = '{site.url}/pretrain.pth'\n"
        "add_tags(Tag('micro', 'point_vit', 'micro', 'made up', 'MIT', url))\n"
        f"{code}\nprint(fetch('micro')['new'])"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_download_once(tag, source):
    tag()
    source.script = ["gate"]
    other = start(source, "")
    assert source.arrived.wait(SLOW)
    done = {}
    mine = threading.Thread(target=lambda: done.update(fetch("micro")))
    mine.start()
    mine.join(0.3)
    assert mine.is_alive()  # it waits for the lock
    source.go.set()
    mine.join(SLOW)
    assert other.communicate(timeout=SLOW)[0] == "True\n"
    assert done["new"] is False
    assert len(source.log) == 1
    assert tree() == WHOLE


def test_killed_just_before_the_backbone_is_in_place(tag, source):
    tag()
    other = start(source, "cache.put = lambda *a: os.kill(os.getpid(), signal.SIGKILL)")
    assert other.communicate(timeout=SLOW)[0] == ""
    assert other.returncode == -signal.SIGKILL
    assert "downloads/micro/pretrain.pth" in tree()
    assert cache.cached(tags.find_tag("micro")) is None
    assert fetch("micro")["new"] is True
    assert len(source.log) == 1  # what had come was used
    assert tree() == WHOLE


def test_a_cache_that_cannot_be_written_serves_what_is_in_it(tag, source, mount, monkeypatch):
    disk = mount("size=4m")
    monkeypatch.setenv("POINTADAPT_CACHE", str(disk / "cache"))
    own = tag()
    fetch("micro")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert fetch("micro")["new"] is False
    load_backbone("micro")
    monkeypatch.setitem(tags.TAGS, "other", tags.Tag("other", "", "", "", "", url=own.url))
    fails("other", "cannot write the cache .*Read-only file system.*: set POINTADAPT_CACHE")


def test_a_cache_below_a_file(tag, tmp_path, monkeypatch):
    tag()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "file/cache"))
    fails("micro", "cannot write the cache .*Not a directory.*: set POINTADAPT_CACHE")


def test_a_disk_that_is_full_when_the_file_is_converted(tag, source, mount, monkeypatch):
    kib = len(source.content) // 1024
    disk = mount(f"size={kib + 24}k")
    monkeypatch.setenv("POINTADAPT_CACHE", str(disk / "cache"))
    tag()
    fails("micro", "cannot write .*No space left on device")
    assert tree() == ["downloads/micro/pretrain.pth"]
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert fetch("micro")["new"] is True
    assert len(source.log) == 1


# --- where the cache is, and what the command line says


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("POINTADAPT_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir() == tmp_path / "xdg/pointadapt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_dir() == tmp_path / "home/.cache/pointadapt"


def test_the_command(tag, source, capsys):
    tag()
    assert main(["fetch", "micro", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["new"], done["licence"], done["tag"]) == (True, "MIT", "micro")
    assert main(["fetch", "micro", "--offline"]) == 0
    out = capsys.readouterr().out
    assert "micro: in the cache" in out
    assert "pointadapt train --backbone micro --data folder --root DIR" in out


def test_the_list_says_what_is_in_the_cache(tag):
    def state():
        return next(row["weights"] for row in backbones() if row["name"] == "micro")

    tag(url="")
    assert state() == "published, to fetch by hand"
    tag()
    assert state() == "published, to fetch"
    fetch("micro")
    assert state() == "published, in the cache"
