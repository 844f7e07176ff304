"""What type checkers read in the stub beside this: the async twins that `with_async_twins` makes at run time."""


class AsyncTwins:
    """Nothing at run time."""
