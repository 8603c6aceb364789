# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How a page looks: on paper, on a phone, by day and by night. No character in it has a meaning in XML."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d5dae0;--code:#eef1f4;--link:#0b57d0;
--good:#11632b;--goodback:#dff5e4;--warn:#7a4a00;--warnback:#fff1cf;--bad:#a1131c;--badback:#ffe3e3;--note:#0b4a8f;--noteback:#e3efff;
--data:#1c6fc9;--compressed:#d9570a;--zero:#8f9aa6;--hole:#e6e9ed}
@media (prefers-color-scheme:dark){:root{--page:#12161b;--card:#1b2128;--ink:#e8ecf0;--soft:#a5b0bb;--line:#36404b;--code:#252d36;--link:#8ab4f8;
--good:#8ce2a0;--goodback:#123a20;--warn:#ffd479;--warnback:#3e2f08;--bad:#ffa8a8;--badback:#4a1a1d;--note:#a8cdff;--noteback:#152f4f;
--data:#4d9df0;--compressed:#ff8f45;--zero:#7d8894;--hole:#2d353e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.7rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .75rem}
h3{font-size:1rem;margin:1.25rem 0 .5rem}
p{margin:.5rem 0}
a{color:var(--link)}
section,header{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.25rem;margin:0 0 1rem}
.lead{color:var(--soft);margin:.25rem 0 0;overflow-wrap:anywhere}
.small{color:var(--soft);font-size:.875rem}
.verdict{display:flex;gap:.75rem;align-items:flex-start;border-radius:.5rem;padding:.75rem 1rem;margin:1rem 0 0;font-size:1.05rem}
.verdict p{margin:0;overflow-wrap:anywhere}
.verdict .sign{font-weight:700;font-size:1.3rem;line-height:1.3;flex:none}
.good{color:var(--good);background:var(--goodback)}
.warn{color:var(--warn);background:var(--warnback)}
.bad{color:var(--bad);background:var(--badback)}
.note{color:var(--note);background:var(--noteback)}
.badge{display:inline-block;border-radius:1rem;padding:.05rem .6rem;font-size:.85rem;font-weight:600;white-space:nowrap}
.tiles dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0 0}
.tiles div{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem;min-width:0}
dl{margin:0}
.side h3:first-child{margin-top:0}
dt{color:var(--soft);font-size:.875rem}
dd{margin:0;overflow-wrap:anywhere}
.tiles dd{font-weight:600}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
.side{border:1px solid var(--line);border-radius:.5rem;padding:1rem;min-width:0}
.side h3{margin:1rem 0 .5rem;overflow-wrap:anywhere}
.side dl div,.rows dl div{display:grid;grid-template-columns:minmax(6.5rem,30%) 1fr;gap:.25rem .75rem;padding:.2rem 0;border-top:1px solid var(--line)}
.side dl div:first-child,.rows dl div:first-child{border-top:0}
.hash{font:.8rem/1.4 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
details+.scroll,.scroll+details{margin-top:.5rem}
.scroll+.scroll{margin-top:1.25rem}
table{border-collapse:collapse;width:100%;font-size:.925rem}
caption{text-align:left;color:var(--soft);font-size:.875rem;padding:0 0 .35rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere;min-width:4.5rem}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--soft);font-weight:600;border-top:0;white-space:nowrap}
tbody th{font-weight:600}
.number{text-align:right;white-space:nowrap;padding-right:1.5rem;font-variant-numeric:tabular-nums}
td.wide,th.wide{min-width:12rem}
ul{margin:.25rem 0;padding-left:1.2rem}
li{margin:.25rem 0;overflow-wrap:anywhere}
ul.plain{list-style:none;padding:0}
ul.plain li{display:flex;gap:.6rem;align-items:baseline;padding:.35rem 0;border-top:1px solid var(--line);margin:0}
ul.plain li:first-child{border-top:0}
ul.plain .badge{min-width:5.2rem;text-align:center;flex:none}
ul.plain span:last-child{min-width:0;overflow-wrap:anywhere}
pre{background:var(--code);border-radius:.5rem;padding:.75rem 1rem;margin:.5rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
code{font:.85rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
details{margin:.5rem 0 0}
summary{cursor:pointer;color:var(--link);padding:.25rem 0}
svg{display:block;width:100%;border-radius:.35rem}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif;fill:#14181d}
svg .strong{font-weight:600}
figure{margin:0 0 1rem}
figcaption{font-size:.875rem;color:var(--soft);margin:0 0 .35rem;overflow-wrap:anywhere}
.scale{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft);margin-top:.2rem}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;margin:.6rem 0 0;list-style:none;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.4rem;margin:0}
.legend svg,td svg,th svg{width:.9rem;height:.9rem;flex:none;display:inline-block;vertical-align:-.1em;border-radius:.2rem}
.data{fill:var(--data)}.compressed{fill:var(--compressed)}.zero{fill:var(--zero)}.hole{fill:var(--hole)}
.p-esp{fill:#ffc078}.p-boot{fill:#ffe066}.p-files{fill:#99d0ff}.p-swap{fill:#e5b8f5}.p-volumes{fill:#9ce8ac}.p-locked{fill:#ffb3b3}.p-other{fill:#ced4da}
.p-free{fill:var(--hole)}
svg .free{fill:var(--soft)}
footer{color:var(--soft);font-size:.875rem}
@media (max-width:40rem){main{padding:.5rem .5rem 2rem}section,header{padding:.9rem;border-radius:.5rem}h1{font-size:1.35rem}
.side dl div,.rows dl div{grid-template-columns:1fr;gap:0}}
@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--code:#f3f3f3;--good:#11632b;--goodback:#dff5e4;--warn:#7a4a00;
--warnback:#fff1cf;--bad:#a1131c;--badback:#ffe3e3;--note:#0b4a8f;--noteback:#e3efff;--data:#1c6fc9;--compressed:#d9570a;--zero:#8f9aa6;--hole:#e6e9ed}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10pt}main{max-width:none;padding:0}section,header{border:0;padding:0;margin:0 0 1.2rem}
section h2{border-bottom:1px solid var(--line)}tr,figure,.side,li,pre{break-inside:avoid}h2,h3,thead,caption{break-after:avoid}.scroll{overflow:visible}}
"""
