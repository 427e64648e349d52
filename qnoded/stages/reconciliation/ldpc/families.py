"""The families of codes: how many columns of which degree, for shares of disclosed bits from 5 to 54 %.

Found for this project by density evolution with an optimisation by linear programs, as in Chung, Forney, Richardson
and Urbanke, IEEE Commun. Lett. 5:58 (2001): at the error rate that a family is designed for, the shares of the
degrees are varied step by step so that fewest checks are needed while every iteration of belief propagation still
removes at least 1 % of the wrong messages. That margin is what keeps the decoder's iterations few. The degrees were
limited to 40, the rows' degrees to two neighbouring numbers and the mean degree of a column to about five, which is
what an iteration costs. Messages were followed as densities in steps of 0.1 natural units. In decoding, the families
bear 2 to 4 % less than their design says, which is what blocks of finite length and whole numbers cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COLUMNS: Final = 800
"""Columns of circulants of every code."""


@dataclass(frozen=True, slots=True)
class Family:
    """What all codes of one share of disclosed bits have in common."""

    rows: int
    """Rows of circulants: a code discloses ``rows / COLUMNS`` bits per bit."""
    columns: dict[int, int]
    """Degree -> number of columns of that degree; ``COLUMNS`` in all."""
    designed_for: float
    """Error rate up to which infinitely long codes of this family were designed to work."""

    @property
    def edges(self) -> int:
        """Circulants of a code."""
        return sum(degree * count for degree, count in self.columns.items())


FAMILIES: Final = (
    Family(38, {2: 135, 3: 298, 6: 202, 8: 9, 10: 42, 13: 109, 16: 5}, 0.0045),
    Family(47, {2: 147, 3: 298, 6: 192, 8: 27, 13: 136}, 0.006),
    Family(60, {2: 162, 3: 297, 6: 188, 8: 17, 13: 129, 16: 7}, 0.008),
    Family(71, {2: 173, 3: 297, 6: 176, 8: 25, 13: 105, 16: 24}, 0.01),
    Family(90, {2: 189, 3: 298, 6: 143, 8: 63, 13: 50, 16: 57}, 0.0135),
    Family(101, {2: 198, 3: 298, 6: 120, 8: 96, 16: 87, 20: 1}, 0.0157),
    Family(112, {2: 206, 3: 297, 6: 120, 8: 87, 16: 90}, 0.018),
    Family(124, {2: 214, 3: 295, 6: 117, 8: 85, 16: 81, 20: 8}, 0.0205),
    Family(135, {2: 222, 3: 294, 6: 111, 8: 88, 16: 70, 20: 15}, 0.023),
    Family(150, {2: 230, 3: 278, 5: 55, 6: 77, 10: 110, 20: 50}, 0.0265),
    Family(165, {2: 238, 3: 276, 5: 54, 6: 74, 10: 109, 20: 43, 25: 6}, 0.03),
    Family(184, {2: 250, 3: 280, 5: 24, 6: 96, 10: 105, 20: 32, 25: 13}, 0.035),
    Family(204, {2: 260, 3: 282, 5: 35, 6: 69, 10: 108, 20: 28, 25: 11, 30: 7}, 0.04),
    Family(231, {2: 275, 3: 284, 6: 100, 8: 30, 10: 56, 16: 21, 20: 34}, 0.047),
    Family(244, {2: 282, 3: 280, 6: 102, 8: 2, 10: 93, 20: 41}, 0.051),
    Family(258, {2: 289, 3: 277, 6: 103, 10: 91, 20: 40}, 0.055),
    Family(277, {2: 296, 3: 276, 6: 96, 8: 2, 10: 90, 20: 34, 25: 6}, 0.061),
    Family(296, {2: 305, 3: 275, 6: 88, 8: 6, 10: 87, 20: 31, 25: 8}, 0.067),
    Family(315, {2: 312, 3: 273, 6: 89, 8: 13, 10: 70, 20: 18, 25: 19, 30: 6}, 0.0735),
    Family(334, {2: 321, 3: 271, 6: 89, 8: 11, 10: 67, 20: 21, 25: 18, 30: 2}, 0.08),
    Family(373, {2: 336, 3: 265, 6: 84, 8: 6, 10: 71, 20: 7, 25: 14, 30: 17}, 0.095),
    Family(410, {2: 350, 3: 259, 5: 8, 6: 68, 8: 11, 10: 69, 20: 2, 25: 9, 30: 23, 40: 1}, 0.11),
    Family(434, {2: 358, 3: 258, 6: 66, 8: 23, 10: 61, 25: 11, 30: 18, 40: 5}, 0.12),
)
"""In the order of what they disclose."""
