"""NumPy arrays: gradients and Hessians come from functions of their own, if at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.audit.arrays import Arrays, Results, code, dtype_name, expressions, spelled
from refloss.audit.calls import Call


class NumPy(Arrays):
    """Plain NumPy."""

    imports = "import numpy as np"

    def make(self, array: NDArray[Any]) -> Any:
        return array.copy()  # what a function does to its input must not reach the next one

    def literal(self, text: str, array: NDArray[Any]) -> str:
        name = dtype_name(array)
        dtype = f"np.{array.dtype.name}" if name != "bfloat16" else "ml_dtypes.bfloat16"
        if array.size == 0:
            return f"np.zeros({array.shape}, {dtype})"
        return f"np.array({text}{f', {dtype}' if name not in ('', 'float64') else ''})"

    def loaded(self, text: str, array: NDArray[Any]) -> str:
        return text

    def read(self, value: Any) -> NDArray[Any]:
        """What came back, as a NumPy array."""
        return np.asarray(value)

    def run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        scope = {**namespace, **arrays}
        results: Results = {}
        for component, expression in expressions(call).items():
            try:
                results[component] = self.read(eval(code(expression), scope))
            except (Exception, SystemExit) as error:
                results[component] = error
                if component == "value":
                    break
        return results

    def show(
        self, call: Call, component: str, index: str, literals: Mapping[str, str], size: int
    ) -> str:
        expression = expressions(call)[component]
        return spelled(f"print(float(({expression}){index}), '{{true}}')", literals)


ARRAYS = NumPy()
