"""Sites and taps: where a method may touch a backbone without rewriting its forward.

A backbone calls a tap at each named site of each block. The taps here are identities without
parameters; a method subclasses them and overrides the sites it needs. Taps are *passed in* to the
backbone's forward, never patched into it, so one backbone serves any number of adapters at once.

Sites of a block, in the order of the forward::

    block_in -> cpe -> norm1 -> qkv -> kv -> (attention) -> proj -> norm2 -> fc1 -> (GELU) -> act
    -> fc2 -> mlp -> block_out

(``cpe`` in networks over voxels alone),

and of the whole backbone: ``points_in`` (the cloud, before it is cut into patches), ``patch_out``
(patch tokens, before CLS joins), ``tokens_in`` (the whole sequence, before the first block),
``norm_out`` (after the last LayerNorm), ``tokens_out`` (the whole sequence, for the head).

A tap that needs what another one worked out receives it as a *memo*, or finds it in
``Tokens.context``; no module remembers a tensor between two calls, so that recomputing activations
and compiling stay possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from .linear import linear
from .memory import again

if TYPE_CHECKING:
    from .tokens import CloudView, Tokens


class BlockTaps(nn.Module):
    """Identity at every site of one transformer block. All tensors are (B, T, C).

    The taps of linear layers see the layer's output ``x`` and its input ``source``, which low-rank
    methods need.
    """

    def block_in(self, tokens: Tokens) -> Tokens:
        """Before the block; may replace prompt tokens."""
        return tokens

    def bound(self, tokens: Tokens) -> BlockTaps:
        """The taps for the sites inside this call of the block, after ``block_in``.

        Taps that need the clouds at their linear layers return a view of themselves that knows
        ``tokens``, rather than remember them between two calls.
        """
        del tokens
        return self

    def cpe(self, x: Tensor, source: Tensor) -> Tensor:
        """After the convolution that tells positions, in networks over voxels, C = D."""
        del source
        return x

    def after_norm(self, site: Literal["norm1", "norm2"], layer: nn.Module, x: Tensor) -> Tensor:
        """A LayerNorm and its tap; for taps that can be had in one operation with the layer."""
        return again(getattr(self, site), again(layer, x))

    def after_linear(
        self, site: Literal["qkv", "proj", "fc1", "fc2"], layer: nn.Module, x: Tensor
    ) -> Tensor:
        """A linear layer and its tap; for taps that can be had in one operation with the layer."""
        return getattr(self, site)(linear(layer, x), x)

    def norm1(self, x: Tensor) -> Tensor:
        """After the first LayerNorm, C = D."""
        return x

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        """After the joint query, key and value projection, C = 3 D."""
        del source
        return x

    def kv(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, (B, heads, T, D / heads); may put others before them."""
        return k, v

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        """After the attention's output projection, C = D."""
        del source
        return x

    def norm2(self, x: Tensor) -> Tensor:
        """After the second LayerNorm, C = D."""
        return x

    def fc1(self, x: Tensor, source: Tensor) -> Tensor:
        """After the MLP's first layer, before what bends it, C = ``config.fc1``."""
        del source
        return x

    def act(self, x: Tensor) -> Tensor:
        """After what bends, before the MLP's second layer, C = ``config.hidden``."""
        return x

    def fc2(self, x: Tensor, source: Tensor) -> Tensor:
        """After the MLP's second layer, C = D."""
        del source
        return x

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        """Around the MLP: its input, its output, and the tokens between attention and LN2.

        Returns:
            The branch to add to the residual stream (before DropPath), and anything that
            ``block_out`` of the same block should receive: what is added there is not dropped
            by DropPath.
        """
        del x, tokens
        return out, None

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        """After the block; may change the features and may add prompt tokens."""
        del memo
        return tokens

    def token_scale(self) -> nn.Module | None:
        """What ``pointadapt inspect`` shows as the scale of each token; most taps have none.

        Returns:
            The module, of this block alone, whose output (B, T, 1) is the factor of what is added
            to each token: 0 leaves the token as it is.
        """
        return None


class Taps(nn.Module):
    """Identity at every site of a backbone; the base class of what a method adds.

    Attributes:
        blocks: one :class:`BlockTaps` for each block.
        position: how the position embedding enters: added to the input of "every_block", as
            Point-MAE fine-tunes, or "once" before the first, as DAPT does. A family whose
            pre-training knows one way keeps to that (``Backbone.positions_enter``).
        wanted: numbers of the blocks, from 0 and without the last, whose tokens the head needs
            besides the final ones; they come back as ``Tokens.hidden``.
        most_prompts: tokens that ``Tokens.insert_prompts`` adds at most, of which the newest stay;
            None for all. ``pointadapt inspect`` sets it to find what prompts are worth; prompts
            that are no tokens may be limited by it, too.
        loss_scale: what the training loop multiplies the loss by before its backward pass, so that
            taps with a loss of their own (``methods/point_lora.py``) do the same.

    Class attributes:
        lean: the taps of the LayerNorms are plain functions of their input, so that a lean forward
            pass may compute them again (see :mod:`pointadapt.backbones.memory`).
    """

    wanted: tuple[int, ...] = ()
    most_prompts: int | None = None
    loss_scale: float = 1.0
    lean: ClassVar[bool] = False

    def __init__(
        self, depth: int, position: Literal["every_block", "once"] = "every_block"
    ) -> None:
        super().__init__()
        self.position: Literal["every_block", "once"] = position
        self.blocks = nn.ModuleList(BlockTaps() for _ in range(depth))

    def points_in(self, points: Tensor) -> tuple[Tensor, Any]:
        """The cloud (B, N, 3) before it is cut into patches; may move points, and add some.

        Returns:
            The points, and anything that ``tokens_in`` should find as ``view.memo``.
        """
        return points, None

    def host(self, backbone: Any) -> Any:
        """The network whose forward runs: ``backbone``, or a stand-in that shares its tensors.

        For methods that exchange whole layers (Hugging Face peft's).
        """
        return backbone

    def set_drop_path(self, rate: float) -> None:
        """What the run asks for (``--drop-path``); for taps that have stochastic depth too."""
        del rate

    def deciding(self) -> tuple[Any, ...]:
        """What decides which operations a forward pass is, and may change from epoch to epoch.

        A captured step is captured anew where it has changed.
        """
        return ()

    def decide(self, deciding: tuple[Any, ...]) -> None:
        """Take what :meth:`deciding` was, to go on in the middle of an epoch."""
        del deciding

    def patch_out(self, x: Tensor) -> Tensor:
        """After the patch encoder, (B, G, D)."""
        return x

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        """The whole sequence before the first block and before positions are added.

        May add prompt tokens, with or without a position, and set ``tokens.context``. ``view``
        answers what the method asks of the same clouds, and holds the memo of ``points_in``.
        """
        del view
        return tokens

    def norm_out(self, x: Tensor) -> Tensor:
        """After the final LayerNorm, (B, T, D)."""
        return x

    def tokens_out(self, tokens: Tokens) -> Tokens:
        """The whole sequence as the head will see it; may add prompt tokens."""
        return tokens
