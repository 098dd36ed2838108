"""Messages keep their values and arrays, however the stream between two processes cuts them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.multiprocess.rpc import FrameReader, read_frame, write_frame

LARGE = 400_000  # bytes: more than what small frames share

sizes = st.lists(st.sampled_from([0, 1, 15, 16, 1000, 70_000, LARGE]), max_size=5)
cuts = st.lists(st.integers(1, 2 * LARGE), min_size=1)


def stream_of(counts: list[int]) -> bytes:
    """A stream of one message for each count, which holds an array of so many bytes."""
    messages = [("message", number, np.full(count, number, np.uint8)) for number, count in enumerate(counts)]
    return b"".join(bytes(piece) for message in messages for piece in write_frame(message))


def read_all(stream: bytes, lengths: list[int]) -> list[tuple[str, int, np.ndarray[tuple[int], np.dtype[np.uint8]]]]:
    """Feed a stream to a reader in pieces of these lengths, again and again, and read every frame."""
    reader, messages, turn = FrameReader(), [], 0
    while stream:
        room = reader.room()
        count = min(lengths[turn % len(lengths)], room.nbytes, len(stream))
        room[:count] = stream[:count]
        stream, turn = stream[count:], turn + 1
        messages += [read_frame(frame) for frame in reader.filled(count)]
    return messages


@given(sizes, cuts)
def test_however_a_stream_is_cut_every_message_arrives_once_and_in_order(counts: list[int], lengths: list[int]) -> None:
    messages = read_all(stream_of(counts), lengths)
    assert [(word, number) for word, number, _ in messages] == [("message", number) for number in range(len(counts))]
    for (_, number, array), count in zip(messages, counts, strict=True):
        assert array.shape == (count,)
        assert (array == number).all()


def test_a_message_that_was_read_is_not_written_over_by_the_next_one() -> None:
    reader = FrameReader()
    kept = []
    for number in range(3):
        stream = stream_of([number, 64])
        reader.room()[: len(stream)] = stream
        kept += [read_frame(frame) for frame in reader.filled(len(stream))]
    assert [len(array) for _, _, array in kept] == [0, 64, 1, 64, 2, 64]
    assert all((array == number).all() for _, number, array in kept)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<i8", "<u8", "|u1", "|b1"])
def test_arrays_keep_their_type_shape_and_bytes_whatever_their_layout(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for sent in (array, array.T, array[:, ::2], array[0, 0, 0], array[:0]):
        frame = memoryview(b"".join(bytes(piece) for piece in write_frame((b"x", np.asarray(sent)))))
        _, read = read_frame(frame)
        assert (read.dtype, read.shape) == (sent.dtype, sent.shape)
        assert read.tobytes() == sent.tobytes()
        assert read.flags.aligned


@given(sizes)
def test_no_piece_of_a_frame_is_empty(counts: list[int]) -> None:
    for number, count in enumerate(counts):
        assert all(len(piece) > 0 for piece in write_frame(("message", number, np.full(count, number, np.uint8))))


def test_an_array_of_objects_does_not_cross() -> None:
    with pytest.raises(TypeError, match="does not cross"):
        write_frame(np.array([object()]))
