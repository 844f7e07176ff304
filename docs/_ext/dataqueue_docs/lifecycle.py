"""The lifecycle page's table and picture, drawn from `domain/lifecycle.py`.

`PYTHONPATH=docs/_ext python -m dataqueue_docs.lifecycle` writes both; a test says when that was forgotten.
"""

from __future__ import annotations

from pathlib import Path

from dataqueue_django.domain.lifecycle import LEGAL_MOVES, TABLE, State
from dataqueue_django.domain.records import JobStatus

DOCS = Path(__file__).parents[2]
PAGE, PICTURE = DOCS / "lifecycle.md", DOCS / "images" / "lifecycle.svg"
START, END = "<!-- drawn from domain/lifecycle.py -->", "<!-- end -->"

WIDTH, HEIGHT = 124, 44
CENTRES = {
    JobStatus.WAITING: (400, 52),
    JobStatus.PENDING: (100, 190),
    JobStatus.PROCESSING: (400, 190),
    JobStatus.COMPLETED: (700, 190),
    JobStatus.FAILED: (400, 328),
    JobStatus.CANCELLED: (700, 328),
}

_P, _R, _W, _D, _F, _C = (
    JobStatus.PENDING,
    JobStatus.PROCESSING,
    JobStatus.WAITING,
    JobStatus.COMPLETED,
    JobStatus.FAILED,
    JobStatus.CANCELLED,
)

# Where each arrow runs, and its words with their place. An arrow that the code allows and this leaves out, or the
# other way round, is an error in `picture`.
ROUTES: dict[tuple[JobStatus, JobStatus], tuple[str, str, tuple[int, int]]] = {
    (_P, _R): ("M162 182 H336", "claim", (249, 174)),
    (_R, _P): ("M338 200 H164", "give back, snooze, reclaim", (251, 218)),
    (_R, _D): ("M462 190 H636", "success", (549, 182)),
    (_R, _W): ("M392 168 V76", "wait", (366, 126)),
    (_W, _R): ("M408 74 V166", "time reached", (458, 126)),
    (_W, _P): ("M338 44 C210 44 120 84 108 165", "token completed", (176, 70)),
    (_R, _F): ("M392 212 V304", "error", (366, 262)),
    (_F, _R): ("M408 306 V214", "next attempt", (458, 262)),
    (_P, _F): ("M80 212 C84 290 220 330 335 330", "dependency failed", (118, 300)),
    (_F, _P): ("M338 318 C220 312 128 270 122 215", "retry", (222, 282)),
    (_R, _C): ("M450 212 C500 262 560 300 636 316", "stopped", (572, 270)),
    (_W, _C): ("M462 44 C860 40 860 250 752 304", "cancel", (812, 120)),
    (_F, _C): ("M462 334 H636", "cancel", (549, 350)),
    (_P, _C): ("M60 212 C60 430 640 440 690 353", "cancel", (340, 402)),
    (_C, _P): ("M716 350 C700 480 20 470 42 215", "retry", (380, 448)),
}

STYLE = """
.dq-lifecycle { --dq-ink: #1f2328; --dq-line: #656d76; --dq-box: #f6f8fa; --dq-paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  .dq-lifecycle { --dq-ink: #e6edf3; --dq-line: #9198a1; --dq-box: #21262d; --dq-paper: #0d1117; }
}
.dq-lifecycle text { fill: var(--color-foreground-primary, var(--dq-ink)); font: 14px system-ui, sans-serif;
  text-anchor: middle; }
.dq-lifecycle .dq-word { fill: var(--color-foreground-secondary, var(--dq-line)); font-size: 12px;
  paint-order: stroke; stroke: var(--color-background-primary, var(--dq-paper)); stroke-width: 5px; }
.dq-lifecycle rect { fill: var(--color-background-secondary, var(--dq-box));
  stroke: var(--color-foreground-secondary, var(--dq-line)); stroke-width: 1.5; }
.dq-lifecycle .dq-end { stroke-width: 3; }
.dq-lifecycle .dq-move { fill: none; stroke: var(--color-foreground-secondary, var(--dq-line)); stroke-width: 1.3;
  marker-end: url(#dq-arrow); }
.dq-lifecycle marker path { fill: var(--color-foreground-secondary, var(--dq-line)); }
"""


def table() -> str:
    """Return the table of operations and states in Markdown."""
    head = ["| operation | " + " | ".join(State) + " |", "| --- |" + " --- |" * len(State)]
    rows = [f"| {op} | " + " | ".join(cells[state] for state in State) + " |" for op, cells in TABLE.items()]
    return "\n".join([*head, *rows])


def picture() -> str:
    """Return the six statuses and the moves between them as SVG that follows the reader's light or dark theme."""
    allowed = {(source, target) for source, targets in LEGAL_MOVES.items() for target in targets}
    if allowed != set(ROUTES):
        raise ValueError(f"ROUTES and LEGAL_MOVES differ in {sorted(allowed ^ set(ROUTES))}")
    ends = {source for source, targets in LEGAL_MOVES.items() if not targets}
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="dq-lifecycle" viewBox="0 0 850 470" role="img" '
        'aria-labelledby="dq-title">',
        '<title id="dq-title">The six statuses of a job and the moves between them</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="dq-arrow" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L10 5 L0 10 z"/></marker></defs>',
        *(f'<path class="dq-move" d="{d}"><title>{a} to {b}</title></path>' for (a, b), (d, _, _) in ROUTES.items()),
        *(f'<text class="dq-word" x="{x}" y="{y}">{word}</text>' for _, word, (x, y) in ROUTES.values()),
        *(_box(status, status in ends) for status in CENTRES),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(status: JobStatus, is_end: bool) -> str:
    x, y = CENTRES[status]
    kind = ' class="dq-end"' if is_end else ""
    return (
        f'<rect{kind} x="{x - WIDTH // 2}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="9"/>'
        f'<text x="{x}" y="{y + 5}">{status}</text>'
    )


def page_with(drawn: str) -> str:
    """Return the lifecycle page with `drawn` between its markers."""
    text = PAGE.read_text()
    start, end = text.index(START) + len(START), text.index(END)
    return f"{text[:start]}\n{drawn}\n{text[end:]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
    PICTURE.write_text(picture())
