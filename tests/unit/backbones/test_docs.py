"""docs/backbones.md says what the tags say."""

from pathlib import Path

import pytest

from pointadapt.backbones import BACKBONES
from pointadapt.backbones.published.table import table
from pointadapt.backbones.published.tags import all_tags

DOC = Path(__file__).parents[3] / "docs/backbones.md"


@pytest.mark.skipif(not DOC.is_file(), reason="the documentation is not in this copy")
def test_the_table_is_the_registrys():
    text = DOC.read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- table -->\n")
    found, _, after = rest.partition("\n<!-- end of table -->")
    assert found == table(), "run python -m pointadapt.backbones.published.table and put it in"
    for word in (name.split("-")[0] for name in all_tags()):
        assert f"`{word}-" in found
    assert after


def test_every_tag_and_family_is_a_row():
    rows = table().splitlines()[2:]
    assert len(rows) == len(all_tags())
    assert {tag.family for tag in all_tags().values()} == set(BACKBONES)
    assert all(row.count(" | ") == 5 for row in rows)
