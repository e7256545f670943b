"""Event displays: the particles of a few jets in the eta-phi plane."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.events import Cloud
from cloudchamber.events.kinematics import FLAGS, invariant_mass, particle_features, pt_eta_phi
from cloudchamber.publish.figure import COLOURS, GREY, Figure, canvas, finish, literal

_KINDS = dict(zip(FLAGS, ("charged hadron", "neutral hadron", "photon", "electron", "muon"), strict=True))
_UNKNOWN = "particle"
_COLOURS = dict(zip((*_KINDS.values(), _UNKNOWN), (COLOURS[i] for i in (0, 5, 6, 4, 2, 0)), strict=True))
_AREA = 1400.0  # of a particle that carries all pT, in square points


def event_displays(cloud: Cloud, target: str | None = None, *, per_class: int = 3, classes_shown: int = 4) -> Figure:
    """The first `per_class` events of each of the first classes of label `target`; without known classes, the first events.

    Marker area is proportional to pT; colour says the kind of particle where the data know it.
    """
    rows = _chosen(cloud, target, per_class, classes_shown)
    events = {name: [_Event.of(cloud[chosen[i : i + 1]]) for i in range(len(chosen))] for name, chosen in rows.items()}
    jet = cloud.schema.frame == "jet"
    reach = 1.08 * max(float(np.max(np.hypot(e.x, e.y), initial=0.1)) for row in events.values() for e in row)
    with canvas(3.3 * per_class, 3.35 * len(rows) + 0.4, len(rows), per_class) as (drawing, axes):
        for (row, column), axis in np.ndenumerate(axes):
            name = list(events)[row]
            if column < len(events[name]):
                _draw(axis, events[name][column], name, reach if jet else None)
            else:
                axis.remove()
        shown = {k for row in events.values() for e in row for k in e.kind}
        if handles := [_handle(_COLOURS[kind], kind) for kind in _COLOURS if kind in shown]:
            drawing.legend(handles=handles, loc="outside upper center", ncols=len(handles), handletextpad=0.1)
        what, where = ("jet", "around the jet axis") if jet else ("event", "in the detector")
        caption = (
            f"The first {per_class} {what}s of each class in the sample, not chosen by eye: particles {where}, "
            "marker area proportional to transverse momentum."
        )
        data = {name or "events": [asdict(e) for e in row] for name, row in events.items()}
        return finish(drawing, "event_displays", caption, data)


@dataclass(frozen=True)
class _Event:
    """What is drawn of one event: places relative to the jet axis, or eta and phi; pT [GeV]; kind of each particle."""

    x: NDArray[Any]
    y: NDArray[Any]
    pt: NDArray[np.float64]
    kind: list[str]
    sum_pt: float
    mass: float

    @classmethod
    def of(cls, one: Cloud) -> _Event:
        """From a cloud of one event; sum_pt is the vector sum for a jet, the scalar sum for a whole event."""
        features = particle_features(one)
        momentum = [one.flat(n).astype(np.float64) for n in ("px", "py", "pz")]
        pt, eta, phi = pt_eta_phi(*momentum)
        jet = one.schema.frame == "jet"
        x, y = (features["deta"], features["dphi"]) if jet else (eta, phi)
        sum_pt = np.hypot(momentum[0].sum(), momentum[1].sum()) if jet else pt.sum()
        return cls(x, y, pt, _kinds(one), float(sum_pt), float(invariant_mass(one)[0]))


def _chosen(cloud: Cloud, target: str | None, per_class: int, classes_shown: int) -> dict[str, NDArray[np.int64]]:
    classes = cloud.schema.label(target).classes if target else ()
    truth = cloud.labels[target] if target else np.empty(0)
    chosen = {c: np.flatnonzero(truth == i)[:per_class] for i, c in enumerate(classes)}
    known = [(c, events) for c, events in chosen.items() if len(events)][:classes_shown]
    return dict(known) or {"": np.arange(min(per_class, len(cloud)))}


def _draw(axis: Any, event: _Event, name: str, reach: float | None) -> None:
    """reach: half the side of the panel around a jet axis; None for a whole event."""
    from matplotlib.ticker import MaxNLocator

    area, colours = _AREA * event.pt / event.pt.sum(), [_COLOURS[k] for k in event.kind]
    axis.scatter(event.x, event.y, s=area, c=colours, alpha=0.65, linewidths=0.3, edgecolors="#1a1a1a")
    for one_axis in (axis.xaxis, axis.yaxis):
        one_axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if reach:
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axis.set(xlabel=r"$\Delta\eta$", ylabel=r"$\Delta\phi$ [rad]")
        axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        axis.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    else:
        axis.set(ylim=(-np.pi, np.pi), xlabel=r"$\eta$", ylabel=r"$\phi$ [rad]")
    symbol = "$p_T$" if reach else r"$\Sigma p_T$"
    size = f"{symbol} {event.sum_pt:.0f} GeV, m {event.mass:.0f} GeV, {len(event.pt)} particles"
    axis.set_title(f"{literal(name)}\n{size}".strip(), loc="left", fontsize=9)


def _kinds(one: Cloud) -> list[str]:
    """The kind of each particle by the flag that is set, _UNKNOWN where none is."""
    kind = np.full(int(one.counts.sum()), _UNKNOWN, dtype=object)
    for flag, name in _KINDS.items():
        if flag in one.schema.feature_names:
            kind[one.flat(flag) == 1] = name
    return [str(k) for k in kind]


def _handle(colour: str, kind: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", linestyle="", color=colour, alpha=0.8, markersize=7, label=kind)
