"""Every error this platform raises on purpose.

QuantError
├── DataError
│   ├── ContractViolation      a frame does not have the columns, dtypes or keys of its table
│   ├── ConflictingRow         the same key is already stored with other content
│   ├── CalendarUnknown        a session outside the calendar's known range
│   ├── CaptureUnreadable      a vendor file that cannot be opened or has no usable part
│   ├── InstrumentUnknown      an identifier that means no instrument, or more than one
│   ├── LookbackExceeded       a kernel needs more history than its set declares
│   ├── FeaturesRefused        a feature set did not pass its audit: nothing is built on it
│   └── RateUnknown            no rate between two currencies is known, or none that is new enough
├── ModelError
│   ├── NoChampion             no promoted model is in force for the session
│   └── TrainingRefused        too little data, or data that is not finite
├── DecisionError
│   ├── ReplayMismatch         a replayed decision differs from the stored one
│   └── UnknownDecision        no stored decision has this id
├── ExecutionError
│   ├── DeliveryRefused        this book may not trade this decision set, and why
│   │   └── Tampered           what is stored is not what was decided
│   ├── OrderHeld              what is stored is not the order that was bound: it does not leave
│   ├── KillSwitchOn           nothing leaves while the switch is on
│   ├── LeaseLost              another process became the account's writer
│   ├── OrderRejected          the venue said no: definite
│   └── OrderUncertain         the venue did not say: ask it, never resend blindly
├── HomeDamaged                a file of the home is missing or cannot be used, and the way back
└── ConfigurationError         the deployment names something that is not there
"""


class QuantError(Exception):
    """Root of the tree: what happened, what was there instead, what to do next."""


class DataError(QuantError):
    """Something is wrong with data that was read or is about to be written."""


class ContractViolation(DataError):
    """A frame does not satisfy the contract of the table it is meant for."""


class ConflictingRow(DataError):
    """A row with this key is already stored, with other values."""


class CalendarUnknown(DataError):
    """A date lies outside the range for which sessions are known."""


class CaptureUnreadable(DataError):
    """A vendor's file cannot be read at all."""


class InstrumentUnknown(DataError):
    """An identifier means no instrument that is known, or more than one."""


class LookbackExceeded(DataError):
    """A feature reads further back than its declaration says."""


class FeaturesRefused(DataError):
    """A feature set looks ahead, or breaks a law of features."""


class RateUnknown(DataError):
    """What a currency is worth is not known at a cut: nothing is valued at a guess."""


class ModelError(QuantError):
    """Training, promotion or scoring cannot go on."""


class NoChampion(ModelError):
    """No promoted model is in force."""


class TrainingRefused(ModelError):
    """The training set cannot carry a model."""


class DecisionError(QuantError):
    """A decision cannot be made or rebuilt."""


class ReplayMismatch(DecisionError):
    """A replayed decision is not the stored one, or a rebuilt training set not the one that its snapshot names."""


class UnknownDecision(DecisionError):
    """No decision with this id is stored."""


class ExecutionError(QuantError):
    """Something between a decision and the venue."""


class DeliveryRefused(ExecutionError):
    """The decision set may not be delivered to this book."""


class Tampered(DeliveryRefused):
    """What is stored is not what was decided; it was changed."""


class OrderHeld(ExecutionError):
    """A stored order is not the one that was bound; a person decides."""


class KillSwitchOn(ExecutionError):
    """The kill switch forbids sending."""


class LeaseLost(ExecutionError):
    """Another process has become the one writer of the account."""


class OrderRejected(ExecutionError):
    """The venue refused the order: definite, nothing is working there."""


class OrderUncertain(ExecutionError):
    """It is not known whether the venue holds the order."""


class CursorUnknown(ExecutionError):
    """The venue does not know this cursor: ask for everything that it vouches for."""


class HomeDamaged(QuantError):
    """A file of the home is missing, unreadable or cannot be written; the message names it and the way back."""


class ConfigurationError(QuantError):
    """The deployment or the environment is inconsistent."""
