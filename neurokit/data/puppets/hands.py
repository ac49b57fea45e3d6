"""The 15 puppets as hands: palms are ellipses, fingers are bent strokes, a forearm leads out of the picture.

Synthetic: the proportions are invented after what such puppets look like, not measured on photographs. Each figure
looks to the right; poses turn and mirror it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurokit.data.puppets.pen import Number, Pen, Point


def _forearm(pen: Pen, at: Point, angle: Number = -90.0, width: float = 0.24) -> None:
    """Draws an arm that goes on beyond the picture's edge."""
    turned = np.radians(angle + pen.between(-14, 14))
    x, y = at
    far = (x + 2.2 * np.cos(turned), y + 2.2 * np.sin(turned))
    wrist = width * pen.between(0.8, 1.1)
    pen.stroke([at, ((x + far[0]) / 2, (y + far[1]) / 2), far], [wrist, wrist * 1.15, wrist * 1.35])


def _eye(pen: Pen, at: Point) -> None:
    """Takes an eye out of the shadow where the fingers of this figure leave a gap; in others it stays closed."""
    radius = np.where(pen.between(0, 1) < 0.5, pen.between(0.035, 0.06), 1e-4)
    pen.blob(at, radius, radius, shadow=False)


def bird(pen: Pen) -> None:
    """Two open hands with crossed thumbs: wings of four fingers each, a head between them."""
    lift = pen.between(-8, 24)
    for side in (-1, 1):
        pen.blob((0.24 * side, 0.0), 0.25, 0.2, 20 * side)
        for nth, (angle, length) in enumerate(((62, 0.62), (42, 0.78), (22, 0.8), (2, 0.66))):
            turned = angle + lift
            pen.finger((0.3 * side, 0.08 - 0.05 * nth), turned if side > 0 else 180 - turned, length, 0.095, -9 * side)
    pen.finger((-0.06, 0.06), 98, 0.4, 0.09, -6)
    pen.finger((0.06, 0.06), 82, 0.4, 0.09, 6)
    for side in (-1, 1):
        _forearm(pen, (0.16 * side, -0.08), -90 + 22 * side, 0.17)


def chicken(pen: Pen) -> None:
    """A round head with a comb of three bent fingers and a short open beak."""
    pen.blob((0.0, 0.22), 0.36, 0.33)
    for x, angle in ((-0.2, 112), (0.0, 92), (0.18, 70)):
        pen.finger((x, 0.44), angle, 0.27, 0.1, 4, 0.8)
    gape = pen.between(8, 20)
    pen.finger((0.26, 0.24), gape, 0.36, 0.12, -6, 0.3)
    pen.finger((0.26, 0.14), -gape - 8, 0.3, 0.1, 4, 0.3)
    pen.blob((0.22, -0.08), 0.09, 0.14, -10)
    _eye(pen, (0.1, 0.3))
    _forearm(pen, (-0.06, 0.02), -97, 0.27)


def cow(pen: Pen) -> None:
    """A broad head with a blunt muzzle, two horns curved towards each other and ears to the sides."""
    pen.blob((-0.05, 0.16), 0.37, 0.3, -12)
    pen.stroke([(0.05, 0.1), (0.4, -0.08), (0.58, -0.16)], [0.27, 0.23, 0.22])
    pen.finger((-0.24, 0.36), 118, 0.42, 0.085, -34, 0.45)
    pen.finger((0.08, 0.4), 62, 0.42, 0.085, 34, 0.45)
    pen.finger((-0.34, 0.22), 172, 0.32, 0.1, 10, 0.8)
    _eye(pen, (0.12, 0.18))
    _forearm(pen, (-0.22, 0.0), -104, 0.3)


def crab(pen: Pen) -> None:
    """Two hands side by side as a flat body, fingers as legs, thumbs and forefingers as pincers."""
    pen.blob((0.0, -0.02), 0.5, 0.24)
    for side in (-1, 1):
        for nth, angle in enumerate((8, -16, -40)):
            outward = angle if side > 0 else 180 - angle
            pen.finger((side * (0.42 - 0.07 * nth), -0.06 - 0.05 * nth), outward, 0.55, 0.07, -24 * side, 0.5)
        arm = pen.finger((0.34 * side, 0.1), 90 - 34 * side, 0.46, 0.1, 22 * side, 0.9)
        pen.finger(arm, 90 - 6 * side, 0.26, 0.085, 16 * side, 0.4)
        pen.finger(arm, 90 + 52 * side, 0.24, 0.075, -18 * side, 0.4)
    _forearm(pen, (-0.16, -0.1), -96, 0.16)
    _forearm(pen, (0.16, -0.1), -84, 0.16)


def _antlers(pen: Pen, base: Point, tines: tuple[float, ...], length: float, spread: float) -> None:
    """Draws two forked antlers that lean apart."""
    x, y = base
    for side in (-1, 1):
        main = np.radians(92 - spread * side + pen.between(-7, 7))
        reach = length * pen.between(0.86, 1.14)
        start = (x + 0.12 * side, y)
        middle = (start[0] + 0.5 * reach * np.cos(main), y + 0.5 * reach * np.sin(main))
        pen.stroke([start, middle, (start[0] + reach * np.cos(main), y + reach * np.sin(main))], [0.075, 0.06, 0.035])
        for nth, angle in enumerate(tines):
            share = 0.34 + 0.3 * nth
            root = (start[0] + share * reach * np.cos(main), y + share * reach * np.sin(main))
            pen.finger(root, 90 - angle * side, 0.3, 0.05, 8 * side, 0.5)


def deer(pen: Pen) -> None:
    """A narrow muzzle and two high, forked antlers of spread fingers."""
    pen.blob((-0.06, 0.0), 0.28, 0.24, -10)
    pen.stroke([(0.0, 0.0), (0.34, -0.12), (0.56, -0.2)], [0.2, 0.13, 0.1])
    _antlers(pen, (-0.1, 0.12), (58, 46), 0.8, 22)
    pen.finger((-0.26, 0.1), 160, 0.24, 0.07, 0, 0.6)
    _eye(pen, (0.06, 0.04))
    _forearm(pen, (-0.18, -0.08), -100, 0.22)


def dog(pen: Pen) -> None:
    """A flat hand: the thumb is the ear, the little finger the lower jaw."""
    pen.blob((-0.16, 0.08), 0.36, 0.27, -6)
    pen.stroke([(-0.05, 0.12), (0.32, 0.06), (0.68, 0.0)], [0.22, 0.17, 0.11])
    pen.finger((-0.02, -0.08), -16 - pen.between(0, 20), 0.6, 0.1, 4, 0.7)
    pen.finger((-0.2, 0.24), 98, 0.46, 0.12, -10, 0.45)
    _eye(pen, (0.02, 0.18))
    _forearm(pen, (-0.36, 0.0), -126, 0.26)


def elephant(pen: Pen) -> None:
    """A large head and ear; the middle fingers hang down as a trunk beside a short tusk."""
    pen.blob((-0.06, 0.22), 0.42, 0.36)
    pen.blob((-0.34, 0.12), 0.26, 0.36, 12)
    curl = pen.between(-26, 26)
    pen.finger((0.24, 0.22), -52, 0.98, 0.16, -16 + curl, 0.5)
    pen.finger((0.16, 0.0), -34, 0.34, 0.065, 26, 0.5)
    _eye(pen, (0.14, 0.3))
    _forearm(pen, (-0.3, 0.06), -106, 0.3)


def horse(pen: Pen) -> None:
    """A long head held downward, two pointed ears, and a mane of knuckles along the neck."""
    pen.stroke([(-0.12, 0.4), (0.2, 0.1), (0.48, -0.22)], [0.24, 0.19, 0.15])
    pen.finger((-0.16, 0.54), 104, 0.28, 0.08, 0, 0.35)
    pen.finger((0.0, 0.56), 84, 0.28, 0.08, 0, 0.35)
    pen.stroke([(-0.14, 0.4), (-0.34, 0.0), (-0.4, -0.4)], [0.26, 0.3, 0.34])
    for x, y in ((-0.36, 0.42), (-0.5, 0.22), (-0.62, 0.0)):
        pen.blob((x, y), 0.12, 0.1, 40)
    _eye(pen, (0.04, 0.34))
    _forearm(pen, (-0.38, -0.2), -94, 0.33)


def llama(pen: Pen) -> None:
    """A long upright neck, a small head with a short muzzle and two long ears bent inward."""
    pen.stroke([(-0.1, -0.7), (-0.12, -0.2), (-0.04, 0.3)], [0.22, 0.17, 0.15])
    pen.blob((0.04, 0.36), 0.22, 0.17, -8)
    pen.finger((0.1, 0.34), -10, 0.36, 0.13, -6, 0.8)
    pen.finger((-0.08, 0.46), 106, 0.42, 0.075, -8, 0.5)
    pen.finger((0.06, 0.48), 78, 0.42, 0.075, 8, 0.5)
    _eye(pen, (0.1, 0.42))
    _forearm(pen, (-0.1, -0.5), -92, 0.24)


def moose(pen: Pen) -> None:
    """A heavy drooping muzzle under two broad, shovel-like antlers of open hands."""
    pen.blob((-0.04, -0.04), 0.28, 0.25, -10)
    pen.stroke([(0.0, -0.02), (0.34, -0.14), (0.56, -0.34)], [0.23, 0.2, 0.21])
    for side in (-1, 1):
        x = -0.1 + 0.36 * side
        pen.stroke([(-0.1 + 0.1 * side, 0.12), (x, 0.34)], [0.09, 0.12])
        pen.blob((x + 0.1 * side, 0.42), 0.25, 0.17, 28 * side)
        for angle in (8, 36, 64, 92):
            pen.finger((x + 0.12 * side, 0.44), angle if side > 0 else 180 - angle, 0.42, 0.065, 4 * side, 0.6)
    pen.finger((0.3, -0.24), -94, 0.28, 0.08, 0, 0.6)
    _eye(pen, (0.08, 0.02))
    _forearm(pen, (-0.16, -0.14), -98, 0.25)


def panther(pen: Pen) -> None:
    """A low, long back, a round head with a round ear, a short open mouth."""
    pen.stroke([(-1.0, -0.16), (-0.5, 0.04), (0.06, 0.14)], [0.3, 0.27, 0.27])
    pen.blob((0.16, 0.18), 0.3, 0.28)
    pen.blob((0.02, 0.46), 0.11, 0.11)
    pen.finger((0.3, 0.2), -8, 0.34, 0.16, -10, 0.8)
    pen.finger((0.24, 0.02), -34 - pen.between(0, 16), 0.34, 0.09, 8, 0.8)
    _eye(pen, (0.22, 0.26))
    _forearm(pen, (-0.6, -0.1), -160 + pen.between(-10, 40), 0.3)


def rabbit(pen: Pen) -> None:
    """A round head, two long ears held as a V, and a small paw in front."""
    pen.blob((0.02, -0.02), 0.34, 0.3)
    pen.finger((-0.12, 0.18), 112, 0.8, 0.1, -4, 0.7)
    pen.finger((0.1, 0.2), 76, 0.8, 0.1, 4, 0.7)
    pen.finger((0.22, -0.2), 10, 0.36, 0.09, -14, 0.8)
    pen.blob((0.28, 0.0), 0.14, 0.12)
    _eye(pen, (0.14, 0.04))
    _forearm(pen, (-0.06, -0.2), -94, 0.25)


def snail(pen: Pen) -> None:
    """A fist as a shell upon a flat hand, with two thin feelers."""
    pen.blob((-0.16, 0.16), 0.42, 0.38)
    pen.stroke([(-0.66, -0.26), (0.0, -0.22), (0.5, -0.16)], [0.09, 0.15, 0.13])
    pen.finger((0.48, -0.1), 62, 0.44, 0.045, -4, 0.7)
    pen.finger((0.38, -0.1), 96, 0.42, 0.045, 4, 0.7)
    pen.blob((0.06, 0.0), 0.07, 0.05, shadow=False)
    _forearm(pen, (-0.4, -0.2), -152 + pen.between(-14, 30), 0.2)


def snake(pen: Pen) -> None:
    """A bare arm in the shape of an S, the hand a flat head with an open mouth."""
    swing = pen.between(0.1, 0.3)
    pen.stroke(
        [(-0.5, -1.2), (-0.3 - swing, -0.6), (-0.1 + swing, -0.2), (-0.2 - swing / 2, 0.16), (0.1, 0.42)],
        [0.2, 0.16, 0.15, 0.14, 0.14],
    )
    pen.finger((0.06, 0.44), 8 + pen.between(0, 14), 0.5, 0.12, -8, 0.6)
    pen.finger((0.06, 0.38), -20 - pen.between(0, 14), 0.44, 0.09, 6, 0.6)
    _eye(pen, (0.14, 0.5))


def swan(pen: Pen) -> None:
    """A forearm as a curved neck with a pointed head, the other hand as raised wing feathers behind."""
    bow = pen.between(0.0, 0.14)
    pen.stroke(
        [(0.1, -0.5), (0.36 + bow, -0.1), (0.2, 0.32), (0.34, 0.56)],
        [0.19, 0.13, 0.11, 0.12],
    )
    pen.finger((0.34, 0.58), -22, 0.42, 0.11, -10, 0.3)
    pen.blob((-0.2, -0.46), 0.44, 0.24)
    for nth, angle in enumerate((150, 132, 114)):
        pen.finger((-0.32 + 0.12 * nth, -0.36), angle, 0.62, 0.09, -6, 0.6)
    _forearm(pen, (-0.1, -0.5), -94, 0.26)


HANDS: tuple[Callable[[Pen], None], ...] = (
    bird,
    chicken,
    cow,
    crab,
    deer,
    dog,
    elephant,
    horse,
    llama,
    moose,
    panther,
    rabbit,
    snail,
    snake,
    swan,
)
