"""The documentation site builds without warnings and documents every public name."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import langgraph_redis_json
from langgraph_redis_json import AsyncRedisSaver, RedisSaver

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    # A broken link is a warning, which --strict turns into an error (but --quiet hides from it).
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return directory


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """The full names in the API reference, such as "langgraph_redis_json.RedisSaver.put"."""
    page = (site / "reference" / "index.html").read_text(encoding="utf-8")
    return set(re.findall(r'<h\d id="(langgraph_redis_json\.[^"]*)"', page))


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
def test_the_reference_has_all_methods(saver: type, documented: set[str]) -> None:
    names = {
        getattr(member, "__name__", name)
        for name, member in vars(saver).items()
        # bridges.py makes the methods of the other kind. The docstring of the class has these.
        if not name.startswith("_") and inspect.getdoc(member) and not is_bridged(member)
    }
    assert len(names) > 15
    assert {f"langgraph_redis_json.{saver.__name__}.{name}" for name in names} <= documented


def is_bridged(member: object) -> bool:
    return hasattr(member, "__wrapped__")


def test_the_reference_has_all_public_names(documented: set[str]) -> None:
    last_parts = {name.rpartition(".")[2] for name in documented}
    names = {*langgraph_redis_json.__all__, "EmbeddedRedis"} - {"__version__"}
    assert names <= last_parts


def test_links_between_the_readme_and_the_docs_work_on_the_site(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="search/"' in page
    assert 'href="acl.conf"' in page
    assert "docs/search.md" not in re.findall(r'href="([^"]*)"', page)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="([^"]*)"', page)
        assert loaded
        assert [url for url in loaded if url.startswith(("http:", "https:", "//"))] == []
