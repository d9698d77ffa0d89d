"""The documentation as one site: what mkdocs, called by `make docs`, does besides rendering `docs/`.

The documents link to files of the repository that lie outside `docs/`. Each of these gets a page of the site, below
`repository/`: a document is rendered, any other file is shown as text, and of a folder the names are listed. So nothing
is copied by hand, and no link is dead. mkdocs calls the functions whose names begin with `on_`.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

OUTSIDE = "repository/"
REPORTS = "published-reports.md"
# Code, of which nothing is a link; or the target of a link.
LINK = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)|(?<=\]\()(?P<target>[^)\s]+)(?=\))", re.DOTALL)
REPORTS_HEAD = """\
# Published reports

Each page was executed on the runs in [the archive](../results/archive/). Begin with *index*. The
[configuration](../config/README.md#the-experiments-here) says what each experiment is for. `overview` has the verdicts
of several side by side.

| experiment | pages | table |
|---|---|---|
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out the pages that only a server can use: the map for search engines, and the answer to a wrong address."""
    config.theme.static_templates.clear()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the list of published reports, and a page for every file outside `docs/` that a document links to."""
    root = Path(config.docs_dir).parent
    files.append(File.generated(config, REPORTS, content=list_reports(root)))
    pending = list(files.documentation_pages())
    while pending:
        document = pending.pop()
        goals = (goal(found["target"], document.src_uri) for found in LINK.finditer(document.content_string))
        for path in goals:
            if path is None or path.startswith(("docs/", "..")) or not (root / path).exists():
                continue  # mkdocs itself warns of a link to nothing
            uri = place_in_site(path, root)
            if uri not in files.src_uris:
                content = page_of(path, root)
                files.append(File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
                pending.append(files.src_uris[uri])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let every link lead to a page of the site."""
    uri = page.file.src_uri

    def replace(found: re.Match[str]) -> str:
        path = goal(found["target"], uri)
        if path is None:
            return found[0]
        place = posixpath.relpath(place_in_site(path, Path(config.docs_dir).parent), posixpath.dirname(uri) or ".")
        return place + found["target"].removeprefix(found["target"].partition("#")[0])

    return LINK.sub(replace, markdown)


def goal(target: str | None, uri: str) -> str | None:
    """The file or folder, relative to the repository, that a link in page `uri` of the site means.

    None for code, an address in the web and a place in the same page.
    """
    path = (target or "").partition("#")[0]
    if not path or "://" in path:
        return None
    page = uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else f"docs/{uri}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def place_in_site(path: str, root: Path) -> str:
    """The page that shows a file or folder. `path` is relative to the repository, the page to the site."""
    if path == "docs/report":
        return REPORTS
    if not path.startswith("docs/"):
        return OUTSIDE + (path if path.endswith(".md") else f"{path}.md")
    if pages := pages_of(root / path):  # a published report; a browser shows a folder as the names of its files
        path = f"{path}/{pages[0]}"
    return path.removeprefix("docs/")


def page_of(path: str, root: Path) -> str:
    """The Markdown of the page that shows a file or folder from outside `docs/`."""
    file = root / path
    if file.is_dir():
        text, language = "\n".join(sorted(entry.name for entry in file.iterdir())), "text"
    else:
        text, language = file.read_text(encoding="utf-8"), file.suffix.removeprefix(".") or "text"
    if language == "md":
        return text
    fence = "`" * 8  # longer than any inside a file
    return f"---\nhide: [toc]\nsearch: {{exclude: true}}\n---\n# `{path}`\n\n{fence}{language}\n{text}\n{fence}\n"


def list_reports(root: Path) -> str:
    """The page that lists the folders of `docs/report`, each with its pages and its verdicts."""
    rows = []
    for folder in sorted(page.parent for page in (root / "docs/report").glob("*/verdicts.csv")):
        links = ", ".join(f"[{Path(name).stem}](report/{folder.name}/{name})" for name in pages_of(folder))
        rows.append(f"| `{folder.name}` | {links} | [verdicts](report/{folder.name}/verdicts.csv) |")
    return REPORTS_HEAD + "\n".join(rows)


def pages_of(report: Path) -> list[str]:
    """The names of a report's pages, beginning with `index.html`."""
    return sorted((page.name for page in report.glob("*.html")), key=lambda name: (name != "index.html", name))
