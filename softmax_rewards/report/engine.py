"""A papermill engine that runs a notebook's cells in this process.

papermill's own engine starts a Jupyter kernel for each notebook. That is a second Python, which imports the same
libraries again: half of a page's time.
"""

import io
from contextlib import redirect_stdout
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.engines import Engine
from traitlets import Type
from traitlets.config import Config

NAME = "in-process"


class _Results(DisplayHook):
    """Keeps the value of a cell's last line."""

    shell: Any  # a `_Shell`

    def write_output_prompt(self) -> None:
        """Print no "Out[1]:"."""

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        """Keep a value in the formats that it has: PNG, HTML, plain text."""
        count = self.shell.counted
        output = new_output("execute_result", data=format_dict, metadata=md_dict or {}, execution_count=count)
        self.shell.outputs.append(output)

    def finish_displayhook(self) -> None:
        """Print no line break."""
        self._is_active = False


class _Display(DisplayPublisher):
    """Keeps what a cell shows with IPython's `display`."""

    shell: Any  # a `_Shell`

    def publish(self, data: Any, metadata: Any = None, source: Any = None, **others: Any) -> None:
        """Keep one shown object; the other arguments are for screens that change an output later."""
        self.shell.outputs.append(new_output("display_data", data=data, metadata=metadata or {}))


class _Shell(InteractiveShell):
    """An IPython shell whose output is kept as a notebook keeps it."""

    displayhook_class = Type(_Results)
    display_pub_class = Type(_Display)

    def run(self, code: str) -> tuple[int, list[NotebookNode], bool]:
        """Run the code of a cell. Returns its number, its outputs, and whether it succeeded."""
        self.outputs: list[NotebookNode] = []
        self.counted = self.execution_count
        # Warnings of libraries, on standard error, belong into the log of the job and not into the page.
        with redirect_stdout(_Stream(self.outputs)):
            result = self.run_cell(code, store_history=True)
        return self.counted, self.outputs, result.success

    def enable_gui(self, gui: str | None = None) -> None:
        """Start no loop of events: figures are images."""

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.outputs.append(new_output("error", ename=etype.__name__, evalue=str(evalue), traceback=stb))


class _Stream(io.TextIOBase):
    """Standard output of a cell; texts that follow each other become one output."""

    def __init__(self, outputs: list[NotebookNode]) -> None:
        self._outputs = outputs

    def write(self, text: str) -> int:
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == "stdout":
            last["text"] += text
        elif text:
            self._outputs.append(new_output("stream", name="stdout", text=text))
        return len(text)


class InProcess(Engine):
    """Runs all cells in a new IPython shell, up to the first cell that fails."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
        """Called by papermill. `nb_man.nb` is the notebook, whose cells get their outputs here."""
        InteractiveShell.clear_instance()
        quiet = Config(HistoryManager={"enabled": False})  # no thread, and no file in the user's home
        shell = _Shell.instance(config=quiet)
        shell.enable_matplotlib("inline")  # as in a kernel: a figure of pyplot is shown, and never in a window
        try:
            for cell in nb_man.nb.cells:
                if cell.cell_type == "code":
                    cell.execution_count, cell.outputs, succeeded = shell.run(cell.source)
                    if not succeeded:
                        break  # papermill finds the error in the outputs, and raises it
        finally:
            _Shell.clear_instance()
