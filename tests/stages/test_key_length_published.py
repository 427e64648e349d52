"""Numbers typed from published closed forms and from other programs: each family stands without any file."""

from __future__ import annotations

import math

import pytest

from qnoded.stages.key_length.asymptotic import AsymptoticInputs, asymptotic_rate
from qnoded.stages.key_length.authentication import MacInputs, mac_bound
from qnoded.stages.key_length.bbm92_finite import Tl2017Inputs, Tlgr2012Inputs, tl2017_length, tlgr2012_length
from qnoded.stages.key_length.decoy import (
    OneDecoyInputs,
    TwoDecoyInputs,
    lim2014_length,
    rusca2018_length,
    wiesemann2024_length,
)
from qnoded.stages.key_length.device_independent import (
    ChshInputs,
    DeviceIndependentInputs,
    chsh,
    device_independent_rate,
)
from qnoded.stages.key_length.entropy import binary_entropy, error_rate_at
from qnoded.stages.key_length.link_models import (
    PairFiniteInputs,
    PairInputs,
    SinglePhotonInputs,
    WeakPulseInputs,
    pair_asymptotic,
    pair_finite,
    pair_gain_and_qber,
    single_photon_asymptotic,
    weak_pulse_asymptotic,
)
from qnoded.stages.key_length.one_way import OneWayInputs, one_way_limit
from qnoded.stages.key_length.small_blocks import Lim2021Inputs, lim2021_length

ONE_DECOY = OneDecoyInputs(
    n_key=(36361347.85045739, 1214348.0169456461),
    c_key=(728346.9337069187, 24411.384109083836),
    n_test=(448905.52901799255, 14991.950826489458),
    c_test=(8991.937453171837, 301.37511245782514),
    mu=(0.5, 0.15),
    p=(0.9, 0.1),
    f_ec=1.16,
    eps_sec=1e-12,
    eps_cor=1e-12,
)
TWO_DECOYS = TwoDecoyInputs(
    n_X=(28399585.338188678, 1636117.3827809298, 8100.0),
    n_Z=(350612.1646689959, 20198.980034332457, 99.99999999999996),
    m_Z=(2220.9725387703907, 127.95157866178513, 0.6334556420388762),
    m_X_total=190314.16341901146,
    mu=(0.5, 0.1, 0.0),
    p=(0.7, 0.2, 0.1),
    f_ec=1.16,
    eps_sec=1e-9,
    eps_cor=1e-15,
)


@pytest.mark.parametrize(("limit", "f_ec"), [(0.1100, 1.0), (0.1023, 1.1), (0.0981, 1.16), (0.0942, 1.22)])
def test_asymptotic_rate_vanishes_at_the_known_qber_limits(limit: float, f_ec: float) -> None:
    below = asymptotic_rate(AsymptoticInputs(limit - 1e-4, limit - 1e-4, f_ec))
    above = asymptotic_rate(AsymptoticInputs(limit + 1e-4, limit + 1e-4, f_ec))
    assert below.rate_clamped > 0
    assert above.rate_per_sifted_bit < 0 == above.rate_clamped


@pytest.mark.parametrize(("visibility", "rate"), [(0.98, 0.830), (0.95, 0.646), (0.90, 0.399), (0.86, 0.232)])
def test_asymptotic_rate_of_werner_states(visibility: float, rate: float) -> None:
    qber = (1 - visibility) / 2
    assert asymptotic_rate(AsymptoticInputs(qber, qber, 1.1)).rate_per_sifted_bit == pytest.approx(rate, abs=6e-4)


def test_device_independent_rate_of_two_trapped_atoms() -> None:
    # Zhang et al., Nature 607, 687 (2022): S = 2.578, Q = 0.078 gave 0.07 bit with their key settings' own entropy.
    result = device_independent_rate(DeviceIndependentInputs(S=2.578, Q=0.078))
    assert result.rate == pytest.approx(0.15741815476304039, abs=1e-12)
    assert result.chi_S == pytest.approx(0.4474892847219776, abs=1e-12)


def test_device_independent_rate_at_its_ends() -> None:
    assert device_independent_rate(DeviceIndependentInputs(S=2.8284271247461903, Q=0.0)).rate == 1.0
    classical = device_independent_rate(DeviceIndependentInputs(S=2.0, Q=0.0))
    assert (classical.chi_S, classical.rate) == (1.0, 0.0)
    assert device_independent_rate(DeviceIndependentInputs(S=1.2, Q=0.05)).rate_clamped == 0.0


def test_chsh_of_ideal_counts() -> None:
    counts = ((853, 147, 146, 854), (147, 853, 854, 146), (853, 147, 147, 853), (854, 146, 146, 854))
    result = chsh(ChshInputs(counts))
    assert pytest.approx((0.707, -0.707, 0.706, 0.708)) == result.E
    assert pytest.approx(2.828, abs=1e-12) == result.S
    assert result.n_sigma_above_2 == pytest.approx(26.17971927488729)


def test_chsh_without_statistical_error_has_no_number_of_sigmas() -> None:
    result = chsh(ChshInputs(((5, 0, 0, 5), (0, 5, 5, 0), (5, 0, 0, 5), (5, 0, 0, 5))))
    assert (result.S, result.sigma_S, result.n_sigma_above_2) == (4.0, 0.0, None)


@pytest.mark.parametrize(
    ("n", "k", "tolerance", "length"),
    [
        (10**4, 10**4, 0.01, 4928), (10**4, 10**4, 0.03, 2942), (10**4, 10**4, 0.05, 1270),
        (10**5, 10**5, 0.01, 70031), (10**5, 10**5, 0.03, 47810), (10**5, 10**5, 0.05, 29291),
        (10**6, 10**5, 0.01, 730226), (10**6, 10**5, 0.03, 503542), (10**6, 10**5, 0.05, 315368),
    ],
)  # fmt: skip
def test_tlgr2012_with_the_strict_smoothing_term(n: int, k: int, tolerance: float, length: int) -> None:
    inputs = Tlgr2012Inputs(n, k, tolerance, f_ec=1.16, eps_sec=1e-10, eps_cor=1e-15, log_numerator=4)
    assert abs(tlgr2012_length(inputs).ell_real - length) <= 1


def test_tlgr2012_as_published() -> None:
    result = tlgr2012_length(Tlgr2012Inputs(10**7, 10**6, 0.02, 1.05, 1e-9, 1e-12))
    assert result.ell == 6835904
    assert result.mu == pytest.approx(0.004853666436551992, rel=1e-14)
    assert result.leak_ec == pytest.approx(1485125.6966891168, rel=1e-14)


def test_tl2017_finds_its_best_allowance() -> None:
    result = tl2017_length(Tl2017Inputs(200000, 40000, 0.03, 50, 1e-10, r_syndrome=34213))
    assert result.ell == 75042
    assert result.nu_opt == pytest.approx(0.027230121817970073, rel=1e-13)
    assert result.eps_pa == pytest.approx(7.714950720276206e-13, rel=1e-9)


def test_tl2017_as_in_its_figure_7_yields_a_key_from_ten_thousand_bits() -> None:
    # eps 1e-10 and r = 1.1 n h(delta), as in the paper's figure.
    assert tl2017_length(Tl2017Inputs(10**4, 4500, 0.02, 40, 1e-10, f_ec=1.1)).ell > 0
    assert tl2017_length(Tl2017Inputs(10**3, 450, 0.02, 40, 1e-10, f_ec=1.1)).ell == 0


def test_lim2021_at_given_and_at_best_allowances() -> None:
    block = {"m_total": 10000, "k_test": 4000, "delta": 0.02, "t_hash": 40, "eps_qkd": 1e-10, "r_syndrome": 985}
    given = lim2021_length(Lim2021Inputs(**block, nu=0.0828, xi=0.060444))
    assert given.ell == 2039
    assert pytest.approx(0.0013502937197131793, rel=1e-14) == given.Gamma
    assert lim2021_length(Lim2021Inputs(**block)).ell == 2045


@pytest.mark.parametrize("eps", [1e-6, 1e-10])
def test_lim2021_needs_14_to_17_percent_fewer_bits_for_the_first_bit(eps: float) -> None:
    # Phys. Rev. Lett. 126, 100501 (2021), abstract; here at 1 % QBER and half of the bits for the test.
    def smallest(small: bool) -> int:
        low, high = 500, 5000
        while high - low > 1:
            m = (low + high) // 2
            common = {"m_total": m, "k_test": m // 2, "delta": 0.01, "t_hash": 2 - math.log2(eps), "eps_qkd": eps}
            common |= {"f_ec": 1.19}
            length = lim2021_length(Lim2021Inputs(**common)) if small else tl2017_length(Tl2017Inputs(**common))
            low, high = (low, m) if length.ell > 0 else (m, high)
        return high

    assert 0.13 < 1 - smallest(True) / smallest(False) < 0.18


def test_lim2021_on_the_micius_block_gives_a_handful_of_bits() -> None:
    result = lim2021_length(Lim2021Inputs(3100, 1695, 0.0451, 26.575424759098897, 1e-6, f_ec=1.2))
    assert 5 <= result.ell <= 13


def test_lim2014_against_satquma() -> None:
    result = lim2014_length(TWO_DECOYS)
    assert result.ell_real == pytest.approx(12723199.0481437, abs=1e-3)
    assert result.v_Z1 == pytest.approx(sum(TWO_DECOYS.m_Z))


def test_wiesemann2024_against_its_authors_simulator() -> None:
    result = wiesemann2024_length(ONE_DECOY)
    assert result.ell_real == pytest.approx(2786507.928698373, abs=1e-3)
    assert result.ell == 2786507


def test_rusca2018_claims_more_than_is_proven() -> None:
    assert rusca2018_length(ONE_DECOY).ell == 3115564 > wiesemann2024_length(ONE_DECOY).ell


def test_one_way_limit() -> None:
    result = one_way_limit(OneWayInputs(n=10**6, Q=0.05, frame_error=1e-3))
    assert result.f_min == pytest.approx(1.010, abs=5e-4)
    assert one_way_limit(OneWayInputs(10**4, 0.02, 1e-2)).leak_bits == pytest.approx(1590.6263255574222, abs=1e-9)


@pytest.mark.parametrize(
    ("size", "name", "log2_eps"),
    [
        (64, "poly1305", -101.0), (65536, "poly1305", -91.0), (2**20, "poly1305", -87.0),
        (65536, "ghash128", -115.9996478225197),
    ],
)  # fmt: skip
def test_mac_bound(size: int, name: str, log2_eps: float) -> None:
    assert mac_bound(MacInputs(size, name, 128)).log2_eps == pytest.approx(log2_eps, abs=1e-9)


def test_mac_bound_of_a_shorter_tag() -> None:
    short, full = mac_bound(MacInputs(4096, "ghash128", 64)), mac_bound(MacInputs(4096, "ghash128", 128))
    assert short.log2_eps - full.log2_eps == pytest.approx(64)


@pytest.mark.parametrize(
    ("half_mu", "efficiencies", "darks", "misalignment", "gain", "qber"),
    [
        (0.05, (0.1, 0.1001), (6.02e-6, 6.02e-6), 0.015, 1.11956e-3, 0.053446),
        (0.3, (0.05, 0.2), (1e-5, 1e-6), 0.02, 9.52550e-3, 0.159214),
    ],
)
def test_pair_model_spot_values(
    half_mu: float,
    efficiencies: tuple[float, float],
    darks: tuple[float, float],
    misalignment: float,
    gain: float,
    qber: float,
) -> None:
    ours = pair_gain_and_qber(half_mu, *efficiencies, *darks, misalignment)
    assert ours == pytest.approx((gain, qber), rel=1e-5)


def test_pair_model_equals_the_sum_over_photon_numbers() -> None:
    # Ma, Fung and Lo (2007), Eqs. for Y_n and e_n Y_n, summed here term by term.
    half_mu, a, b, dark, misalignment = 0.2, 0.15, 0.4, 1e-4, 0.02
    gain = wrong = 0.0
    for n in range(200):
        probability = (n + 1) * half_mu**n / (1 + half_mu) ** (n + 2)
        yield_n = (1 - (1 - dark) * (1 - a) ** n) * (1 - (1 - dark) * (1 - b) ** n)
        lost = (1 - (1 - a) ** (n + 1) * (1 - b) ** (n + 1)) / (1 - (1 - a) * (1 - b))
        mixed = ((1 - a) ** (n + 1) - (1 - b) ** (n + 1)) / (b - a)
        gain += probability * yield_n
        wrong += probability * (0.5 * yield_n - 2 * (0.5 - misalignment) / (n + 1) * (lost - mixed))
    assert pair_gain_and_qber(half_mu, a, b, dark, dark, misalignment) == pytest.approx((gain, wrong / gain), rel=1e-10)


def test_link_models_against_another_program() -> None:
    # tno.quantum.communication.qkd_key_rate 2.0.4.
    pairs = {"attenuation_db": 10.0, "dark_count_prob": 1e-6, "misalignment": 0.015, "efficiency_each_side": 0.2}
    asymptotic = pair_asymptotic(PairInputs(mu=0.1, **pairs))
    assert asymptotic.rate_per_pulse == pytest.approx(0.00017498873060208764, abs=1e-15)
    finite = pair_finite(PairFiniteInputs(mu=0.1, **pairs, p_x=0.5, pulses=10**12))
    assert finite.rate_per_pulse == pytest.approx(8.738992838029232e-05, abs=1e-15)
    pulses = {"attenuation_db": 10.0, "dark_count_prob": 1e-6, "polarisation_drift_sin2": 0.015, "efficiency": 0.2}
    weak = weak_pulse_asymptotic(WeakPulseInputs(mu=0.5, **pulses))
    assert weak.rate_per_pulse == pytest.approx(0.004259727968094452, abs=1e-13)
    single = single_photon_asymptotic(SinglePhotonInputs(**pulses))
    assert single.rate_per_pulse == pytest.approx(0.01549550081037073, abs=1e-13)


@pytest.mark.parametrize(
    ("kilometres", "gain", "qber", "rate"),
    [(0, 2.1370e-2, 0.0330, 2.5546e-3), (50, 1.9250e-3, 0.0334, 2.2260e-4), (100, 1.7326e-4, 0.0376, 1.7184e-5)],
)
def test_weak_pulse_model_near_the_simpler_one_of_ma_2005(
    kilometres: int, gain: float, qber: float, rate: float
) -> None:
    # Ma, Qi, Zhao and Lo, Phys. Rev. A 72, 012326 (2005), GYS parameters: theirs counts f = 1.22 and a factor 1/2, so
    # only click probability and QBER compare, and the rate by order; a dark count there is one of two detectors.
    inputs = WeakPulseInputs(0.21 * kilometres, 0.85e-6, 0.033, 0.045, mu=0.48)
    result = weak_pulse_asymptotic(inputs)
    assert result.gain == pytest.approx(gain, rel=1e-3)
    assert result.qber == pytest.approx(qber, rel=2e-2)
    assert 2.0 < result.rate_per_pulse / rate < 3.0


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.0123, 0.11, 0.37, 0.5])
def test_entropy_and_its_inverse(rate: float) -> None:
    assert error_rate_at(binary_entropy(rate)) == pytest.approx(rate, abs=1e-8)
