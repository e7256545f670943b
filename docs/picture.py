"""The picture of the README: three simulated jets as clouds. Writes cloudchamber.svg beside itself; needs the extra `sim`.

    python docs/picture.py

Each is the jet whose mass is nearest to that of its particle (a gluon: to 100 GeV) among a few. The seed was chosen by eye
for a picture that shows one, two and three prongs; many jets look less clear.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cloudchamber as cc
from cloudchamber.events.kinematics import FLAGS, invariant_mass, particle_features
from cloudchamber.run import atomic

_BAR = '<tspan text-decoration="overline">{}</tspan>'
CLASSES = {
    "QCD": ("gluon", 100.0),
    "Hbb": (f"Higgs boson → b{_BAR.format('b')}", 125.2),  # GeV, Review of Particle Physics 2024
    "Tbqq": (f"top quark → bq{_BAR.format('q')}&#8242;", 172.6),
}
SEED = 2
WIDTH, HEIGHT = 1200, 452
CHAMBER, REACH = 166, 0.82  # radius of a chamber in pixels, and in rapidity-azimuth
AREA = 88  # pixels; radius of a particle that carries all pT
DISPLACED = 5.0  # standard deviations in d0
COLOURS = dict(zip(FLAGS, ("#58a6f4", "#aab4be", "#ffb02e", "#ff6b57", "#c98bff"), strict=True))
KINDS = dict(zip(FLAGS, ("charged hadron", "neutral hadron", "photon", "electron", "muon"), strict=True))
TEXT, FAINT = "#e8ecf4", "#9aa5b8"
FONT = "font-family=\"'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif\""


def main() -> None:
    """Simulate, choose, draw."""
    jets = cc.simulate(list(CLASSES), 8, seed=SEED, workers=1, pt_range=(550, 700))
    masses = invariant_mass(jets)
    panels: list[str] = []
    for column, (title, mass) in enumerate(CLASSES.values()):
        fits = jets.labels["label"] == column
        if column == 0:
            fits &= jets.labels["parton"] == 1
        chosen = int(np.argmin(np.where(fits, np.abs(masses - mass), np.inf)))
        panels.append(panel(jets[chosen], title, x=200 + 400 * column, y=196))
    with atomic(Path(__file__).with_name("cloudchamber.svg")) as temporary:
        temporary.write_text(page("\n".join(panels)), encoding="utf-8")


def panel(jet: cc.Cloud, title: str, x: int, y: int) -> str:
    """One chamber with its jet; particles by falling pT, so that the soft ones lie on top."""
    features = particle_features(jet)
    share = np.exp(features["log_pt_rel"])
    radii = AREA * np.sqrt(share / share.sum())
    px, py = (CHAMBER * features[name] / REACH for name in ("deta", "dphi"))
    kinds = np.array(FLAGS)[np.argmax([jet.flat(flag) for flag in FLAGS], axis=0)]
    displaced = np.abs(np.nan_to_num(jet.flat("d0"))) > DISPLACED * np.nan_to_num(jet.flat("d0_err"), nan=np.inf)
    clouds, cores = [], []
    for i in np.argsort(-share):
        at = f'cx="{px[i]:.1f}" cy="{-py[i]:.1f}"'
        clouds.append(f'<circle {at} r="{1.7 * radii[i]:.1f}" fill="url(#{kinds[i]})"/>')
        ring = ' stroke="#fff" stroke-opacity="1" stroke-width="1.3"' if displaced[i] else ""
        cores.append(f'<circle {at} r="{0.55 * radii[i]:.1f}" fill="{COLOURS[kinds[i]]}"{ring}/>')
    pt, mass = np.hypot(*(jet.flat(n).sum(dtype=np.float64) for n in ("px", "py"))), invariant_mass(jet)[0]
    facts = f'p<tspan dy="4" font-size="11">T</tspan><tspan dy="-4"> {pt:.0f} GeV</tspan> · mass {mass:.0f} GeV'
    return f"""<g transform="translate({x} {y})">
<circle r="{CHAMBER}" fill="url(#glass)" stroke="#3b4766" stroke-width="1.5"/>
<path d="M-{CHAMBER} 0H{CHAMBER}M0 -{CHAMBER}V{CHAMBER}" stroke="#3b4766" stroke-width=".6" stroke-dasharray="2 5"/>
<g clip-path="url(#chamber)">{"".join(clouds)}
<g fill-opacity=".68" stroke="#0b1020" stroke-opacity=".45" stroke-width=".7">{"".join(cores)}</g></g>
<text y="{CHAMBER + 30}" font-size="18" fill="{TEXT}" text-anchor="middle">{title}</text>
<text y="{CHAMBER + 52}" font-size="14" fill="{FAINT}" text-anchor="middle">{facts} · {len(share)} particles</text>
</g>"""


def page(panels: str) -> str:
    """The chambers on one dark plate, with the legend."""
    gradients = "".join(
        f'<radialGradient id="{kind}"><stop stop-color="{colour}" stop-opacity=".62"/>'
        f'<stop offset=".45" stop-color="{colour}" stop-opacity=".24"/>'
        f'<stop offset="1" stop-color="{colour}" stop-opacity="0"/></radialGradient>'
        for kind, colour in COLOURS.items()
    )
    marks = {KINDS[flag]: f'<circle r="5.5" fill="{COLOURS[flag]}"/>' for flag in FLAGS if f"url(#{flag})" in panels}
    marks["track that misses the collision point by five sigma"] = (
        '<circle r="5" fill="none" stroke="#fff" stroke-width="1.3"/>'
    )
    widths = [36 + round(6.1 * len(text)) for text in marks]
    left = (WIDTH - sum(widths)) // 2 + 12
    legend = [
        f'<g transform="translate({left + sum(widths[:i])} 431)">{mark}<text x="11" y="4.5">{text}</text></g>'
        for i, (text, mark) in enumerate(marks.items())
    ]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" {FONT}>
<title>Three simulated jets as clouds of particles</title>
<desc>Particles around the jet axis; area proportional to transverse momentum, colour by kind.</desc>
<defs>{gradients}
<radialGradient id="glass"><stop stop-color="#1d2742"/><stop offset=".8" stop-color="#141c33"/>
<stop offset="1" stop-color="#1b2540"/></radialGradient>
<clipPath id="chamber"><circle r="{CHAMBER - 1}"/></clipPath></defs>
<rect width="{WIDTH}" height="{HEIGHT}" rx="14" fill="#0b1020"/>
{panels}
<g font-size="13" fill="{FAINT}">{"".join(legend)}</g>
</svg>
"""


if __name__ == "__main__":
    main()
