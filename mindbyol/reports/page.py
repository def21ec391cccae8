"""The parts of a page that needs nothing but itself: styles and images are in it, and there are no scripts.

Every text is escaped: names of files and classes come from anywhere.
"""

import base64
from html import escape

from mindbyol.data.names import printable

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --muted: #5c6166; --line: #d9dce0; --back: #fff; --panel: #f5f6f8;
  --accent: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e3e6ea; --muted: #9aa1a9; --line: #383d43; --back: #16181b; --panel: #202327; --accent: #6cb6f0; }
  img { filter: brightness(.92); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
.sub, figcaption, dt, .card span { color: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
.card { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { font-size: .8rem; }
figure { margin: 1rem 0; overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .4rem; padding: .5rem; }
@media (max-width: 40rem) { img.wide { width: 46rem; max-width: none !important; } }
figcaption { position: sticky; left: 0; font-size: .85rem; margin-top: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--muted); font-weight: 500; }
tr.ours td { font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(7rem, 12rem) 1fr; gap: .25rem 1rem; margin: 0; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; overflow-x: auto; font-size: .82rem;
  margin: .5rem 0; }
details > summary { cursor: pointer; color: var(--accent); margin: .75rem 0; }
"""
# Whatever a name might smuggle in: no script runs, and nothing is fetched.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def text(value):
    """Any text, to stand in the page."""
    return escape(printable(value))


def paragraph(value):
    """A paragraph of plain text."""
    return f"<p>{text(value)}</p>"


def cards(facts):
    """The few numbers that matter most: {what it is: number}."""
    inner = "".join(
        f'<div class="card"><b>{text(value)}</b><span>{text(what)}</span></div>' for what, value in facts.items()
    )
    return f'<div class="cards">{inner}</div>'


def image(png, caption, width=None):
    """A picture (bytes of a PNG) with its caption; `width` is the most that it takes, in CSS pixels.

    One that may be as wide as a desktop's page stays legible on a phone, where it scrolls.
    """
    style = f' style="max-width: min(100%, {int(width)}px)"' if width else ""
    style += ' class="wide"' if not width or width >= 800 else ""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    said = text(caption)
    return f'<figure><img alt="{said}" src="{source}"{style}><figcaption>{said}</figcaption></figure>'


def facts(pairs):
    """Names with their values: {name: value}."""
    inner = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs.items())
    return f"<dl>{inner}</dl>"


def table(header, rows, ours=()):
    """A table that scrolls on its own where it is wider than the page.

    Args:
        header (list[str]): Heading of each column.
        rows (dict[str, list]): Cells by the name of the row: a text, a number, or None for an empty cell.
        ours (collection[str]): Rows that stand out.
    """
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=ours' if name in ours else ''}><td>{text(name)}</td>{''.join(map(_cell, cells))}</tr>"
        for name, cells in rows.items()
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value):
    shown = "" if value is None else value if isinstance(value, str) else f"{value:.2f}"
    return f"<td>{text(shown)}</td>"


def code(value):
    """Commands or a file, as they are; lines stay."""
    return f"<pre>{escape(chr(10).join(printable(line) for line in str(value).splitlines()))}</pre>"


def folded(title, inner):
    """Something long that opens on a click."""
    return f"<details><summary>{text(title)}</summary>{inner}</details>"


def build(title, subtitle, top, sections):
    """The page.

    Args:
        title, subtitle (str): Plain text.
        top (str): HTML under the title.
        sections (list[tuple[str, str]]): Heading, plain text, and HTML of each; those without HTML are left out.

    Returns:
        str: A whole HTML document.
    """
    body = "".join(f"<section><h2>{text(heading)}</h2>{inner}</section>" for heading, inner in sections if inner)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n"
        f'<body><main><h1>{text(title)}</h1><p class="sub">{text(subtitle)}</p>{top}{body}</main></body></html>\n'
    )
