"""What the SVG looks like: colours for light and dark, arrow heads, and a mark for each kind of step."""

from typing import Final

from orchestrator.core.definition import StepKind

__all__ = ["ICONS", "MARKERS", "STYLE"]

STYLE: Final = """
.baton text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#59636e}
.baton .page{fill:#ffffff}
.baton .name,.baton .title,.baton .id{fill:#1f2328;font-weight:600}
.baton .box{fill:#f6f8fa;stroke:#818b98;stroke-width:1.2}
.baton .net{fill:none;stroke:#59636e;stroke-width:1.5}
.baton .tip{fill:#59636e}
.baton .undo .box,.baton .undo .net{stroke:#bc4c00;stroke-dasharray:5 4}
.baton .tip-undo{fill:#bc4c00}
.baton .pivot .box{stroke:#9a6700;stroke-width:3}
.baton .rule{stroke:#9a6700;stroke-width:3}
.baton .past{fill:#9a6700;font-weight:600;stroke:#ffffff;stroke-width:5;paint-order:stroke}
.baton .icon{fill:none;stroke:#ffffff;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.baton .action .band{fill:#0969da}
.baton .workflow .band{fill:#8250df}
.baton .wait_for .band{fill:#1b7c83}
.baton .approve .band{fill:#1a7f37}
.baton .sleep .band{fill:#6e7781}
.baton .emit .band{fill:#bf3989}
@media (prefers-color-scheme:dark){
.baton text{fill:#9198a1}
.baton .page{fill:#0d1117}
.baton .name,.baton .title,.baton .id{fill:#f0f6fc}
.baton .box{fill:#151b23;stroke:#656c76}
.baton .net{stroke:#9198a1}
.baton .tip{fill:#9198a1}
.baton .undo .box,.baton .undo .net{stroke:#f0883e}
.baton .tip-undo{fill:#f0883e}
.baton .pivot .box,.baton .rule{stroke:#d29922}
.baton .past{fill:#d29922;stroke:#0d1117}
}
"""

_HEAD: Final = (
    '<marker id="baton-{0}" viewBox="0 0 10 10" refX="9.5" refY="5" markerWidth="10" markerHeight="10" '
    'markerUnits="userSpaceOnUse" orient="auto"><path class="{0}" d="M0 1L10 5L0 9z"/></marker>'
)
MARKERS: Final = _HEAD.format("tip") + _HEAD.format("tip-undo")

ICONS: Final[dict[StepKind, str]] = {
    "action": "M-3 -5L5 0L-3 5z",
    "workflow": "M-5 -5h6v6h-6zM-1 1v4h6v-6h-4",
    "wait_for": "M-4 -5H4L-4 5H4z",
    "approve": "M-5 0L-1 4L5 -4",
    "sleep": "M0 -5A5 5 0 1 0 0.1 -5M0 -2V0.5L2 2",
    "emit": "M-4 4L4 -4M-2 -4H4V2",
}
"""A path around the middle of the mark, in pixels."""
