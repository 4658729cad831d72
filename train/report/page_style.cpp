#include "train/report/page_style.h"

namespace mono::report {
namespace {

constexpr const char* kLayout = R"css(
:root{color-scheme:light dark;--text:#1b1f24;--muted:#57606a;--line:#d5dae0;--paper:#fff;--soft:#f5f7f9;
--link:#005a9c;--good:#0a6b4d;--good-bg:#e3f5ee;--caution:#8a3b00;--caution-bg:#fdeee1;--plain-bg:#eef1f4}
@media screen and (prefers-color-scheme:dark){:root{--text:#e6edf3;--muted:#9aa5b1;--line:#30363d;--paper:#14181d;
--soft:#1b2027;--link:#6cb6f5;--good:#4fd6a8;--good-bg:#10342a;--caution:#f5a86c;--caution-bg:#3a2413;--plain-bg:#252b33}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:break-word}
header,main,nav{max-width:60rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}main{padding-bottom:4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .6rem}
h2{font-size:1.3rem;margin:2.6rem 0 .7rem;padding-top:.5rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.8rem 0 .5rem}
p{margin:.7rem 0;max-width:46rem}
.lead{font-size:1.25rem;line-height:1.45;margin:1rem 0;max-width:50rem}
.badges{list-style:none;display:flex;flex-wrap:wrap;gap:.4rem;padding:0;margin:.4rem 0 0}
.badges li{font-size:.82rem;font-weight:600;padding:.12rem .6rem;border-radius:1rem;border:1px solid transparent}
.neutral{background:var(--plain-bg)}.good{background:var(--good-bg);color:var(--good)}
.caution{background:var(--caution-bg);color:var(--caution)}
.note{padding:.55rem .9rem;border-left:4px solid var(--line);border-radius:3px}
.note.good{border-color:var(--good)}.note.caution{border-color:var(--caution)}
nav ul{list-style:none;padding:0;margin:1.2rem 0 0;display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.92rem}
a{color:var(--link)}a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.93rem}
caption{text-align:left;color:var(--muted);padding:0 0 .45rem;font-size:.9rem}
th,td{padding:.32rem .75rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
thead th,thead td{border-bottom:2px solid var(--muted);vertical-align:bottom}
tbody th{font-weight:500;min-width:9rem;overflow-wrap:anywhere}
tbody tr:hover{background:var(--soft)}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.num{text-align:right;white-space:normal}
td.strong,th.strong{font-weight:700}td.muted{color:var(--muted)}
td.inside{color:var(--good)}td.outside{color:var(--caution)}
abbr{text-decoration:none}
figure{margin:1.4rem 0}
figure svg,figure img{display:block;max-width:100%;height:auto}
.many{display:flex;flex-wrap:wrap;gap:1rem 1.5rem}
figcaption{color:var(--muted);font-size:.92rem;margin:.5rem 0;max-width:46rem}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--link);font-size:.92rem;width:fit-content}
details .wide{max-height:22rem;overflow:auto;margin:.5rem 0}
pre{background:var(--soft);border:1px solid var(--line);border-radius:5px;padding:.8rem 1rem;overflow:auto;
max-height:32rem;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
dl{margin:1rem 0;font-size:.95rem}
dl div{display:grid;grid-template-columns:12rem 1fr;gap:1rem;padding:.3rem 0;border-bottom:1px solid var(--line)}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:40rem){dl div{grid-template-columns:1fr;gap:0}}
@media print{
@page{margin:16mm 14mm}
body{font-size:10.5pt}header,main,nav{max-width:none;padding:0}
nav,summary{display:none}details>*{display:none}
h2,h3,caption,thead{break-after:avoid}tbody tr:first-child{break-before:avoid}
figure,caption,tr,.note{break-inside:avoid}figure img{max-height:205mm;width:auto}
pre{max-height:none;white-space:pre-wrap}.wide{overflow:visible}table{font-size:8.5pt}th,td{padding:.2rem .45rem}
.badges li,.note{border:1px solid var(--line)}
a{color:inherit;text-decoration:none}
}
)css";

}  // namespace

std::string page_css() {
  return kLayout;
}

}  // namespace mono::report
