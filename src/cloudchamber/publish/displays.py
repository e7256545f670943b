"""Event displays: the particles of a few jets in the eta-phi plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.events import Cloud
from cloudchamber.events.kinematics import FLAGS, invariant_mass, particle_features, pt_eta_phi
from cloudchamber.publish.figure import COLOURS, GREY, Figure, canvas, finish

_KINDS = dict(zip(FLAGS, ("charged hadron", "neutral hadron", "photon", "electron", "muon"), strict=True))
_KIND_COLOURS = dict(zip(FLAGS, (COLOURS[0], COLOURS[5], COLOURS[6], COLOURS[4], COLOURS[2]), strict=True))
_UNKNOWN = "particle"
_AREA = 1400.0  # of a particle that carries all pT, in square points


def event_displays(cloud: Cloud, target: str | None = None, *, per_class: int = 3, classes_shown: int = 4) -> Figure:
    """The first `per_class` events of each of the first classes of label `target`; without classes, the first events.

    Marker area is proportional to pT; colour says the kind of particle where the data know it.
    """
    rows = _chosen(cloud, target, per_class, classes_shown)
    data: dict[str, Any] = {}
    with canvas(3.3 * per_class, 3.35 * len(rows) + 0.4, len(rows), per_class) as (drawing, axes):
        kinds: dict[str, str] = {}
        for row, (name, events) in enumerate(rows.items()):
            for column in range(per_class):
                if column < len(events):
                    one = cloud[events[column : column + 1]]
                    shown = _draw(axes[row, column], one, name)
                    kinds |= shown["colours"]
                    data.setdefault(name or "events", []).append(shown["particles"])
                else:
                    axes[row, column].remove()
        handles = [_handle(kinds[kind], kind) for kind in (*_KINDS.values(), _UNKNOWN) if kind in kinds]
        drawing.legend(handles=handles, loc="outside upper center", ncols=len(handles), handletextpad=0.1)
        what = "jet" if cloud.schema.frame == "jet" else "event"
        caption = (
            f"The first {per_class} {what}s of each class in the sample, not chosen by eye: particles around the {what} axis, "
            "marker area proportional to transverse momentum."
        )
        return finish(drawing, "event_displays", caption, data)


def _chosen(cloud: Cloud, target: str | None, per_class: int, classes_shown: int) -> dict[str, NDArray[np.int64]]:
    if target is None or not cloud.schema.label(target).classes:
        return {"": np.arange(min(per_class, len(cloud)))}
    truth = cloud.labels[target]
    chosen = {c: np.flatnonzero(truth == i)[:per_class] for i, c in enumerate(cloud.schema.label(target).classes)}
    return dict([(c, events) for c, events in chosen.items() if len(events)][:classes_shown])


def _draw(axis: Any, one: Cloud, name: str) -> dict[str, Any]:
    from matplotlib.ticker import MaxNLocator

    features = particle_features(one)
    pt = np.exp(features["log_pt"].astype(np.float64))
    jet = one.schema.frame == "jet"
    x, y = (features["deta"], features["dphi"]) if jet else pt_eta_phi(*(one.flat(n) for n in ("px", "py", "pz")))[1:]
    kind = _kinds(one)
    colours = {_KINDS.get(k, k): _KIND_COLOURS.get(k, COLOURS[0]) for k in dict.fromkeys(kind.tolist())}
    axis.scatter(
        x,
        y,
        s=_AREA * pt / pt.sum(),
        c=[colours[_KINDS.get(k, k)] for k in kind],
        alpha=0.65,
        linewidths=0.3,
        edgecolors="#1a1a1a",
    )
    for one_axis in (axis.xaxis, axis.yaxis):
        one_axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    reach = 1.08 * max(0.8, float(np.max(np.hypot(x, y), initial=0.0))) if jet else None
    axis.set(xlabel=r"$\Delta\eta$" if jet else r"$\eta$", ylabel=r"$\Delta\phi$ [rad]" if jet else r"$\phi$ [rad]")
    if reach:
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        axis.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    sum_pt = float(np.hypot(*(one.flat(n).sum(dtype=np.float64) for n in ("px", "py"))))
    mass = float(invariant_mass(one)[0])
    axis.set_title(f"{name}\n$p_T$ {sum_pt:.0f} GeV, m {mass:.0f} GeV, {len(pt)} particles".strip(), loc="left", fontsize=9)
    particles = {"x": x, "y": y, "pt_gev": pt, "kind": [_KINDS.get(k, k) for k in kind]}
    return {"colours": colours, "particles": particles}


def _kinds(one: Cloud) -> NDArray[Any]:
    """The flag that is set for each particle, _UNKNOWN where none is."""
    known = [f for f in FLAGS if f in one.schema.feature_names]
    kind = np.full(int(one.counts.sum()), _UNKNOWN, dtype=object)
    for flag in known:
        kind[one.flat(flag) == 1] = flag
    return kind


def _handle(colour: str, kind: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", linestyle="", color=colour, alpha=0.8, markersize=7, label=kind)
