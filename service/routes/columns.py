"""What an answer says of each drawn sample beside the sample itself: seed, class, codes, condition, realness.

JSON answers and the index of an archive say the same, column by column; a column is there where the package has it.

Shapes: N samples.
"""

from service.engine.port import Samples
from service.routes.codes import name_codes
from service.routes.context import Context
from service.routes.drawing import Drawing
from service.routes.encoding import realness_of

Columns = dict[str, list[object]]


def columns_of(drawing: Drawing, place: slice, samples: Samples, parts: Context) -> Columns:
    """Describe some of a drawing's samples.

    Args:
        drawing: all of them.
        place: where `samples` stand in it.
        samples: some, as the engine answered them.
        parts: the running service; realness is observed.

    Returns:
        Field name → N values.
    """
    codes, classes = drawing.package.manifest.codes, drawing.package.manifest.labels
    realness = realness_of(drawing.package, samples, parts)
    columns: Columns = {}
    if drawing.seeds is not None:
        columns["seed"] = drawing.seeds[place].tolist()
    if samples.labels is not None:
        columns["label"] = labels = samples.labels.tolist()
        if classes is not None:
            columns["label_name"] = [classes.names[label] for label in labels]
    if samples.codes is not None and codes is not None:
        columns["codes"] = [name_codes(row, codes) for row in samples.codes.tolist()]
    if drawing.conditions is not None:
        columns["condition"] = drawing.conditions[place].tolist()
    if realness is not None:
        columns["realness"] = list(realness)
    return columns
