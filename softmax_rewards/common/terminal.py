"""Text for a terminal: text from a model, a file or a name is shown, but cannot control the terminal.

A terminal or a log may have an encoding without τ or −. `accept_all_text` has such characters written out.

python -m softmax_rewards.common.terminal LOG      print the last line of a failed job's log, and exit with 1 like it
"""

import codecs
import io
import sys
from collections.abc import Sequence
from pathlib import Path

TAIL = 65_536  # bytes at the end of a log in which its last line is searched
WRITTEN_OUT = {"τ": "tau", "σ": "sigma", "−": "-", "–": "-", "…": "...", "±": "+-", "≥": ">=", "≤": "<=", "×": "x"}
"""How characters that an encoding lacks are written; all others as "\\u2192"."""
SUBSTITUTE = "softmax_rewards.substitute"  # the name of `_substitute` among Python's error handlers


def accept_all_text() -> None:
    """Let standard output and standard error take any text, whatever their encoding is."""
    # Python would raise UnicodeEncodeError at the first character that the encoding lacks.
    codecs.register_error(SUBSTITUTE, _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SUBSTITUTE)


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(WRITTEN_OUT.get(letter, ascii(letter)[1:-1]) for letter in text), error.end


def plain(text: str) -> str:
    """`text` as one line: line breaks, escapes and other characters that do not print are written out ("\\n")."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def tail(log: Path) -> str:
    """The end of a log, at most `TAIL` bytes of it; OSError if it cannot be read."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - TAIL, 0))
        return file.read().decode("utf-8", errors="replace")


def log(stage: str, text: str) -> None:
    """Print one line of progress, "[stage] text"."""
    # One write per line, so that the lines of jobs running side by side do not mix.
    print(f"[{stage}] {text}\n", end="", flush=True)


def clock(seconds: float) -> str:
    """Seconds as "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    accept_all_text()
    (log,) = sys.argv[1:] if arguments is None else arguments
    try:
        # At line feeds only: `splitlines` would also split a message at other characters that a model wrote.
        lines = [line for line in tail(Path(log)).split("\n") if line.strip()]
    except OSError as error:
        lines = [f"{log}: cannot be read ({error.strerror})"]
    print(plain(lines[-1]) if lines else "")
    sys.exit(1)


if __name__ == "__main__":
    main()
