"""Paths between two latents: where they begin and end, and what they keep on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from service.engine.interface import Curve
from service.engine.sampling.interpolation import between

Latent = NDArray[np.float32]

CURVES: tuple[Curve, ...] = ("slerp", "lerp")
curves = st.sampled_from(CURVES)
latents = arrays(np.float32, 6, elements=st.floats(0.125, 4, width=32) | st.floats(-4, -0.125, width=32))
positions = arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1))


def lengths(points: Latent) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.linalg.norm(points.astype(np.float64), axis=1)
    return length


@given(first=latents, last=latents, curve=curves)
def test_a_path_begins_at_its_first_latent_and_ends_at_its_last(first: Latent, last: Latent, curve: Curve) -> None:
    points = between(first, last, np.array([0.0, 1.0]), curve)
    assert points.tobytes() == np.stack([first, last]).tobytes()


@given(first=latents, last=latents, places=positions, curve=curves)
def test_a_point_depends_on_its_own_position_alone(
    first: Latent, last: Latent, places: NDArray[np.float64], curve: Curve
) -> None:
    alone = [between(first, last, places[i : i + 1], curve) for i in range(len(places))]
    assert between(first, last, places, curve).tobytes() == np.concatenate(alone).tobytes()


@given(first=latents, last=latents, places=positions)
def test_a_line_never_leaves_the_box_of_its_ends(first: Latent, last: Latent, places: NDArray[np.float64]) -> None:
    points = between(first, last, places, "lerp")
    assert (points >= np.minimum(first, last) - 1e-6).all()
    assert (points <= np.maximum(first, last) + 1e-6).all()


def test_an_arc_between_latents_of_one_length_keeps_it_and_turns_evenly() -> None:
    first, last = np.array([3, 4, 0], np.float32), np.array([0, 0, 5], np.float32)
    points = between(first, last, np.linspace(0, 1, 10), "slerp")
    np.testing.assert_allclose(lengths(points), 5, rtol=1e-6)
    turns = np.arccos((points[1:] * points[:-1]).sum(axis=1) / 25)
    np.testing.assert_allclose(turns, np.pi / 2 / 9, rtol=1e-5)
    assert lengths(between(first, last, np.array([0.5]), "lerp"))[0] == pytest.approx(5 / np.sqrt(2))


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, -3.0])
def test_between_latents_of_one_direction_or_opposite_ones_the_arc_is_the_line(factor: float) -> None:
    first = np.array([0.3, -1.2, 0.7], np.float32)
    last = (factor * first).astype(np.float32)
    places = np.linspace(0, 1, 5)
    np.testing.assert_allclose(
        between(first, last, places, "slerp"), between(first, last, places, "lerp"), rtol=1e-5, atol=1e-6
    )


def test_an_arc_of_one_coordinate_is_a_line() -> None:
    points = between(np.array([2], np.float32), np.array([-1], np.float32), np.array([0.0, 0.5, 1.0]), "slerp")
    assert points[:, 0].tolist() == [2.0, 0.5, -1.0]
