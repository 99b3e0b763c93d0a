"""mkdocs hooks: pages that are written when the site is built, and links out of ``docs/``.

- A ``*`` in the navigation stands for all pages that match, so that adding a page is adding a file.
- ``reference/commands/`` is written from the commands.
- ``decisions/index.md`` lists the decisions by topic.
- A link from a page to a file of the repository outside ``docs/`` takes that file along, so that
  the site is whole without the repository.
- A page that would load anything from another host ends the build.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from command_pages import command_pages, index_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from tables import with_tables

COMMANDS = "reference/commands"
LIST = "<!-- list of decisions -->"
DECISIONS = "decisions"
OTHERS = "Other"  # topic of a decision that states none
ALONG = "repository"  # folder of the site for files from outside docs/
LOADED = re.compile(
    r"""<(?:script|img|iframe|link rel="?stylesheet"?)[^>]*(?:src|href)="?(https?://[^"\s>]+)"""
)
LINK = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+)(#[^)\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Expand the navigation's marks."""
    docs = Path(config.docs_dir)
    marks = {
        f"{DECISIONS}/*": lambda: decisions(docs),
        f"{COMMANDS}/*": lambda: [f"{COMMANDS}/{name}.md" for name in command_pages()],
    }
    config.nav = _expanded(config.nav or [], marks)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the commands, and the files that pages link to outside ``docs/``."""
    pages = {**command_pages(), "index": index_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"{COMMANDS}/{name}.md", content=text))
    docs = Path(config.docs_dir)
    for file in list(files.documentation_pages()):
        place = Path(file.src_uri).parent
        for path in outside(docs, place, file.content_string):
            uri = f"{ALONG}/{path.relative_to(docs.parent)}"
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Write the tables, and point links that leave ``docs/`` to the file that was taken along."""
    docs, place = Path(config.docs_dir), Path(page.file.src_uri).parent
    up = "../" * len(place.parts)

    def rewritten(found: re.Match[str]) -> str:
        path = _target(docs, place, found[1])
        if path is None:
            return found[0]
        return f"{up}{ALONG}/{path.relative_to(docs.parent)}{found[2] or ''}"

    if LIST in markdown:
        markdown = markdown.replace(LIST, decision_list(docs))
    return LINK.sub(rewritten, with_tables(markdown))


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that loads something from another host."""
    foreign = LOADED.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads {foreign[1]}: the site must work offline")
    return output


def outside(docs: Path, place: Path, text: str) -> list[Path]:
    """The files outside ``docs`` that a page in the folder ``place`` of it links to."""
    found = (_target(docs, place, link[1]) for link in LINK.finditer(text))
    return [path for path in found if path is not None]


def _target(docs: Path, place: Path, link: str) -> Path | None:
    path = (docs / place / link).resolve()
    inside = path.is_relative_to(docs.resolve())
    return None if inside or not path.is_file() else path


def decisions(docs: Path) -> list[Any]:
    """The navigation of the decisions: topics with their pages, as each page's head states it."""
    topics: dict[str, list[str]] = defaultdict(list)
    for path in sorted((docs / DECISIONS).glob("*.md")):
        if path.name != "index.md":
            topics[topic_of(path.read_text(encoding="utf-8"))].append(f"{DECISIONS}/{path.name}")
    return [{topic: topics[topic]} for topic in sorted(topics, key=lambda t: (t == OTHERS, t))]


def decision_list(docs: Path) -> str:
    """The decisions by topic, each a link with its title."""
    lines: list[str] = []
    for topics in decisions(docs):
        for topic, pages in topics.items():
            lines += ["", f"## {topic}", ""]
            for page in pages:
                title = re.search(
                    r"^# (.+)$", (docs / page).read_text(encoding="utf-8"), re.MULTILINE
                )
                lines.append(f"- [{title[1] if title else page}]({Path(page).name})")
    return "\n".join(lines)


def topic_of(text: str) -> str:
    """The ``topic`` in the YAML head of a page."""
    head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return str((yaml.safe_load(head[1]) or {}).get("topic", OTHERS)) if head else OTHERS


def _expanded(items: list[Any], marks: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            found.append({
                title: _expanded(value, marks) if isinstance(value, list) else value
                for title, value in item.items()
            })  # fmt: skip
        elif item in marks:
            found += marks[item]()
        else:
            found.append(item)
    return found
