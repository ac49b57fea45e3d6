"""Which keys are attended to, by blocks: counts and indices, in the layout that kernels and FlexAttention read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurokit.attention.definition import causal_mask
from neurokit.errors import InputError

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


@dataclass(frozen=True)
class BlockIndex:
    """A set of key blocks for every block of queries.

    Query i stands at position `kv_len - q_len + i`. In full blocks every pair counts. In partial blocks a pair counts
    if the key exists and, where `causal`, does not come after the query. Rows of the tables list key blocks in rising
    order; what lies behind a row's count is 0.

    Attributes:
        num: Partial blocks of each query block, int32 `[B, heads, Q]`; heads is 1, Hk or H.
        idx: Their key blocks, int32 `[B, heads, Q, W]`.
        full_num: Full blocks of each query block, int32 `[B, heads, Q]`.
        full_idx: Their key blocks, int32 `[B, heads, Q, W]`.
        q_len: Number of queries S.
        kv_len: Number of keys T.
        block_q: Queries a block.
        block_k: Keys a block.
        causal: Whether keys after a query are out.
    """

    num: Tensor
    idx: Tensor
    full_num: Tensor
    full_idx: Tensor
    q_len: int
    kv_len: int
    block_q: int
    block_k: int
    causal: bool = True

    @classmethod
    def from_blocks(
        cls,
        blocks: Tensor,
        q_len: int,
        kv_len: int,
        block_q: int,
        block_k: int,
        causal: bool = True,
        width: int | None = None,
    ) -> BlockIndex:
        """Returns the index of a table of blocks; blocks that hold no visible pair are dropped.

        Args:
            blocks: Bool `[B, heads, ceil(S / block_q), ceil(T / block_k)]`.
            q_len: Number of queries S.
            kv_len: Number of keys T.
            block_q: Queries a block.
            block_k: Keys a block.
            causal: Whether keys after a query are out.
            width: Slots of a list, no less than any row needs; default is the most that a row needs.

        Raises:
            InputError: If the table's shape is another.
        """
        wanted = (_ceil(q_len, block_q), _ceil(kv_len, block_k))
        if blocks.dim() != 4 or tuple(blocks.shape[2:]) != wanted or (causal and q_len > kv_len):
            raise InputError(
                f"a table of blocks is {list(blocks.shape)} for {q_len} queries and {kv_len} keys",
                expected=f"[B, heads, {wanted[0]}, {wanted[1]}], and no more queries than keys where causal",
            )
        some, whole = _overlap(q_len, kv_len, block_q, block_k, causal, blocks.device)
        num, idx = compact(blocks & some & ~whole, width)
        full_num, full_idx = compact(blocks & whole, width)
        return cls(num, idx, full_num, full_idx, q_len, kv_len, block_q, block_k, causal)

    @classmethod
    def from_dense(cls, visible: Tensor, block_q: int, block_k: int, causal: bool = True) -> BlockIndex:
        """Returns the index of a mask that consists of whole blocks, cut along the diagonal where `causal`.

        Args:
            visible: Bool `[B, heads, S, T]`.
            block_q: Queries a block.
            block_k: Keys a block.
            causal: Whether the mask is cut along the diagonal.

        Raises:
            InputError: If the mask is no set of blocks.
        """
        index = cls.covering(visible, block_q, block_k, causal)
        if not torch.equal(index.to_dense(), visible):
            raise InputError(
                f"the mask is no set of blocks of {block_q} x {block_k}",
                expected="a mask of whole blocks" + (", cut along the diagonal" if causal else ""),
                fix="use TokenSet.from_dense, or BlockIndex.covering and a mask inside of the blocks",
            )
        return index

    @classmethod
    def covering(cls, visible: Tensor, block_q: int, block_k: int, causal: bool = True) -> BlockIndex:
        """Returns the smallest index that holds every visible pair of a mask `[B, heads, S, T]`."""
        q_len, kv_len = visible.shape[2:]
        pad = (0, _ceil(kv_len, block_k) * block_k - kv_len, 0, _ceil(q_len, block_q) * block_q - q_len)
        padded = torch.nn.functional.pad(visible, pad)
        tiles = padded.unflatten(-1, (-1, block_k)).unflatten(2, (-1, block_q))
        return cls.from_blocks(tiles.any(-1).any(3), q_len, kv_len, block_q, block_k, causal)

    def blocks(self) -> Tensor:
        """Returns the table of blocks, bool `[B, heads, Q, K]`."""
        width = _ceil(self.kv_len, self.block_k)
        return _expand(self.num, self.idx, width) | _expand(self.full_num, self.full_idx, width)

    def to_dense(self) -> Tensor:
        """Returns the pairs that count, bool `[B, heads, S, T]`."""
        wide = self.blocks().repeat_interleave(self.block_q, 2).repeat_interleave(self.block_k, 3)
        wide = wide[:, :, : self.q_len, : self.kv_len]
        return wide & causal_mask(self.q_len, self.kv_len, wide.device) if self.causal else wide

    def density(self) -> float:
        """Returns the visible pairs as a share of all pairs that a dense (causal) attention computes, 0 to 1."""
        some = torch.ones(self.q_len, self.kv_len, dtype=torch.bool)
        total = int((causal_mask(self.q_len, self.kv_len) if self.causal else some).sum())
        return float(self.to_dense().sum()) / max(total * self.num.shape[0] * self.num.shape[1], 1)

    def transpose(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns, for every key block, counts and indices of the query blocks that list it: partial, then full."""
        width = _ceil(self.kv_len, self.block_k)
        partial = compact(_expand(self.num, self.idx, width).transpose(2, 3))
        return (*partial, *compact(_expand(self.full_num, self.full_idx, width).transpose(2, 3)))

    def to_csr(self) -> tuple[Tensor, Tensor]:
        """Returns row pointers `[B * heads * Q + 1]` and the listed key blocks of all rows, both int32."""
        table = self.blocks().flatten(0, 2)
        pointers = torch.nn.functional.pad(table.sum(-1).cumsum(0), (1, 0))
        return pointers.to(torch.int32), table.nonzero()[:, 1].to(torch.int32)

    @classmethod
    def from_csr(
        cls,
        pointers: Tensor,
        columns: Tensor,
        shape: tuple[int, int],
        q_len: int,
        kv_len: int,
        block_q: int,
        block_k: int,
        causal: bool = True,
    ) -> BlockIndex:
        """Returns the index of rows in compressed form; `shape` is (B, heads), the rest as `from_blocks`.

        Raises:
            InputError: If pointers or columns do not describe such rows.
        """
        rows, width = shape[0] * shape[1] * _ceil(q_len, block_q), _ceil(kv_len, block_k)
        counts = pointers.diff()
        fits = pointers.shape == (rows + 1,) and bool((counts >= 0).all()) and int(pointers[0]) == 0
        if not fits or int(pointers[-1]) != len(columns) or (len(columns) and not int(columns.min()) >= 0):
            raise InputError(f"row pointers of {len(pointers)} do not fit", expected=f"{rows + 1}, rising from 0")
        if len(columns) and int(columns.max()) >= width:
            raise InputError(f"key block {int(columns.max())} is listed", expected=f"0 to {width - 1}")
        table = torch.zeros(rows, width, dtype=torch.bool, device=columns.device)
        table[torch.repeat_interleave(torch.arange(rows, device=columns.device), counts.long()), columns.long()] = True
        return cls.from_blocks(table.view(*shape, -1, width), q_len, kv_len, block_q, block_k, causal)

    def to_flex(self) -> BlockMask:
        """Returns the same set as FlexAttention's BlockMask; inside of partial blocks its `mask_mod` is causality."""
        from torch.nn.attention.flex_attention import BlockMask

        offset, causal = self.kv_len - self.q_len, self.causal
        width = _ceil(self.kv_len, self.block_k)  # FlexAttention's tables have a column for every key block

        def inside(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
            return kv <= q + offset if causal else kv >= 0

        return BlockMask.from_kv_blocks(
            self.num,
            _widen(self.idx, width),
            self.full_num,
            _widen(self.full_idx, width),
            BLOCK_SIZE=(self.block_q, self.block_k),
            mask_mod=inside,
            seq_lengths=(self.q_len, self.kv_len),
        )

    @classmethod
    def from_flex(cls, mask: BlockMask, causal: bool = True) -> BlockIndex:
        """Returns the blocks of a BlockMask; what its `mask_mod` does inside of them must be causality, or nothing."""
        q_len, kv_len = mask.seq_lengths
        block_q, block_k = mask.BLOCK_SIZE
        width = _ceil(kv_len, block_k)
        table = _expand(mask.kv_num_blocks, mask.kv_indices, width)
        if mask.full_kv_num_blocks is not None and mask.full_kv_indices is not None:
            table = table | _expand(mask.full_kv_num_blocks, mask.full_kv_indices, width)
        return cls.from_blocks(table, q_len, kv_len, block_q, block_k, causal)

    def to(self, device: Any) -> BlockIndex:
        """Returns the same index on a device."""
        return replace(
            self, **{name: getattr(self, name).to(device) for name in ("num", "idx", "full_num", "full_idx")}
        )

    def validate(self) -> None:
        """Checks counts, ranges and order.

        Raises:
            InputError: Says what is wrong.
        """
        width = _ceil(self.kv_len, self.block_k)
        for name, num, idx in (("partial", self.num, self.idx), ("full", self.full_num, self.full_idx)):
            live = torch.arange(idx.shape[-1], device=idx.device) < num[..., None]
            if bool((num < 0).any()) or bool((num > idx.shape[-1]).any()):
                raise InputError(f"a count of {name} blocks is outside of its table", expected=f"0 to {idx.shape[-1]}")
            if bool((((idx < 0) | (idx >= width)) & live).any()):
                raise InputError(f"a {name} block is out of range", expected=f"0 to {width - 1}")
            if bool(((idx[..., 1:] <= idx[..., :-1]) & live[..., 1:]).any()):
                raise InputError(f"{name} blocks are not in rising order", expected="each block once, rising")


def _ceil(length: int, block: int) -> int:
    return -(-length // block)


def compact(table: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns counts and indices of the true entries of the last axis, in rising order, `width` of them at most."""
    num = table.sum(-1).to(torch.int32)
    width = max(int(num.max()) if num.numel() else 0, 1) if width is None else width
    idx = torch.sort(~table, dim=-1, stable=True).indices[..., :width]
    live = torch.arange(idx.shape[-1], device=idx.device) < num[..., None]
    return num, (idx * live).to(torch.int32).contiguous()


def _widen(idx: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(idx, (0, width - idx.shape[-1])).contiguous()


def _expand(num: Tensor, idx: Tensor, width: int) -> Tensor:
    live = torch.arange(idx.shape[-1], device=idx.device) < num[..., None]
    # What is not live goes to one more column, which is cut off again.
    table = torch.zeros(*num.shape, width + 1, dtype=torch.bool, device=idx.device)
    return table.scatter(-1, torch.where(live, idx.long(), width), True)[..., :width]


def _overlap(
    q_len: int, kv_len: int, block_q: int, block_k: int, causal: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns which blocks hold a visible pair, and which hold nothing else, bool `[Q, K]`."""
    first_q = torch.arange(_ceil(q_len, block_q), device=device) * block_q
    first_k = torch.arange(_ceil(kv_len, block_k), device=device) * block_k
    offset = kv_len - q_len
    last_q = (first_q + block_q).clamp(max=q_len) - 1 + offset
    whole = (first_k + block_k <= kv_len).expand(len(first_q), -1)
    if not causal:
        return torch.ones_like(whole), whole
    return first_k <= last_q[:, None], whole & (first_k + block_k - 1 <= (first_q + offset)[:, None])
