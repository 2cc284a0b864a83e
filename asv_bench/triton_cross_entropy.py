"""Cross-entropy of the usual kind in Triton, to be measured against: one program a row.

Two reads of the logits and one write: the largest and the sum, online, then the gradient in place
of the logits. Arithmetic is float32 whatever the format.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

LARGEST_BLOCK = 32768


@triton.jit
def row_kernel(
    logits,
    labels,
    losses,
    counted,
    stride,
    classes,
    IGNORED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Loss and gradient of a row."""
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels + row)
    logits += row * stride
    lanes = tl.arange(0, BLOCK)

    if label == IGNORED:
        for start in range(0, classes, BLOCK):
            tl.store(logits + start + lanes, 0.0, mask=start + lanes < classes)
        tl.store(losses + row, 0.0)
        return

    at_label = tl.load(logits + label).to(tl.float32)
    largest = float("-inf")
    total = 0.0
    for start in range(0, classes, BLOCK):
        x = tl.load(logits + start + lanes, mask=start + lanes < classes, other=float("-inf"))
        x = x.to(tl.float32)
        larger = tl.maximum(largest, tl.max(x))
        total = total * tl.exp(largest - larger) + tl.sum(tl.exp(x - larger))
        largest = larger

    rows = tl.load(counted).to(tl.float32)
    for start in range(0, classes, BLOCK):
        x = tl.load(logits + start + lanes, mask=start + lanes < classes, other=float("-inf"))
        p = tl.exp(x.to(tl.float32) - largest) / total
        p = tl.where(start + lanes == label, p - 1.0, p)
        tl.store(logits + start + lanes, p / rows, mask=start + lanes < classes)
    tl.store(losses + row, largest + tl.log(total) - at_label)


def cross_entropy_in_place(logits: Any, labels: Any, ignore_index: int = -100) -> tuple[Any, Any]:
    """The mean loss, and its gradient in place of the logits."""
    rows, classes = logits.shape
    block = min(LARGEST_BLOCK, triton.next_power_of_2(classes))
    losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
    counted = (labels != ignore_index).sum()
    row_kernel[(rows,)](
        logits,
        labels,
        losses,
        counted,
        logits.stride(0),
        classes,
        IGNORED=ignore_index,
        BLOCK=block,
        num_warps=min(32, max(4, block // 1024)),
    )
    return (losses.sum() / counted).to(logits.dtype), logits
