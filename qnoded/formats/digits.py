"""Rows of decimal numbers to integers, digit by digit."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

IGNORED, CHANNEL, TIME = 0, 1, 2

GOOD, NOT_A_NUMBER, TOO_LARGE, NOT_WHOLE, NOT_A_CHANNEL, TOO_FEW, TOO_MANY = range(7)
REASONS: Final = (
    "",
    "not a number",
    "a number beyond an int64",
    "a time with a fraction of a tick (name its unit in the columns, such as time_ns)",
    "a channel outside 0 to 255",
    "fewer columns than named",
    "more columns than named",
)
"""What ``read_rows`` found wrong, by its code."""

MOST_DIGITS: Final = 19
"""Significant digits kept: any int64, and never more than a uint64 holds."""
LARGEST_EXPONENT: Final = 10_000
"""Beyond every number that fits; keeps the exponent itself from overflowing."""
LARGEST: Final = np.uint64(2**63 - 1)
TEN, FIVE = np.uint64(10), np.uint64(5)
NEWLINE, HASH, PLUS, MINUS, POINT, ZERO = 10, 35, 43, 45, 46, 48
"""ASCII."""


@kernel(types.boolean, types.uint8)
def ends_field(byte: int) -> bool:
    """Tell whether a byte ends a number: blank, tab, line end, comma, semicolon, bar."""
    return byte <= 32 or byte == 44 or byte == 59 or byte == 124


@kernel(types.int64, U8_IN, types.int64, types.int64, I64_OUT)
def read_number(text: U8, at: int | np.int64, decimals: int, value: I64) -> np.int64:
    """Read one decimal number as an integer.

    Parameters
    ----------
    text : uint8[n], ended by a newline
    at : int64, its first byte
    decimals : int64, it is multiplied by this power of ten and rounded half up; -1: it must be whole as it stands
    value : int64[2], set: the integer, and GOOD or what is wrong

    Returns
    -------
    int
        Byte behind the number.
    """
    n = np.int64(at)
    negative = text[n] == MINUS
    if negative or text[n] == PLUS:
        n += 1
    # What is cut off stands as its first digit, and whether anything but zeros follows.
    number, cut, sticky = np.uint64(0), np.uint64(0), False
    kept, power, seen, point = 0, np.int64(0), 0, False
    while True:
        digit = np.uint64(text[n]) - np.uint64(ZERO)
        if digit < TEN:
            seen += 1
            if kept < MOST_DIGITS:
                number = number * TEN + digit
                kept += int(number > 0)
                power -= int(point)
            else:
                sticky |= bool(kept > MOST_DIGITS and digit > 0)
                cut = digit if kept == MOST_DIGITS else cut
                kept += 1
                power += int(not point)
        elif text[n] == POINT and not point:
            point = True
        else:
            break
        n += 1
    if seen and (text[n] == 69 or text[n] == 101):
        n += 1
        below = text[n] == MINUS
        if below or text[n] == PLUS:
            n += 1
        exponent, seen = np.int64(0), 0
        while ZERO <= text[n] <= ZERO + 9:
            if exponent < LARGEST_EXPONENT:
                exponent = exponent * 10 + np.int64(text[n]) - ZERO
            n += 1
            seen += 1
        power += -exponent if below else exponent
    value[0], value[1] = 0, GOOD
    if seen == 0 or not ends_field(text[n]):
        value[1] = NOT_A_NUMBER
        return n
    power += max(decimals, 0)
    while power < 0 and (number > 0 or cut > 0):
        sticky |= bool(cut > 0)
        cut = number % TEN
        number //= TEN
        power += 1
    # Half up is towards plus infinity: exactly half of a negative number goes to zero.
    half_up = cut > FIVE or (cut == FIVE and (sticky or not negative))
    if power == 0 and half_up:
        number += np.uint64(1)
    while power > 0 and 0 < number <= LARGEST // TEN:
        number *= TEN
        power -= 1
    if number > LARGEST or (power > 0 and number > 0):
        value[1] = TOO_LARGE
        return n
    if decimals < 0 and (cut > 0 or sticky):
        value[1] = NOT_WHOLE
        return n
    value[0] = -np.int64(number) if negative else np.int64(number)
    return n


@kernel(types.int64, U8_IN, I64_IN, types.int64, I64_OUT, U8_OUT, I64_OUT, I64_OUT)
def read_rows(text: U8, role: I64, decimals: int, time: I64, channel: U8, place: I64, status: I64) -> np.int64:
    """Read rows of columns separated by blanks, or by one comma, semicolon or bar with blanks around it.

    Empty lines and lines that begin with # are passed over. Numbers may have a sign, a decimal point and an exponent.

    Parameters
    ----------
    text : uint8[n], complete lines, each ended by a newline
    role : int64[c], IGNORED, CHANNEL or TIME, one per column
    decimals : int64, power of ten for the time, see ``read_number``
    time : int64[m], filled
    channel : uint8[m], filled
    place : int64[m], filled with the byte at which each row begins
    status : int64[3], set: bytes used, index into ``REASONS``, byte of what is wrong

    Returns
    -------
    int
        Rows read; it stops where the arrays are full or something is wrong.

    See Also
    --------
    fractions.Fraction : of the split line, the plain twin.
    """
    n, row = np.int64(0), np.int64(0)
    value = np.zeros(2, np.int64)
    status[0], status[1], status[2] = 0, GOOD, 0
    while n < text.size and row < time.size:
        begin = n
        while text[n] == 32 or text[n] == 9 or text[n] == 13:
            n += 1
        if text[n] == NEWLINE or text[n] == HASH:
            while text[n] != NEWLINE:
                n += 1
            n += 1
            status[0] = n
            continue
        place[row] = begin
        for c in range(role.size):
            start = n
            if text[n] == NEWLINE:
                status[1], status[2] = TOO_FEW, begin
                return row
            if role[c] == IGNORED:
                while not ends_field(text[n]):
                    n += 1
            else:
                # Nearly every number is a few digits and nothing else.
                first = k = np.uint64(n)
                plain = np.uint64(0)
                digit = np.uint64(text[k]) - np.uint64(ZERO)
                while digit < TEN:
                    plain = plain * TEN + digit
                    k += np.uint64(1)
                    digit = np.uint64(text[k]) - np.uint64(ZERO)
                scale = decimals if role[c] == TIME else -1
                if (
                    scale <= 0
                    and np.uint64(0) < k - first < np.uint64(MOST_DIGITS)
                    and (text[k] <= 32 or text[k] == 44 or text[k] == 59 or text[k] == 124)
                ):
                    n, value[0], value[1] = n + np.int64(k - first), np.int64(plain), GOOD
                else:
                    n = read_number(text, n, scale, value)
                if value[1] != GOOD:
                    status[1], status[2] = value[1], start
                    return row
                if role[c] == TIME:
                    time[row] = value[0]
                elif 0 <= value[0] <= 255:
                    channel[row] = np.uint8(value[0])
                else:
                    status[1], status[2] = NOT_A_CHANNEL, start
                    return row
            while text[n] == 32 or text[n] == 9 or text[n] == 13:
                n += 1
            if text[n] == 44 or text[n] == 59 or text[n] == 124:
                n += 1
                while text[n] == 32 or text[n] == 9 or text[n] == 13:
                    n += 1
        if text[n] != NEWLINE:
            status[1], status[2] = TOO_MANY, begin
            return row
        n += 1
        row += 1
        status[0] = n
    return row
