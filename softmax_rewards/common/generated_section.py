"""The generated section of a document: what stands between two markers."""


def replace(text: str, begin: str, end: str, section: str) -> str:
    """`text` with `section` between the marker `begin` and the next `end`. ValueError unless `begin` stands once."""
    before, rest = text.split(begin)
    return f"{before}{begin}\n{section}{end}{rest.partition(end)[2]}"
