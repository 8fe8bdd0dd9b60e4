"""One self-contained page with every table, figure and claim of a run: no script, no network."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from r1reward.report.layout import fold, title
from r1reward.report.manifests import read_manifests

PAGE = "index.html"
# What the page shows of a manifest.
_SHOWN = ("finished", "seeds", "device", "wall_seconds", "git")
_STYLE = """
:root { --ink: #1f2328; --quiet: #59636e; --line: #d0d7de; --measured: #e8f1fa; --scripted: #fdf3e1; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 1180px;
  padding: 1rem; }
h1 { margin: 0.5rem 0 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav { columns: 16rem; font-size: 0.9rem; } nav a { display: block; }
a { color: #0b57a4; } p.quiet, ul.notes { color: var(--quiet); font-size: 0.85rem; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; min-width: 40rem; height: auto; }
figcaption { font-weight: 600; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; } caption { text-align: left; font-weight: 600; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.6rem; text-align: left;
  vertical-align: top; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.measured { background: var(--measured); } tr.scripted { background: var(--scripted); }
tr.not-run td, td.not-run { color: var(--quiet); font-style: italic; }
span.badge { display: inline-block; border: 1px solid var(--line); border-radius: 1rem; padding: 0 0.7rem;
  margin: 0.15rem; font-size: 0.9rem; }
tr.holds td.verdict::before { content: "✓ "; } tr.does-not-hold td.verdict::before { content: "✗ "; }
tr.undecided td.verdict::before { content: "? "; }
"""
_LEGEND = (
    ("paper", "○ printed in the paper", "white"),
    ("measured", "● measured in this run, 95 % interval in brackets", "var(--measured)"),
    ("scripted", "◐ a script's number, or a script stands in for people or GPT-4", "var(--scripted)"),
)
_FIGURES = {
    "1": "R1-Reward on three benchmarks.",
    "2": "Training with StableReinforce and Reinforce++.",
    "3": "Test-time scaling.",
    "4": "Training without the advantage filter, and without Pre-CLIP.",
    "5": "An output of the trained judge.",
    "6": "Another output of the trained judge.",
}
_EXTRA_FIGURES = {
    "extra_base_model": "What the base model sees.",
    "extra_comparison": "What RL changed, pair by pair.",
    "extra_construction": "The training data.",
    "extra_downstream": "What a policy gained from R1-Reward, by benchmark.",
    "extra_downstream_training": "How the policy's answers changed while it learnt.",
    "extra_mechanisms": "What Pre-CLIP and the advantage filter do to a ratio and an advantage.",
    "extra_training": "Training in other settings.",
}
_SECTIONS = (
    ("figures", "Figures", "figure_"),
    ("tables", "Tables of the paper", "table_"),
    ("more-figures", "More figures", "extra_"),
    ("more-tables", "More tables", "extra_"),
    ("audit", "The paper's own arithmetic", "audit_"),
)


def page(
    root: Path,
    frames: Mapping[str, pd.DataFrame],
    claims: Sequence[Mapping[str, Any]],
    *,
    figures: Sequence[str],
    profile: str,
) -> str:
    """The page of a run or results folder: its tables, its claims, and these figures of `root/figures`."""
    drawn = [root / "figures" / f"{name}.svg" for name in sorted(figures)]
    parts = [_head(profile, root), _contents(), _claims(claims)]
    for anchor, heading, prefix in _SECTIONS:
        if anchor.endswith("figures"):
            found = [_figure(path) for path in drawn if path.stem.startswith(prefix)]
        else:
            skipped = "extra_claims"
            names = sorted(name for name in frames if name.startswith(prefix) and name != skipped)
            found = [_table(frames[name], name) for name in names]
        parts.append(f'<h2 id="{anchor}">{heading}</h2>' + "".join(found))
    parts.append(_manifests(root))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>R1-Reward, {html.escape(profile)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def take_apart(page: str) -> tuple[str, list[bytes]]:
    """The page without its figures, and the figures (SVG), which differ between machines."""
    embedded = re.findall(r'src="data:image/svg[+]xml;base64,([^"]*)"', page)
    return re.sub(r'src="data:[^"]*"', 'src=""', page), [base64.b64decode(data) for data in embedded]


def _head(profile: str, root: Path) -> str:
    manifests = read_manifests(root, keys=_SHOWN)
    finished = max((manifest["finished"][:10] for manifest in manifests.values()), default="never")
    seeds = sorted({seed for manifest in manifests.values() for seed in manifest["seeds"]})
    legend = "".join(
        f'<span class="badge" style="background:{colour}">{html.escape(text)}</span>'
        for _, text, colour in _LEGEND
    )
    return (
        f"<h1>R1-Reward, re-run: profile {html.escape(profile)}</h1>"
        f'<p class="quiet">Finished {finished}, seeds {", ".join(map(str, seeds)) or "none"}. '
        "Every number is computed from the records in this repository; r1reward verify proves it.</p>"
        f"<p>{legend}</p>"
    )


def _contents() -> str:
    links = [("claims", "Claims"), *((anchor, heading) for anchor, heading, _ in _SECTIONS)]
    links.append(("origin", "Where it comes from"))
    listed = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading in links)
    return f"<nav>{listed}</nav>"


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(claim["verdict"] for claim in claims)
    order = ("holds", "does not hold", "undecided", "not testable", "not run")
    badges = "".join(f'<span class="badge">{counts[verdict]} {verdict}</span>' for verdict in order)
    rows = "".join(_claim(claim) for claim in claims)
    return (
        f'<h2 id="claims">Claims</h2><p>{badges}</p>'
        '<p class="quiet">A claim about a 7B model is checked on this profile\'s model: it can hold or fail '
        "for other reasons. Verdicts are computed from 95 % intervals.</p>"
        '<div class="wide"><table><thead><tr><th>The paper</th><th>Quantity</th><th>Claimed</th>'
        "<th>Paper</th><th>Measured</th><th>Verdict</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _claim(claim: Mapping[str, Any]) -> str:
    found = [claim["note"]]
    if claim["measured"] is not None:
        found.insert(0, f"{claim['measured']:.2f} [{claim['low']:.2f}, {claim['high']:.2f}]")
    measured = "; ".join(filter(None, found)) or "not run"
    cells = (
        f"“{claim['quote']}” ({claim['section']})",
        claim["statistic"],
        claim["direction"],
        "" if claim["printed"] is None else f"{claim['printed']:.2f}",
        measured,
    )
    verdict = html.escape(claim["verdict"])
    texts = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
    kind = "not-run" if verdict in ("not run", "not testable") else "measured"
    return f'<tr class="{verdict.replace(" ", "-")} {kind}">{texts}<td class="verdict">{verdict}</td></tr>'


def _figure(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    number = path.stem.removeprefix("figure_")
    caption = f"Figure {number}. {_FIGURES[number]}" if number in _FIGURES else _EXTRA_FIGURES[path.stem]
    return (
        f'<figure id="{html.escape(path.stem)}"><figcaption>{html.escape(caption)}</figcaption>'
        f'<div class="wide"><img alt="" src="data:image/svg+xml;base64,{data}"></div></figure>'
    )


def _table(frame: pd.DataFrame, name: str) -> str:
    folded = fold(frame)
    head = "".join(f"<th>{html.escape(title(str(column)))}</th>" for column in folded.columns)
    sources = frame["source"] if "source" in frame.columns else [""] * len(frame)
    body = "".join(
        f'<tr class="{_kind(source)}">{"".join(map(_cell, row))}</tr>'
        for source, row in zip(sources, folded.to_numpy().tolist(), strict=True)
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in frame.attrs.get("notes", []))
    caption = html.escape(frame.attrs.get("caption", ""))
    return (
        f'<div class="wide" id="{html.escape(name)}"><table><caption>{caption}</caption>'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div><ul class="notes">{notes}</ul>'
    )


def _kind(source: object) -> str:
    return str(source).replace(" ", "-") if source in ("paper", "measured", "scripted", "not run") else ""


def _cell(value: object) -> str:
    text = str(value)
    kind = "not-run" if text in ("not run", "not printed") else "number" if text[:1].isdigit() else ""
    return f'<td class="{kind}">{html.escape(text)}</td>' if kind else f"<td>{html.escape(text)}</td>"


def _manifests(root: Path) -> str:
    rows = ""
    for name, manifest in read_manifests(root, keys=_SHOWN).items():
        device = manifest["device"]
        machine = ", ".join(
            [f"{device['cores']} cores {device['processor']}", *device.get("accelerators", [])]
        )
        cells = (
            name,
            manifest["finished"][:16].replace("T", " "),
            f"{manifest['wall_seconds'] / 60:.0f} min",
            manifest["git"]["commit"][:10],
            machine,
        )
        rows += f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>"
    return (
        '<h2 id="origin">Where it comes from</h2><div class="wide"><table><thead><tr><th>Notebook</th>'
        "<th>Finished (UTC)</th><th>Took</th><th>Commit</th><th>Machine</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
