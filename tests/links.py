"""The links of HTML pages, followed."""

from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.anchors.update(named[key] for key in ("id", "name") if named.get(key))
        if tag == "a" and named.get("href"):
            self.targets.add(named["href"])


@cache
def _page(path: Path, _modified: int) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def page(path: Path) -> _Page:
    return _page(path, path.stat().st_mtime_ns)


def dead(pages: Iterable[Path]) -> list[str]:
    """ "page -> target" of every link to a file or an anchor that does not exist; links into the web are left out."""
    broken = []
    for path in pages:
        for target in sorted(page(path).targets):
            name, _, anchor = target.partition("#")
            if "://" in name or name.startswith("mailto:"):
                continue
            file = (path.parent / unquote(name)).resolve() if name else path
            # A browser looks for an anchor as it is written, and then decoded.
            if not file.is_file() or (anchor and not {anchor, unquote(anchor)} & page(file).anchors):
                broken.append(f"{path.parent.parent.name}/{path.name} -> {target}")
    return broken
