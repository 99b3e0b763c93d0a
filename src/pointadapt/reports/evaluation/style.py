"""The page's look, light and dark, and the script that sorts its table."""

CSS = """
:root { color-scheme: light dark; --back: #fff; --text: #1d2330; --soft: #5b6475; --line: #d7dce5;
  --card: #f5f7fa; --blue: 37 99 235; --right: #1a7f4b; --wrong: #c62828; --ideal: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --back: #14171d; --text: #e6e9ef; --soft: #a3adbd;
  --line: #343b48; --card: #1c2129; --blue: 96 150 255; --right: #4cc38a; --wrong: #ff7b72;
  --ideal: #e0b050; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .3rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.soft, caption, figcaption { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; } .tile b { display: block; font-size: 1.35rem; } .tile span {
  color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid rgb(var(--blue)); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; } th:first-child, td.words, th.words { text-align: left; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th button::after { content: " \\2195"; color: var(--soft); } th[aria-sort=ascending] button::after {
  content: " \\2191"; } th[aria-sort=descending] button::after { content: " \\2193"; }
.facts td { text-align: left; overflow-wrap: anywhere; } .facts th { vertical-align: top; }
.matrix { font-size: .68rem; border-collapse: separate; border-spacing: 1px; }
.matrix th, .matrix td { border: 0; padding: 0 .2rem; height: 1.5em; }
.matrix td { min-width: 2.1em; text-align: center; background: rgb(var(--blue) / var(--v, 0));
  border-radius: 2px; box-shadow: inset 0 0 0 1px rgb(128 128 128 / .12); }
.matrix td.hit { font-weight: 700; } .matrix thead th { writing-mode: vertical-rl;
  transform: rotate(180deg); text-align: left; height: auto; padding: .2rem 0; font-weight: 400; }
.matrix tbody th { position: sticky; left: 0; background: var(--back); text-align: right;
  font-weight: 400; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
.charts figure, .shown figure { margin: 0; } .chart { width: 100%; max-width: 30rem; height: auto; }
.chart text { fill: var(--soft); font-size: 11px; } .chart .grid { stroke: var(--line); }
.chart .bar { fill: rgb(var(--blue) / .65); } .chart .ideal { stroke: var(--ideal);
  stroke-dasharray: 5 4; stroke-width: 1.6; } .chart .dot { fill: var(--text); }
.chart .right { fill: var(--right); } .chart .wrong { fill: var(--wrong); }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; }
.shown { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .8rem; }
.shown.wide { grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.shown figure { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  overflow: hidden; } .shown img { display: block; width: 100%; height: auto; background: #fff; }
figcaption { padding: .4rem .6rem; font-size: .85rem; overflow-wrap: anywhere; }
figcaption b { color: var(--text); } .bad { color: var(--wrong); } .good { color: var(--right); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .5rem .7rem; overflow-x: auto; font-size: .85rem; margin: .2rem 0 .8rem; }
@media print { .scroll { overflow: visible; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, k) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const value = row => row.cells[k].dataset.v ?? row.cells[k].textContent;
    const order = (a, b) => k === 0 ? value(a).localeCompare(value(b)) : value(a) - value(b);
    const rows = [...body.rows].sort((a, b) => down ? order(b, a) : order(a, b));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }));
}
"""
