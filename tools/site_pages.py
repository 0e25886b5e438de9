"""Adds pages at the top of the repository to the site, and translates links for it.

MkDocs reads only `docs/`. This hook (see mkdocs.yml) adds README.md and other pages as they are, so
that each text exists once. Links are written as they work in the repository, and translated here.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

ADDED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Paths in the repository, and those on the site."""

_LINK_OR_CODE = re.compile(
    r"^ *```.*?^ *```"
    r"|\[(?P<text>[^\]]*)\]\((?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)"
    r"|`[^`]+`",
    re.DOTALL | re.MULTILINE,
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for source, page in ADDED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    return _LINK_OR_CODE.sub(lambda found: _translated(found, page, config), markdown)


def _translated(link: re.Match[str], page: Page, config: MkDocsConfig) -> str:
    """A link as the site needs it. Code stays as it is."""
    if link["path"] is None or ":" in link["path"]:
        return link[0]
    site_path = page.file.src_uri
    sources = {page: source for source, page in ADDED.items()}
    here = sources.get(site_path, f"docs/{site_path}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["path"]))
    if target in ADDED or target.startswith("docs/"):
        there = ADDED.get(target, target.removeprefix("docs/"))
        path = posixpath.relpath(there, posixpath.dirname(site_path) or ".")
        return f"[{link['text']}]({path}{link['anchor'] or ''})"
    if not (ROOT / target).exists():
        return link[0]  # MkDocs reports it
    if config.repo_url:
        return f"[{link['text']}]({config.repo_url.rstrip('/')}/blob/HEAD/{target})"
    return link["text"]
