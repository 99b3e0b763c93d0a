"""docs/backbones.md says what the tags say: its table is written when the pages are built."""

import runpy
from pathlib import Path

import pytest

from pointadapt.backbones.published import tags
from pointadapt.backbones.published.table import table
from pointadapt.backbones.published.tags import all_tags

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not in this copy")
def test_the_page_has_a_row_for_every_tag():
    write = runpy.run_path(str(ROOT / "tools/docs/tables.py"))["with_tables"]
    text = (DOCS / "backbones.md").read_text(encoding="utf-8")
    page = write(text)
    assert table() in page and table() not in text
    assert "<!--" not in page
    assert write("Another page.") == "Another page."


def test_a_new_tag_is_a_row(monkeypatch):
    url = "https://example.org/w.pth"
    new = tags.Tag(
        "new-small", "point_vit", "small", "A paper", "MIT", url, url, parameters=7 * 10**6
    )
    monkeypatch.setitem(tags.TAGS, new.name, new)
    rows = table().splitlines()[2:]
    assert len(rows) == len(all_tags())
    assert all(row.count(" | ") == 5 for row in rows)
    (row,) = (row for row in rows if "new-small" in row)
    how = f"[file]({url}), [page]({url})"
    assert row == f"| `new-small` | 7.0 M | not known | MIT | {how} | nothing |"
