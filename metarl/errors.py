"""The errors that a user can mend; their messages name the value at fault and the remedy.

Scripts catch `UserError` alone and print its message without a traceback. Mistakes of a programmer
stay `TypeError`, `ValueError` and so on, with their traceback.
"""


class UserError(Exception):
    """Something outside the program is wrong: an argument, a file, a device.

    Not a `ValueError`: tyro would catch that in the settings' own checks, and wrap it in a box.
    """


class RunDirectoryError(UserError):
    """A run directory is missing, foreign, damaged or already there."""


class LockedError(RunDirectoryError):
    """Another process works in a directory."""


class CheckpointError(UserError):
    """A checkpoint is missing, foreign, damaged or of another version."""


class DeviceError(UserError):
    """A device was asked for that this machine or this torch does not have."""
