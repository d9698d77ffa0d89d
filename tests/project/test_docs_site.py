"""The documentation as one site: everything is in the navigation, no link is dead, and nothing comes from a network."""

import os
import posixpath
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from softmax_rewards.report import docs_site

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Loader(yaml.SafeLoader):
    """YAML in which the tags of Python objects count for nothing."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def navigation(entries: list) -> Iterator[str]:
    for entry in entries:
        (value,) = entry.values()
        yield from [value] if isinstance(value, str) else navigation(value)


def test_the_navigation_has_every_document_once():
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    listed = [path for path in navigation(config["nav"]) if "#" not in path]
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted([*written, "published-reports.md", "repository/config/README.md"])


@pytest.mark.parametrize(
    ("target", "page", "meant"),
    [
        ("why.md#the-controls", "findings.md", "docs/why.md"),
        ("../LICENSE", "findings.md", "LICENSE"),
        ("docs/report/", "repository/README.md", "docs/report"),
        ("../results/README.md", "repository/config/README.md", "results/README.md"),
        ("#here", "findings.md", None),
        ("https://example.org/x.md", "findings.md", None),
    ],
)
def test_a_link_means_what_it_means_in_the_repository(target, page, meant):
    assert docs_site.goal(target, page) == meant


def test_code_has_no_links():
    text = "[`a`](x.md) `[b](y.md)` ``[`](y.md)``\n```\n[c](y.md) `\n```\n![d](z.png)"
    assert [found["target"] for found in docs_site.LINK.finditer(text) if found["target"]] == ["x.md", "z.png"]


class Tags(HTMLParser):
    """What a page loads, where it leads, and the anchors that it has."""

    def __init__(self, page: Path):
        super().__init__()
        self.loads, self.links, self.anchors, self.styles = [], [], {"", "__top"}, ""
        self.tag = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        values = dict(attributes)
        self.anchors |= {value for name, value in attributes if name in ("id", "name")}
        self.styles += values.get("style") or ""
        target = values.get(LOADED.get(tag, "href"))
        if target is not None:
            (self.loads if tag in LOADED else self.links).append(target)

    def handle_data(self, data):
        if self.tag == "style":
            self.styles += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Tags]:
    return {path.relative_to(site).as_posix(): Tags(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_no_page_loads_anything_from_a_network(site, pages):
    assert len(pages) > 50  # reports and files of the repository among them
    assert not [(name, load) for name, page in pages.items() for load in page.loads if urlsplit(load).netloc]
    styles = {name: page.styles for name, page in pages.items()}
    styles |= {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert not [
        name for name, style in styles.items() if "url(http" in style or "url(//" in style or "@import" in style
    ]


@pytest.mark.slow
def test_every_link_leads_to_a_file_and_a_place_in_it(site, pages):
    links = [
        (name, target)
        for name, page in pages.items()
        for target in page.loads + page.links
        if not urlsplit(target).scheme and not urlsplit(target).netloc
    ]
    assert len(links) > 1000
    assert not [(name, target) for name, target in links if not leads_somewhere(site, pages, name, target)]


def leads_somewhere(site: Path, pages: dict[str, Tags], name: str, target: str) -> bool:
    address = urlsplit(target)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(address.path))) if address.path else name
    anchors = pages[path].anchors if path in pages else {""}
    return (site / path).is_file() and not anchors.isdisjoint({address.fragment, unquote(address.fragment)})


@pytest.mark.slow
def test_links_out_of_the_documents_show_the_file(pages, site):
    source = site / "repository/softmax_rewards/weighting/schemes/softmax.py.html"
    assert "weights" in source.read_text(encoding="utf-8")
    assert any(link.startswith("repository/softmax_rewards/") for link in pages["schemes.html"].links)
    assert "report/countdown-mini-trap/index.html" in pages["published-reports.html"].links
    assert {"published-reports.html", "repository/config/index.html"} <= set(pages["index.html"].links)
    assert (site / "search/search_index.js").is_file()  # search that needs no server
    assert "assets/iframe-worker.js" in pages["index.html"].loads
