"""The memory and work that a program may ask for: for what depends on no image, and for an image's answer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from robaudit.errors import RobauditError
from robaudit.inputs.programs.sizes import check_size, work_of

#: Bytes of all tensors that do not depend on the images, besides this many times the file's own, and what is held at
#: once for one image.
COMPUTED, TIMES, HELD = 1 << 28, 16, 1 << 30
#: Multiply-adds of those tensors, and of one image's answer (ViT-H/14 at 518 x 518: 1.02e12).
COMPUTED_WORK, WORK = 1 << 35, 1 << 40


def held(graph: fx.Graph) -> int:
    """Bytes of the results that are still to be used, where they are most."""
    last = {used: node for node in graph.nodes for used in node.all_input_nodes}
    done: dict[fx.Node, list[fx.Node]] = {}
    for used, node in last.items():
        done.setdefault(node, []).append(used)
    most = now = 0
    for node in graph.nodes:
        now += _bytes(node)
        most = max(most, now)
        now -= sum(_bytes(used) for used in done.get(node, []))
    return most


def _bytes(node: fx.Node) -> int:
    if node.op in {"placeholder", "get_attr", "output"}:
        return 0
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(node.meta["example"]))


class BoundedSizes(TorchFunctionMode):
    """Inside, the results of torch's functions are bounded before they are called: each, and all together.

    Only a tensor that was computed in here may be changed, and only until it is in a graph. With `counting` off nothing
    is looked at. `own` are the bytes of the file's tensors.
    """

    def __init__(self, own: int = 0) -> None:
        super().__init__()
        self.room, self.work = COMPUTED + TIMES * own, COMPUTED_WORK
        self.counting = True
        self._own: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` if its result is small enough."""
        kwargs = kwargs or {}
        if not self.counting or not all(issubclass(kind, Tensor) for kind in types):
            return func(*args, **kwargs)
        shape = check_size(func, args, kwargs)
        if shape is not None:
            self._spend(0, work_of(func, args, shape))
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and _place(args[0]) not in self._own:
            raise RobauditError("changes a tensor of its own; export it after model.eval()")
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and _place(result) not in {_place(arg) for arg in _tensors(args)}:
            self._own.add(_place(result))
            self._spend(result.untyped_storage().nbytes(), result.numel())
        return result

    def _spend(self, room: int, work: int) -> None:
        self.room -= room
        self.work -= work
        if self.room < 0 or self.work < 0:
            raise RobauditError(
                "computes too much without an image (memory or multiply-adds); export it again"
            )

    def keep(self, tensor: Tensor) -> None:
        """Let nothing change a tensor from now on."""
        self._own.discard(_place(tensor))


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    inside = [part for arg in args if isinstance(arg, (list, tuple)) for part in arg]
    return [arg for arg in (*args, *inside) if isinstance(arg, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
