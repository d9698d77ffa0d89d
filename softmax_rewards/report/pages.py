"""The report: a notebook executed by papermill, and the self-contained page made from it."""

from pathlib import Path
from typing import Any

from softmax_rewards.common import files
from softmax_rewards.report import header

# nbconvert's "lab" page without its three scripts (require.js, MathJax, Mermaid), which it loads from the network, and
# without its 300 kB of JupyterLab styles. The page needs no network and runs no script.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block notebook_css -%}
<style>
  body { font: 16px/1.55 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0; }
  main { max-width: 66rem; margin: 0 auto; padding: 1.5rem; }
  h1 { font-size: 1.9rem; line-height: 1.2; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d0d7de; }
  p, li { max-width: 46rem; } a { color: #0a58a5; } a.anchor-link { display: none; }
  img { max-width: 100%; height: auto; } code { background: #f3f4f6; padding: 0 .25em; }
  .jp-OutputArea { overflow-x: auto; }
  /* On a narrow screen a figure scrolls, so that its text stays readable. */
  @media (max-width: 700px) {
    .jp-OutputArea img { max-width: 36rem; }
    .jp-OutputArea:has(img, table)::before { content: "scroll sideways →"; color: #57606a; font-size: .75rem; }
  }
  table { border-collapse: collapse; margin: 1rem 0; font-size: .84rem; font-variant-numeric: tabular-nums; }
  th, td { padding: .25rem .55rem; border-bottom: 1px solid #e4e7eb; text-align: left; vertical-align: top; }
  thead th { border-bottom: 2px solid #8c959f; }
  td:first-child { white-space: nowrap; } td:nth-child(2):not(:has(.number)) { min-width: 9rem; }
  .number { display: block; text-align: right; white-space: nowrap; }
  td pre { margin: 0; white-space: pre-wrap; word-break: break-word; font-size: .8rem; }
  header { border-bottom: 2px solid #8c959f; font-size: .9rem; padding-bottom: .6rem; }
  header p { max-width: none; margin: .2rem 0; color: #57606a; }
  nav a, nav b { display: inline-block; margin-right: .9rem; line-height: 1.9; }
  summary { cursor: pointer; color: #0a58a5; }
  .answer dt { font-weight: 600; margin-top: .7rem; } .answer dd { margin: 0; max-width: 46rem; }
  @media (max-width: 40rem) { main { padding: .8rem; } h1 { font-size: 1.4rem; } }
  @media (max-width: 40rem) { td:first-child { white-space: normal; } }
  .puzzle div { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .6rem; }
  .puzzle article { border: 1px solid #d0d7de; border-radius: .3rem; padding: .1rem .7rem; }
  .puzzle pre { white-space: pre-wrap; overflow-wrap: anywhere; } .prompt { font-weight: 600; }
  .supported { color: #00644a; font-weight: 600; } .contradicted { color: #a03c00; font-weight: 600; }
  .unresolved { color: #57606a; } .jp-RenderedText pre { white-space: pre-wrap; }
</style>
{%- endblock -%}
{%- block body_header -%}
<body class="jp-Notebook"><main>{{ resources.header }}
{%- endblock -%}
{%- block data_png -%}
<img alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}"
     width="{{ output | get_metadata('width', 'image/png') | escape_html }}"
     src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}">
{%- endblock -%}
"""


def execute(notebook: Path, output: Path, html: Path, parameters: dict[str, Any], log: Path) -> None:
    """Execute `notebook` with `parameters` in the current directory; write the executed copy and its page.

    The cells run in this process, in an IPython shell of their own. If a cell fails, papermill writes the cells up to
    it to `log` with the traceback, and neither `output` nor `html` is written. The copy has no paths of this machine
    and no timings, so equal tables give equal notebooks. The copy keeps the code; the page hides it.

    Raises RuntimeError naming the notebook, the failing cell, its error and `log`.
    """
    import papermill
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError

    from softmax_rewards.report import engine

    papermill_engines.register(engine.NAME, engine.InProcess)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with files.writing(log):
            executed = papermill.execute_notebook(
                notebook,
                log,
                parameters=parameters,
                cwd=Path.cwd(),
                engine_name=engine.NAME,
                progress_bar=False,
                request_save_on_cell_execute=False,  # else the whole notebook is written twice for each cell
            )
    except PapermillExecutionError as error:
        reason = (error.evalue or "").strip().split("\n")[0]
        raise RuntimeError(
            f"{notebook}: cell {error.cell_index} failed with {error.ename}: {reason} (traceback in {log})"
        ) from None
    _strip(executed)
    page = _page(executed, header.title(notebook.stem, parameters), header.header(notebook.stem, parameters))
    files.write_text(page, html)
    files.write_text(_dump(executed), output)
    log.unlink()


def _strip(notebook: Any) -> None:
    """Remove the paths and times that papermill and the kernel recorded."""
    notebook.metadata.pop("papermill", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # papermill's own cell gets a random one
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)


def _page(notebook: Any, title: str, top: str) -> str:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        raw_template=_TEMPLATE,
        mathjax_url="",
        require_js_url="",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}, "header": top})
    return page


def _dump(notebook: Any) -> str:
    import nbformat

    return nbformat.writes(notebook) + "\n"
