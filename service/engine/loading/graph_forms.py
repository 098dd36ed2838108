"""Forms in which a device may compute a graph, tried one after the other until one gives the same bytes run after run.

    heuristic ──▶ exhaustive ──▶ as_convolutions ──▶ refused
    the first plan   the first plan of     no transposed      the caller takes another device,
    of cuDNN's fast  its thorough          convolutions       or tells the operator
    heuristic        heuristic             (where it has any)

cuDNN may compute a transposed convolution with atomic additions, and ONNX Runtime cannot be told to leave such plans
out. Which form serves depends on no timing, so that replicas of one stack choose alike.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from service.engine.backends.base import InstanceGroup
from service.engine.backends.cuda import ConvSearch
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.conv_transpose import as_convolutions
from service.engine.model_spec import GraphReport, GraphSpec
from service.errors import NotReproducible, PackageError, SessionFailed

Loaded = tuple[InstanceGroup, GraphReport]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GraphForm:
    """One way to compute a graph.

    Attributes:
        name: as in `DeviceReport.form`.
        conv_search: how its convolutions are chosen.
        is_rewritten: whether its transposed convolutions are written as convolutions.
    """

    name: str
    conv_search: ConvSearch = "HEURISTIC"
    is_rewritten: bool = False


AS_STATED = GraphForm("heuristic")
FORMS = (AS_STATED, GraphForm("exhaustive", "EXHAUSTIVE"), GraphForm("as_convolutions", is_rewritten=True))


def load_reproducibly(
    graph: str, load: Callable[[GraphForm, VerificationSpec], Loaded], verification: VerificationSpec
) -> Loaded:
    """Load a graph in the first form that serves the largest batch, else in that which serves the largest of all.

    In `fast`, and where it is batch-coupled, a graph has no bytes to repeat and is loaded as stated.

    Args:
        graph: its role in the package, for messages.
        load: loads and verifies one form of it.
        verification: what it must show.

    Raises:
        NotReproducible: no form gives the same bytes run after run.
        PackageError: `load` refused the graph as stated for another reason.
        SessionFailed: as stated, a run failed.
    """
    best: Loaded | None = None
    tried: list[str] = []
    for form, spec in _forms(verification.spec):
        tried.append(form.name)
        try:
            loaded = load(form, replace(verification, spec=spec))
        except (PackageError, SessionFailed) as error:
            if form is AS_STATED and not isinstance(error, NotReproducible):
                raise
            _log.warning("as %s it does not serve: %s", form.name, error)
            continue
        if best is None or _largest(loaded) > _largest(best):
            best = loaded
        if verification.mode == "fast" or verification.spec.batch_coupled or _largest(best) == verification.max_batch:
            break
    if best is None:
        raise NotReproducible(
            f"{graph}: in no form ({', '.join(tried)}) does this device give the same sample twice in any batch size; "
            "only `fast` or the CPU could serve it"
        )
    return best


def _forms(spec: GraphSpec) -> Iterator[tuple[GraphForm, GraphSpec]]:
    for form in FORMS:
        if not form.is_rewritten:
            yield form, spec
        elif (model := as_convolutions(spec.model)) is not None:
            yield form, replace(spec, model=model)


def _largest(loaded: Loaded) -> int:
    """The largest batch size that serves; 0 of a batch-coupled graph."""
    return max(loaded[1].buckets, default=0)
