from __future__ import annotations

import torch

from concept_forget.engines.decoding import pad_left, positions


def test_rows_end_below_each_other_and_positions_count_from_their_own_beginning() -> None:
    ids, mask = pad_left([[5, 6, 7], [8]], 0, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions(mask).tolist() == [[0, 1, 2], [0, 0, 0]]
