"""A sweep's report as one HTML page: no script, no reference to anything, every text escaped, and a policy that lets a
browser do nothing but show it. Light or dark as the reader's system is.
"""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Final

from whet_server.sweep.plots import svg
from whet_server.sweep.report import Block, Figure, Quote, Report, Table, Words

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d2330;--paper:#fdfdfb;--faint:#d9dbe0;
--line:#2f6fb0;--best:#b3541e;--front:#2c8a57}
@media(prefers-color-scheme:dark){:root{--ink:#e4e6eb;--paper:#15181e;--faint:#343a46;
--line:#7fb2e5;--best:#f0a06a;--front:#74cf9b}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1rem}
h1,h2,h3{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid var(--faint)}
.scroll{overflow-x:auto;margin:.5rem 0 1rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.2rem .9rem .2rem 0;
border-bottom:1px solid var(--faint);max-width:22rem}
.wide th,.wide td{white-space:nowrap;max-width:none}
pre{white-space:pre-wrap;overflow-wrap:anywhere;
border-left:3px solid var(--faint);padding-left:.8rem;margin:.3rem 0 1rem}
figure{margin:1.5rem 0}figcaption{font-size:.9rem}svg{width:100%;height:auto}
svg text{fill:var(--ink);font-size:11px}.grid{stroke:var(--faint)}
.steps{fill:none;stroke:var(--line);stroke-width:2}
.point{fill:var(--line);fill-opacity:.55}.best{fill:var(--best);fill-opacity:1}
.front{fill:var(--front);fill-opacity:1}.bar{fill:var(--line)}
.baseline{fill:var(--paper);stroke:var(--ink);fill-opacity:1;stroke-width:2}
.simulated{border:2px solid var(--best);padding:.3rem .8rem}
"""
_WIDE: Final = 5
"""Columns; a table with more scrolls instead of breaking its cells."""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def html(report: Report) -> str:
    """Write it."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = escape(report.title)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>"
    simulated = ' <strong class="simulated">Simulated</strong>' if report.simulated else ""
    yield f"<p>Sweep <code>{escape(report.run_id)}</code>{simulated}</p>"
    for place, section in enumerate(report.sections):
        yield f"<section>\n<h2>{escape(section.title)}</h2>"
        for number, block in enumerate(section.blocks):
            yield from _block(block, f"f{place}-{number}")
        yield "</section>"
    yield "</main>\n</body>\n</html>"


def _block(block: Block, ident: str) -> Iterator[str]:
    match block:
        case Words():
            text = escape(block.text)
            yield f"<p><strong>{text}</strong></p>" if block.strong else f"<p>{text}</p>"
        case Table():
            yield _table(block)
        case Quote():
            yield f"<p>{escape(block.label)}</p>\n<pre>{escape(block.text)}</pre>"
        case Figure():
            words = escape(block.plot.words)
            yield f"<h3>{escape(block.plot.title)}</h3>\n<figure>\n{svg(block.plot, ident)}\n<figcaption>{words}"
            yield f"<details><summary>As a table</summary>\n{_table(block.table)}\n</details></figcaption>\n</figure>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.headers)
    shown = f"<thead><tr>{head}</tr></thead>\n" if any(table.headers) else ""
    rows = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    kind = ' class="wide"' if len(table.headers) > _WIDE else ""
    return f'<div class="scroll"><table{kind}>\n{shown}<tbody>\n{rows}\n</tbody></table></div>'
