"""`ssm-zoo experiment`."""


def experiment_command() -> None:
    """Run the arms of an experiment."""
