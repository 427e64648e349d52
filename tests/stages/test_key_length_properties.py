"""What every bound must obey: monotone in errors, block and epsilon; below the asymptotic rate; never a crash."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.stages.key_length.asymptotic import AsymptoticInputs, asymptotic_rate
from qnoded.stages.key_length.bbm92_finite import Tl2017Inputs, Tlgr2012Inputs, tl2017_length, tlgr2012_length
from qnoded.stages.key_length.decoy import OneDecoyInputs, rusca2018_length, wiesemann2024_length
from qnoded.stages.key_length.families import FAMILIES, evaluate, find_family
from qnoded.stages.key_length.inputs import all_inputs
from qnoded.stages.key_length.small_blocks import Lim2021Inputs, lim2021_length

MISPLACED_OPTIMUM_BITS = 1e-3
"""What a search for the best allowance may miss by."""

blocks = st.integers(200, 10**9)
shares = st.floats(0.05, 0.9)
rates = st.floats(0.0, 0.12)
efficiencies = st.floats(1.0, 1.5)
epsilons = st.floats(-15, -3).map(lambda exponent: 10.0**exponent)
growth = st.floats(1.0, 5.0)


def lengths(m: int, share: float, rate: float, f_ec: float, eps: float) -> dict[str, float]:
    """Lengths before rounding of the three entangled-pair bounds at one operating point."""
    k = min(m - 1, max(1, round(m * share)))
    t_hash = 2 - math.log2(eps)
    tlgr = tlgr2012_length(Tlgr2012Inputs(m - k, k, rate, f_ec, eps, eps)).ell_real
    tl = tl2017_length(Tl2017Inputs(m, k, rate, t_hash, eps, f_ec=f_ec)).ell_real
    lim = lim2021_length(Lim2021Inputs(m, k, rate, t_hash, eps, f_ec=f_ec)).ell_real
    return {"tlgr2012": tlgr, "tl2017": -math.inf if tl is None else tl, "lim2021": -math.inf if lim is None else lim}


@settings(max_examples=40)
@given(blocks, shares, rates, efficiencies, epsilons, st.floats(0.0, 0.05))
def test_more_errors_never_give_more_key(
    m: int, share: float, rate: float, f_ec: float, eps: float, more: float
) -> None:
    few, many = lengths(m, share, rate, f_ec, eps), lengths(m, share, rate + more, f_ec, eps)
    for family, length in few.items():
        assert many[family] <= max(length, 0.0) + MISPLACED_OPTIMUM_BITS, family


@settings(max_examples=40)
@given(blocks, shares, rates, efficiencies, epsilons, growth)
def test_a_larger_block_never_gives_less_key(
    m: int, share: float, rate: float, f_ec: float, eps: float, factor: float
) -> None:
    # Both sizes have the same share of test bits exactly, or rounding would move the split.
    k = max(1, round(m * share))
    n, times = max(1, m - k), math.ceil(factor)
    exact_share = k / (n + k)
    small, large = lengths(n + k, exact_share, rate, f_ec, eps), lengths(times * (n + k), exact_share, rate, f_ec, eps)
    for family, length in small.items():
        if length > 0:
            assert large[family] >= length - MISPLACED_OPTIMUM_BITS, family


@settings(max_examples=40)
@given(blocks, shares, rates, efficiencies, epsilons, growth)
def test_a_looser_epsilon_never_gives_less_key(
    m: int, share: float, rate: float, f_ec: float, eps: float, factor: float
) -> None:
    tight, loose = lengths(m, share, rate, f_ec, eps), lengths(m, share, rate, f_ec, min(0.5, eps * factor))
    for family, length in tight.items():
        if length > 0:
            assert loose[family] >= length - MISPLACED_OPTIMUM_BITS, family


@settings(max_examples=40)
@given(blocks, shares, rates, efficiencies, epsilons)
def test_no_length_is_above_the_asymptotic_one(m: int, share: float, rate: float, f_ec: float, eps: float) -> None:
    k = min(m - 1, max(1, round(m * share)))
    most = (m - k) * asymptotic_rate(AsymptoticInputs(rate, rate, f_ec)).rate_clamped
    for family, length in lengths(m, share, rate, f_ec, eps).items():
        assert length <= most, family


@settings(max_examples=30)
@given(
    st.integers(1000, 10**7),
    st.floats(0.1, 0.6),
    st.floats(0.0, 0.08),
    epsilons,
    st.floats(0.7, 1.4),
    st.floats(0.3, 0.95),
)
def test_no_other_allowances_beat_the_best_ones(
    m: int, share: float, rate: float, eps: float, nu_factor: float, xi_part: float
) -> None:
    common: dict[str, Any] = {"m_total": m, "k_test": round(m * share), "delta": rate, "t_hash": 2 - math.log2(eps)}
    common |= {"eps_qkd": eps, "f_ec": 1.1}
    best = lim2021_length(Lim2021Inputs(**common))
    nu = best.nu * nu_factor
    if best.ell > 0 and nu < 0.5 - rate:
        other = lim2021_length(Lim2021Inputs(**common, nu=nu, xi=nu * xi_part)).ell_real
        assert other is None or other <= (best.ell_real or 0.0) + MISPLACED_OPTIMUM_BITS


@settings(max_examples=30)
@given(st.floats(1e4, 1e9), st.floats(0.0, 0.08), epsilons, growth)
def test_decoy_lengths_fall_with_errors_and_with_epsilon(clicks: float, rate: float, eps: float, factor: float) -> None:
    def length(error_rate: float, eps_sec: float) -> tuple[float, float]:
        n_key, n_test = (clicks, clicks / 30), (clicks / 10, clicks / 300)
        errors = [tuple(error_rate * n for n in counts) for counts in (n_key, n_test)]
        inputs = OneDecoyInputs(n_key, errors[0], n_test, errors[1], (0.5, 0.15), (0.9, 0.1), 1.16, eps_sec, 1e-12)
        return wiesemann2024_length(inputs).ell_real, rusca2018_length(inputs).ell_real

    for here, worse, tighter in zip(
        length(rate, eps), length(rate + 0.01, eps), length(rate, eps / factor), strict=True
    ):
        if here > 0:
            assert worse <= here
            assert tighter <= here


_numbers = st.one_of(
    st.floats(0, 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-2, 10**18),
    st.sampled_from([0, 1, 0.5, 1e-10, 1e-300, 5e-324, 2**53, 40, 1e308]),
)
_values = st.one_of(
    _numbers, st.none(), st.booleans(), st.text(max_size=5), st.lists(_numbers, max_size=4),
    st.lists(st.lists(st.integers(0, 10**6), min_size=4, max_size=4), min_size=4, max_size=4),
)  # fmt: skip


@settings(max_examples=400)
@given(st.data())
def test_whatever_is_given_the_answer_is_terms_or_a_usage_error(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(FAMILIES))
    values = {name: data.draw(_values, label=name) for name in all_inputs(family.inputs)}
    try:
        evaluation = evaluate(family, values)
    except UsageError:
        return
    for value in evaluation.terms.values():
        assert not isinstance(value, float) or math.isfinite(value)


PLAUSIBLE: dict[str, Any] = {
    "n_key": st.integers(1, 10**10), "k_test": st.integers(1, 10**6), "Q_tol": st.floats(0, 0.5),
    "f_ec": st.floats(1, 2), "eps_sec": st.floats(1e-300, 0.999), "eps_cor": st.floats(1e-300, 0.999),
    "m_total": st.integers(2, 10**12), "delta": st.floats(0, 0.499999), "t_hash": st.floats(1e-3, 1024),
    "eps_qkd": st.floats(1e-300, 0.999), "r_syndrome": st.none(), "nu": st.none(), "xi": st.none(),
    "log_numerator": st.sampled_from([2, 4]), "test_errors": st.integers(0, 3), "leak_bits": st.none(),
    "tolerance": st.one_of(st.none(), st.floats(0, 0.499)), "authentication_bits": st.integers(0, 10**6),
    "eps_auth": st.just(1e-12), "verification_bits": st.none(), "basis_bits": st.just(()),
}  # fmt: skip


@settings(max_examples=150)
@given(st.data())
def test_extreme_but_allowed_blocks_give_finite_terms(data: st.DataObject) -> None:
    family = data.draw(
        st.sampled_from([one for one in FAMILIES if one.short in ("tlgr2012", "tl2017", "lim2021", "block")])
    )
    values = {name: data.draw(PLAUSIBLE[name], label=name) for name in all_inputs(family.inputs)}
    try:
        terms = evaluate(family, values).terms
    except UsageError:
        return
    for value in terms.values():
        assert not isinstance(value, float) or math.isfinite(value)


_clicks = st.one_of(st.floats(0, 1e12), st.floats(0, 3), st.just(0.0))


@settings(max_examples=80)
@given(
    st.lists(_clicks, min_size=6, max_size=6), st.floats(0, 0.5), st.floats(0.02, 1), st.floats(0.01, 0.95),
    st.floats(0.01, 0.98), st.floats(1e-300, 0.999),
)  # fmt: skip
def test_extreme_but_allowed_decoy_counts_give_finite_terms(
    clicks: list[float], rate: float, mu: float, ratio: float, p: float, eps: float
) -> None:
    common = {"f_ec": 1.16, "eps_sec": eps, "eps_cor": eps}
    key, test = clicks[:2], clicks[2:4]
    one = {"n_key": key, "c_key": [rate * n for n in key], "n_test": test, "c_test": [rate * n for n in test]}
    one |= {"mu": [mu, mu * ratio], "p": [p, 1 - p]} | common
    two = {
        "n_X": clicks[:3],
        "n_Z": clicks[3:],
        "m_Z": [rate * n for n in clicks[3:]],
        "m_X_total": rate * sum(clicks[:3]),
    }
    two |= {"mu": [mu, mu * ratio / 2, mu * ratio / 5], "p": [p, (1 - p) / 2, (1 - p) / 2]} | common
    for name, values in (("wiesemann2024", one), ("rusca2018", one), ("lim2014", two)):
        try:
            terms = evaluate(find_family(name), values).terms
        except UsageError:
            continue
        assert all(math.isfinite(term) for term in terms.values())
        # A float64 of 1e12 bits is good to 1e-4 bits.
        assert max(0.0, terms["ell_real"] - 1) - 1e-3 <= terms["ell"] <= max(0.0, terms["ell_real"] + 1e-3)
        assert terms["ell"] <= sum(values.get("n_key", values.get("n_X")))
