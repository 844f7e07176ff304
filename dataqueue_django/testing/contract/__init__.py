"""What every store must do, as tests. The author of a store subclasses StoreContract and says how to make one:

    class TestMyStore(StoreContract):
        def make_store(self) -> Store:
            return MyStore(...)  # holding nothing

There are no exceptions to it: a store that differs on purpose says so in its `features`. Needs pytest.
"""

import pytest

TOPICS = (
    "inserting",
    "claiming",
    "finishing",
    "committing",
    "exchanging",
    "querying",
    "events",
    "deleting",
    "duties",
    "workers",
    "rates",
    "pausing",
    "grouping",
    "limiting",
    "waiting",
    "stopping",
    "scheduling",
    "statistics",
    "lifecycle",
    "histories",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("base", "watching", *TOPICS)))

from .base import NOW, Contract  # noqa: E402  (asserts are rewritten in what is imported after the call above)
from .claiming import Claiming  # noqa: E402
from .committing import Committing  # noqa: E402
from .deleting import Deleting  # noqa: E402
from .duties import Duties  # noqa: E402
from .events import Events  # noqa: E402
from .exchanging import Exchanging  # noqa: E402
from .finishing import Finishing  # noqa: E402
from .grouping import Grouping  # noqa: E402
from .histories import Histories  # noqa: E402
from .inserting import Inserting  # noqa: E402
from .lifecycle import Lifecycle  # noqa: E402
from .limiting import Limiting  # noqa: E402
from .pausing import Pausing  # noqa: E402
from .querying import Querying  # noqa: E402
from .rates import Rates  # noqa: E402
from .scheduling import Scheduling  # noqa: E402
from .statistics import Statistics  # noqa: E402
from .stopping import Stopping  # noqa: E402
from .waiting import Waiting  # noqa: E402
from .workers import Workers  # noqa: E402

__all__ = ["NOW", "Contract", "StoreContract"]


class StoreContract(
    Inserting,
    Claiming,
    Finishing,
    Committing,
    Exchanging,
    Querying,
    Events,
    Deleting,
    Duties,
    Workers,
    Rates,
    Pausing,
    Grouping,
    Limiting,
    Waiting,
    Stopping,
    Scheduling,
    Statistics,
    Lifecycle,
    Histories,
):
    """The whole contract."""
