"""The C library's handles as Python objects.

Owns what C gave, lets other threads run while it waits, and turns error codes into exceptions; what a reset means or
when to connect again is decided above. A handle is used by one thread at a time.
"""

import collections.abc
import logging
import operator
import time
from collections import namedtuple
from copy import deepcopy

import numpy as np

from ferry.errors import (
    AddressError,
    BackendError,
    BusyError,
    FerryError,
    FerryTimeoutError,
    InvalidAction,
    PeerGoneError,
    ProtocolError,
    ResetNeeded,
    words,
)

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memset

from ferry.libferry cimport *

cnp.import_array()

logger = logging.getLogger("ferry")

OBSERVATION, ACTION, INFO = FERRY_OBSERVATION, FERRY_ACTION, FERRY_INFO
BOX, DISCRETE, MULTI_DISCRETE, MULTI_BINARY = FERRY_BOX, FERRY_DISCRETE, FERRY_MULTI_DISCRETE, FERRY_MULTI_BINARY
DICT, TUPLE, STRING, OTHER = FERRY_DICT, FERRY_TUPLE, FERRY_STRING, FERRY_OTHER
DISABLED, NEXT_STEP, SAME_STEP = FERRY_AUTORESET_DISABLED, FERRY_AUTORESET_NEXT_STEP, FERRY_AUTORESET_SAME_STEP
STEP, RESET, LEFT, CALL = FERRY_STEP, FERRY_RESET, FERRY_LEFT, FERRY_CALL
MAX_NDIM = FERRY_MAX_NDIM
UNLIMITED = 1 << 62  # for max_bytes

DTYPES = {
    FERRY_BOOL: "bool",
    FERRY_I8: "int8",
    FERRY_U8: "uint8",
    FERRY_I16: "int16",
    FERRY_U16: "uint16",
    FERRY_I32: "int32",
    FERRY_U32: "uint32",
    FERRY_I64: "int64",
    FERRY_U64: "uint64",
    FERRY_F16: "float16",
    FERRY_F32: "float32",
    FERRY_F64: "float64",
}

cdef dict DEFAULT_DTYPES = {
    FERRY_BOX: FERRY_F32,
    FERRY_DISCRETE: FERRY_I64,
    FERRY_MULTI_DISCRETE: FERRY_I64,
    FERRY_MULTI_BINARY: FERRY_I8,
}

Field = namedtuple(
    "Field",
    ["path", "role", "kind", "dtype", "shape", "low", "high", "low_each", "high_each", "n", "start", "capacity"],
    defaults=[(), 0.0, 0.0, None, None, 0, 0, 0],
    module="ferry._core",  # by which it is pickled
)

cdef object int64 = np.int64
cdef int POOLED = cnp.NPY_ARRAY_CARRAY | cnp.NPY_ARRAY_OWNDATA

include "_leaves.pxi"

cdef dict EXCEPTIONS = {
    FERRY_EINVAL: ValueError,
    FERRY_ENOMEM: MemoryError,
    FERRY_EADDRESS: AddressError,
    FERRY_EINUSE: AddressError,
    FERRY_EBUSY: BusyError,
    FERRY_EVERSION: ProtocolError,
    FERRY_EROLE: ProtocolError,
    FERRY_EPROTOCOL: ProtocolError,
    FERRY_ECLOSED: PeerGoneError,
    FERRY_EPEERDEAD: PeerGoneError,
    FERRY_ECORRUPT: ProtocolError,
}


def version():
    """Version of the C library that is linked in, as "major.minor.patch"."""
    cdef uint32_t number = ferry_version()
    return f"{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}"


def exception(code, text):
    """The exception that stands for a `ferry_err`, not raised."""
    return EXCEPTIONS.get(code, FerryError)(text or ferry_strerror(code).decode())


cdef int check(int code, const ferry_why *why) except -1:
    """Raises what a negative code stands for."""
    if code < 0:
        raise exception(code, text_of(why.text))
    return 0


cdef str text_of(const char *text):
    return text.decode("utf-8", "replace") if text is not NULL else ""


cdef tuple blob_of(const ferry_blob *blob):
    """(format, bytes) of a blob, or None."""
    if blob.format == FERRY_NONE:
        return None
    return blob.format, PyBytes_FromStringAndSize(<const char *>blob.data, <Py_ssize_t>blob.size_bytes)


cdef int set_blob(ferry_blob *blob, tuple content) except -1:
    """Points a blob at (format, bytes), which the caller keeps alive, or at nothing for None."""
    memset(blob, 0, sizeof(ferry_blob))
    if content is not None:
        blob.format = content[0]
        blob.data = <const char *>(<bytes>content[1])
        blob.size_bytes = len(<bytes>content[1])
    return 0


cdef str label_of(str what, object address):
    """How messages call a handle: by its address without the role."""
    if address is None:
        return f"{what} FERRY_ADDRESS"
    return f"{what} {str(address).removeprefix('serve:').removeprefix('connect:')!r}"


cdef bytes address_bytes(object address):
    if address is None:
        return None
    if not isinstance(address, str):
        raise TypeError(f"an address is a str such as 'pole', not {type(address).__name__}")
    if "\0" in address:
        raise ValueError(f"the address {address!r} contains a zero byte")
    return address.encode("utf-8", "surrogateescape")


cdef void log_line(void *user, int level, const char *text) noexcept with gil:
    """Keeps a line until C has returned: a logging handler may run anything, and an exception would be lost in C."""
    cdef Handle handle = <Handle>user
    if handle.lines is not None:
        handle.lines.append((level, text_of(text)))


cdef int64_t nanoseconds(object seconds) except? -2:
    """For the C library: None is for ever."""
    if seconds is None:
        return FERRY_FOREVER
    if not seconds >= 0:
        raise ValueError(f"timeout is {seconds!r}; it takes seconds, or None for ever")
    return <int64_t>min(seconds * 1e9, 4e18)


cdef enum:
    # Looks before the GIL is dropped: about a microsecond, within which a quick environment has answered; dropping and
    # taking the GIL costs a tenth of that alone, and much more when another thread wants it.
    LOOKS = 36

    RETRY = 16  # where looking did not help the last time, it is tried again after so many waits


cdef inline int looks_after(bint *hopeful, uint32_t *hopeless) noexcept:
    """How often to look before the GIL is dropped."""
    if hopeful[0]:
        return LOOKS
    hopeless[0] += 1
    return LOOKS if hopeless[0] % RETRY == 0 else 1


cdef enum:
    PATIENCE = 32  # steps that miss their time before it is said


cdef inline bint missed(uint32_t *in_a_row, bint again) noexcept:
    """Counts; whether it is time to say so, which comes once."""
    if in_a_row[0] == PATIENCE:
        return False
    in_a_row[0] = in_a_row[0] + 1 if again else 0
    return in_a_row[0] == PATIENCE


FRAME, LATEST = 0, -1  # paces; any other is a period in nanoseconds

cdef int64_t SLICE_NS = 40_000_000  # between two looks at signals, closing and, above, at a launched process


cdef class Handle:
    """A C handle, and how to wait on it.

    Attributes:
        label: How messages call the channel.
    """

    cdef readonly str label
    cdef bint busy
    cdef bint stopping
    cdef bint closed
    cdef list lines  # of C's log, not told yet
    cdef bint hopeful  # looking helped the last time
    cdef uint32_t hopeless  # waits where it was not tried

    def __cinit__(self):
        self.lines = []
        self.hopeful = True

    cdef int look(self, int64_t timeout_ns) noexcept nogil:
        """One C call that waits: 1 there it is, 0 not yet, or an error."""
        return FERRY_EINVAL

    cdef void release(self) noexcept:
        """Gives the C handle back."""

    cdef str known(self):
        """What C knows about the handle's state."""

    cdef int fail(self, int code) except -1:
        raise exception(code, self.known())

    cdef int enter(self) except -1:
        """Called first by all that touches the C handle; `leave` must follow.

        In between other threads may run, and Python code of the caller's (in conversions, logging, decoding): whatever
        they do, the C handle stays.
        """
        if self.closed:
            raise FerryError(f"{self.label} is closed; make a new one to go on")
        if self.busy:
            raise FerryError(f"{self.label} is in use by another thread or call; a handle serves one at a time")
        self.busy = True
        if self.lines:
            try:
                self.tell()
            except BaseException:
                self.leave()
                raise
        return 0

    cdef int leave(self) except -1:
        """Ends what `enter` began; does what a `close` had to leave undone meanwhile."""
        self.busy = False
        if self.closed:
            self.release()
        return 0

    cdef int wait(self, int64_t timeout_ns) except -1:
        """Waits: 1 there it is, 0 not within the time. Other threads run meanwhile; signals are handled every slice."""
        cdef int rc = 0
        cdef int _look
        for _look in range(looks_after(&self.hopeful, &self.hopeless)):
            rc = self.look(0)
            if rc != 0:
                break
        self.hopeful = rc != 0
        if rc == 0 and timeout_ns != 0:
            rc = self.sleep(timeout_ns)
        if rc < 0:
            self.fail(rc)
        return rc

    cdef int tell(self) except -1:
        """Hands C's log to Python's."""
        lines, self.lines = self.lines, []
        for level, text in lines:
            logger.log((logging.DEBUG, logging.INFO, logging.WARNING)[min(max(level, 0), 2)], "%s", text)
        return 0

    cdef int sleep(self, int64_t timeout_ns) except? -1000:
        cdef int rc = 0
        cdef int64_t slice_ns = SLICE_NS
        cdef int64_t deadline_ns = time.monotonic_ns() + timeout_ns if timeout_ns > 0 else 0
        while rc == 0 and not self.stopping and not self.closed:
            if timeout_ns > 0:
                slice_ns = min(SLICE_NS, deadline_ns - <int64_t>time.monotonic_ns())
                if slice_ns <= 0:
                    break
            with nogil:
                rc = self.look(slice_ns)
            if rc == 0:  # what has arrived must not be lost to an exception; signals can wait
                PyErr_CheckSignals()
                if self.lines:
                    self.tell()
        if self.closed:
            raise FerryError(f"{self.label} was closed while it waited")
        return rc

    @property
    def why(self):
        """What is known, in words: the last error, else whom the handle waits for and how long."""
        return self.known()

    def close(self):
        """Says goodbye and frees everything; a wait in another thread ends with an error. May be called again."""
        self.closed = True
        if not self.busy:
            self.release()
            self.tell()


cdef class Agent(Handle):
    """The agent's side of a channel.

    Args:
        address: Where to meet, or None for FERRY_ADDRESS.
        timeout: Seconds that an answer may take, None for ever.
        decode: Called with (bytes, format), makes a value of a blob.
        encode: Called with (value, format), makes the bytes of a blob.
        copy: Whether observations are arrays of their own, or read-only views of the region.
        bounds: Whether the bounds of Box actions are checked, beside the range of the other spaces.
        max_bytes: Larger regions are refused; 0: the library's limit.
        autoreset: DISABLED, NEXT_STEP or SAME_STEP.
        bell: Shared with other agents, or None.
        siblings: Agents that serve the same address and listen together: a list, which this one joins; or None.
        trusted: Whether the other side is a worker of this process's own: values go over as they are.
        realtime: Whether it plays in real time: `act` and `see` in place of `step`.
    """

    cdef ferry_agent *handle
    cdef const ferry_turn *answer
    cdef bytes address
    cdef str name  # of the environment
    cdef str after_loss  # what a PeerGoneError advises, with the punctuation before it
    cdef object decode
    cdef object encode
    cdef int64_t timeout_ns
    cdef uint64_t max_bytes
    cdef bint copy
    cdef bint bounds
    cdef uint32_t autoreset
    cdef Bell bell
    cdef list siblings
    cdef bint trusted
    cdef bint realtime
    cdef const ferry_turn *seen  # in real time: the observation handed out last
    cdef int64_t begun_ns  # when the period that is under way began, if steps have one
    cdef bint met  # the last step was asked for before its period was over
    cdef uint32_t late, stale  # steps of a fixed period, in a row: that were not; that found no new frame
    cdef bint held  # in real time: a frame was given that an exception (Ctrl-C) kept from being handed out
    cdef bint meeting  # what look() does: connect, or wait for the answer
    cdef readonly bint connected
    cdef readonly bint needs_reset
    cdef readonly bint has_reset  # on this connection
    cdef uint32_t owed  # kind of the turn whose answer has not been handed out
    cdef bint arrived  # that answer is here; an exception (Ctrl-C) came before it could be handed out
    cdef Node observation
    cdef Node single  # as observation, but always copies
    cdef Node action
    cdef list infos
    cdef Extra extra
    cdef Form form

    def __init__(
        self, address, *, timeout, decode, encode, copy=True, bounds=False, max_bytes=0, after_loss="",
        autoreset=FERRY_AUTORESET_DISABLED, Bell bell=None, siblings=None, trusted=False, realtime=False,
    ):
        self.label = label_of("the channel", address)
        self.after_loss = after_loss
        self.address = address_bytes(address)
        self.timeout_ns = nanoseconds(timeout)
        self.decode = decode
        self.encode = encode
        self.copy = copy
        self.bounds = bounds
        self.max_bytes = max_bytes
        self.autoreset, self.bell, self.siblings = autoreset, bell, siblings
        self.trusted, self.realtime = trusted, realtime
        self.needs_reset = True
        self.open()
        if siblings is not None:
            siblings.append(self)

    def __dealloc__(self):
        ferry_agent_close(self.handle)

    cdef int open(self) except -1:
        cdef ferry_agent_desc desc
        cdef ferry_why why
        memset(&desc, 0, sizeof(desc))
        desc.struct_size = sizeof(desc)
        if self.address is not None:
            desc.address = self.address
        desc.max_bytes = self.max_bytes
        desc.autoreset = self.autoreset
        desc.realtime = self.realtime
        desc.bell = NULL if self.bell is None else self.bell.handle
        for sibling in self.siblings or ():
            if (<Agent>sibling).handle is not NULL:
                desc.beside = (<Agent>sibling).handle
                break
        desc.log, desc.log_user = log_line, <void *>self
        return check(ferry_agent_open(&desc, &self.handle, &why), &why)

    cdef int look(self, int64_t timeout_ns) noexcept nogil:
        if self.meeting:
            return ferry_agent_connect(self.handle, timeout_ns)
        return ferry_agent_wait(self.handle, timeout_ns, &self.answer)

    cdef void release(self) noexcept:
        ferry_agent_close(self.handle)
        self.handle = NULL
        self.lost()

    cdef str known(self):
        cdef ferry_why why
        if self.handle is NULL:
            return f"{self.label} is closed"
        ferry_agent_why(self.handle, &why)
        return text_of(why.text)

    def connect(self, timeout):
        """Connects, or waits to be connected to.

        Args:
            timeout: Seconds, None for ever.

        Returns:
            Whether an environment is there.
        """
        cdef int rc
        self.enter()
        try:
            if self.handle is NULL:
                self.open()
            self.meeting = True
            try:
                rc = self.wait(nanoseconds(timeout))
            finally:
                self.meeting = False
            if rc == 1:
                self.lost()
                self.connected, self.has_reset = True, False
            self.tell()
            return rc == 1
        finally:
            self.leave()

    def disconnect(self):
        """Leaves the environment that is connected; `connect` meets the next."""
        self.enter()
        try:
            self.release()
        finally:
            self.leave()

    def describe(self):
        """What the connected environment says of itself.

        Returns:
            (what texts call it, fields, format of options, blob or None, whether it takes calls, number of rows, its
            index among its fellows or -1).
        """
        cdef const ferry_env_desc *desc
        self.enter()
        try:
            desc = ferry_agent_env(self.handle)
            if desc is NULL:
                raise FerryError(f"{self.label} has not been connected yet")
            fields = tuple([read_field(&desc.fields[i]) for i in range(desc.num_fields)])
            name = text_of(desc.name)
            self.name = repr(name) if name else label_of("at", self.address.decode() if self.address else None)
            about = blob_of(&desc.about)
            return self.name, fields, desc.blob_format, about, desc.takes_calls != 0, desc.num_rows, desc.index
        finally:
            self.leave()

    def bind(self, fields, observation, action, codecs):
        """Prepares the step path for the connection.

        Args:
            fields: Of `describe`.
            observation: Template of the observation: nested dicts and tuples of field numbers.
            action: Template of the action.
            codecs: For fields whose values may travel in blobs, by number of the field.
        """
        cdef Form form
        self.enter()
        try:
            form = Form(fields, codecs)
            self.form, self.extra = form, form.extra
            self.single = grow(observation, form, "observation", "", BackendError, False, False)
            self.action = grow(action, form, "action", "", InvalidAction, not self.trusted, self.bounds)
            form.owner = None if self.copy else Hold.of(self)
            self.observation = grow(observation, form, "observation", "", BackendError, False, False)
            self.infos = []
            for i, field in enumerate(form.fields):
                if field.role == FERRY_INFO:
                    if field.shape or field.capacity:
                        node = leaf_of(i, field, "info", BackendError, False, False, None, form.extra)
                    else:
                        node = Scalar("info", BackendError, i, field, False, form.extra)
                    self.infos.append((field.path, i, node))
        finally:
            self.leave()

    def step(self, action):
        """Sends an action, waits, and returns (observation, reward, terminated, truncated, info)."""
        cdef ferry_turn *turn
        self.enter()
        try:
            if self.needs_reset:
                raise ResetNeeded(self.reset_text())
            turn = self.turn()
            if self.extra.outgoing:  # of an action that was refused half written
                self.extra.outgoing = {}
            self.action.write(turn, action)
            if self.extra.outgoing:
                values = self.values()
                set_blob(&turn.blob, values)
            turn.kind = FERRY_STEP
            return self.exchange(FERRY_STEP)
        finally:
            self.leave()

    def act(self, action):
        """In real time: hands an action over, and waits for nothing."""
        cdef ferry_turn *turn
        cdef int rc
        self.enter()
        try:
            if self.needs_reset:
                raise ResetNeeded(self.reset_text())
            turn = self.turn()
            if self.extra.outgoing:
                self.extra.outgoing = {}
            self.action.write(turn, action)
            if self.extra.outgoing:
                self.extra.outgoing = {}
                raise InvalidAction(
                    "in real time an action must fit into its place in shared memory, and this one does not"
                )
            turn.kind = FERRY_STEP
            rc = ferry_agent_send(self.handle)
            if rc == FERRY_ESTATE and self.held:  # that frame ends the episode, and is still to be handed out
                return
            if rc < 0:
                if rc != FERRY_EINVAL and rc != FERRY_ESTATE:
                    self.lost()
                self.fail(rc)
        finally:
            self.leave()

    def see(self, int64_t pace):
        """In real time: waits as the pace says, and returns what is to be seen then, as `step` does.

        Args:
            pace: FRAME: for the next frame. LATEST: not at all. Else for the end of a period of so many nanoseconds.
        """
        self.enter()
        try:
            if self.owed:
                self.refuse_while_owed()
            if self.needs_reset:
                raise ResetNeeded(self.reset_text())
            if pace > 0:
                self.sleep_out(pace)
            if not self.held:
                self.held = self.take_frame(pace)
            result = self.read_frame(pace)
            self.held = False
            return result
        except Exception:  # one of its own; what Ctrl-C keeps from being handed out is handed out by the next call
            self.held = False
            raise
        finally:
            self.leave()

    cdef bint take_frame(self, int64_t pace) except -1:
        """Takes a frame that has not been given yet: whether there is one."""
        cdef int rc
        if pace == FRAME:
            self.receive()
            self.arrived = False
            return True
        rc = ferry_agent_wait(self.handle, 0, &self.answer)
        if rc < 0:
            text = self.known()
            self.lost()
            if rc == FERRY_ECLOSED or rc == FERRY_EPEERDEAD:
                text += self.after_loss
            raise exception(rc, text)
        return rc == 1

    @property
    def owes(self):
        """Whether an answer is owed, which `resume` waits for."""
        return self.owed != 0

    cdef int sleep_out(self, int64_t period_ns) except -1:
        """Waits for the end of the period. If it is over already the next is counted from now, else from that end."""
        cdef int64_t now = ferry_now_ns(), due_ns = self.begun_ns + period_ns
        self.met = now <= due_ns
        if missed(&self.late, not self.met):
            logger.warning(
                "%d steps in a row were asked for after their period of %.1f ms was over: the agent is slower than its "
                "pace (this is said once)", PATIENCE, period_ns * 1e-6,
            )
        while now < due_ns:
            time.sleep(<double>min(due_ns - now, SLICE_NS) * 1e-9)
            if self.closed:
                raise FerryError(f"{self.label} was closed while it waited")
            now = ferry_now_ns()
        self.begun_ns = due_ns if self.met else now
        return 0

    cdef object read_frame(self, int64_t pace):
        """What is to be seen: the frame that is held, or the one before once more."""
        cdef const ferry_turn *frame
        cdef bint is_new = self.held
        cdef uint64_t before = self.seen.frame if self.seen is not NULL and self.seen.kind == FERRY_STEP else 0
        cdef double reward = 0
        cdef bint terminated = False, truncated = False
        if missed(&self.stale, pace > 0 and not is_new):
            logger.warning(
                "%d steps in a row found no new frame: the environment is slower than the pace of %.1f ms, or stands "
                "still (this is said once)", PATIENCE, pace * 1e-6,
            )
        if is_new:
            frame = self.answer
            observation, reward, terminated, truncated, info = self.read_answer(FERRY_STEP)
            self.seen = frame
            if terminated or truncated:
                self.needs_reset = True
        else:
            frame = self.seen
            observation, info = self.observation.read(frame), {}
        info["ferry"] = {
            "frame": frame.frame if frame.kind == FERRY_STEP else 0,
            "skipped": frame.frame - before - 1 if is_new else 0,
            "obs_age_s": <double>(ferry_now_ns() - frame.frame_ns) * 1e-9 if frame.kind == FERRY_STEP else None,
            "action_age_s": <double>(frame.frame_ns - frame.action_ns) * 1e-9 if frame.action_ns != 0 else None,
            "deadline_met": self.met if pace > 0 else True,
        }
        return observation, reward, terminated, truncated, info

    cdef tuple values(self):
        """The blob for what did not fit into the slot."""
        try:
            return FERRY_VALUES, self.encode([None, self.extra.outgoing], FERRY_VALUES)
        except TypeError as error:
            raise InvalidAction(f"the action cannot travel: {error}") from None
        finally:
            self.extra.outgoing = {}

    def call(self, tuple request):
        """Sends a request, waits, and returns what came back.

        Args:
            request: (format, bytes).
        """
        cdef ferry_turn *turn
        self.enter()
        try:
            turn = self.turn()
            turn.kind = FERRY_CALL
            set_blob(&turn.blob, request)
            return self.exchange(FERRY_CALL)
        finally:
            self.leave()

    def reset(self, seed, options):
        """Begins an episode and returns (observation, info). An answer that is still owed is awaited and forgotten.

        Args:
            seed: None or 0 to 2**63 - 1.
            options: None or (format, bytes).
        """
        cdef ferry_turn *turn
        self.enter()
        try:
            if self.owed:
                self.receive()
                self.owed, self.arrived = 0, False
            turn = self.turn()
            turn.kind = FERRY_RESET
            turn.seed[0] = -1 if seed is None else seed
            set_blob(&turn.blob, options)
            return self.exchange(FERRY_RESET)
        finally:
            self.leave()

    def resume(self):
        """Waits again for the answer that a time-out or Ctrl-C left owed, and returns it."""
        self.enter()
        try:
            if not self.owed:
                raise FerryError(f"{self.label} owes no answer; there is nothing to wait for")
            kind = self.owed
            self.receive()
            return self.result(kind)
        finally:
            self.leave()

    cdef ferry_turn *turn(self) except NULL:
        cdef ferry_turn *turn
        cdef ferry_why why
        if self.owed:
            self.refuse_while_owed()
        if not self.connected:
            raise PeerGoneError(f"{self.label} is not connected; reset() connects again")
        turn = ferry_agent_turn(self.handle)
        if turn is NULL:
            self.lost()
            ferry_agent_why(self.handle, &why)
            raise exception(why.code if why.code < 0 else FERRY_ECLOSED, text_of(why.text))
        return turn

    cdef int refuse_while_owed(self) except -1:
        remedy = "wait() goes on waiting for it, reset() starts afresh"
        raise FerryError(f"{self.label} still owes the answer to the last call; {remedy}")

    cdef object exchange(self, uint32_t kind):
        self.send(kind)
        self.receive()
        return self.result(kind)

    cdef int send(self, uint32_t kind) except -1:
        """Sends the turn that has been filled; its answer is owed from then on."""
        cdef int rc = ferry_agent_send(self.handle)
        if rc < 0:
            if rc != FERRY_ETOOBIG:
                self.lost()
            self.fail(rc)
        self.owed, self.arrived, self.held = kind, False, False
        return 0

    cdef int receive(self) except -1:
        """Waits for the answer that is owed."""
        cdef int rc = 0
        if self.arrived:
            return 0
        try:
            rc = self.wait(self.timeout_ns)
        except PeerGoneError as error:
            self.lost()
            raise PeerGoneError(f"{error}{self.after_loss}") from None
        except FerryError:
            self.lost()
            raise
        if rc == 0:
            raise FerryTimeoutError(
                f"{self.known()}; wait() goes on waiting, reset() starts afresh; a longer timeout, or FERRY_TIMEOUT=0 "
                "for a debugger, gives it more time"
            )
        self.arrived = True
        return 0

    cdef void lost(self) noexcept:
        self.connected, self.needs_reset, self.owed, self.arrived = False, True, 0, False
        self.seen, self.held = NULL, False  # what they are about goes with the connection

    cdef object result(self, uint32_t kind):
        """Hands the answer out. Only an exception that is none of its own (Ctrl-C) leaves it owed."""
        try:
            result = self.read_answer(kind)
        except Exception:
            self.owed, self.arrived = 0, False
            raise
        self.owed, self.arrived = 0, False
        return result

    cdef object read_answer(self, uint32_t kind):
        cdef const ferry_turn *answer = self.answer
        cdef object observation, info
        if answer.status[0] != FERRY_ROW_OK:
            self.refused(answer, kind)
        if kind == FERRY_CALL:
            return self.returned(answer)
        if self.extra.incoming:  # of an earlier turn
            self.extra.incoming = {}
        info = {} if answer.blob.format == FERRY_NONE else self.info(answer)
        try:
            observation = self.observation.read(answer)
            if self.infos:
                for key, index, node in self.infos:
                    if answer.present[<uint32_t>index][0]:
                        info[key] = (<Node>node).read(answer)
        except BackendError:
            self.needs_reset = True
            raise
        if kind == FERRY_RESET:
            self.needs_reset, self.has_reset = False, True
            self.seen, self.begun_ns = answer, ferry_now_ns()
            return observation, info
        return observation, answer.reward[0], answer.terminated[0] != 0, answer.truncated[0] != 0, info

    cdef int refused(self, const ferry_turn *answer, uint32_t kind) except -1:
        content = blob_of(&answer.blob)
        try:
            report = "it does not say why" if content is None else self.decode(content[1], content[0])
        except ValueError as error:
            report = f"its report cannot be read: {error}"
        if isinstance(report, FerryError):  # of a trusted worker
            raise report
        if kind == FERRY_CALL:
            raise BackendError.of_report(self.name, report, "")
        if answer.status[0] == FERRY_ROW_REFUSED:
            raise InvalidAction(words(report))
        self.needs_reset = True
        raise BackendError.of_report(self.name, report)

    cdef object returned(self, const ferry_turn *answer):
        content = blob_of(&answer.blob)
        try:
            return None if content is None else self.decode(content[1], content[0])
        except ValueError as error:
            raise BackendError.of_report(self.name, f"what it returned cannot be read: {error}", "") from None

    cdef dict info(self, const ferry_turn *answer):
        content = blob_of(&answer.blob)
        try:
            info = self.decode(content[1], content[0])
            if content[0] == FERRY_VALUES:
                info, self.extra.incoming = parts_of(info)
                info = {} if info is None else info
        except ValueError as error:
            self.needs_reset = True
            raise BackendError.of_report(self.name, f"its info cannot be read: {error}") from None
        if not isinstance(info, dict):
            self.needs_reset = True
            raise BackendError.of_report(self.name, f"its info is of type {type(info).__name__}, not a map")
        return info

    cdef str reset_text(self):
        if not self.connected:
            return f"{self.label} has lost its environment{self.after_loss or '; launch it again'}"
        return f"{self.label} has no episode under way; call reset() before step()"


cdef class Bell:
    """What agents share that are waited for together."""

    cdef ferry_bell *handle

    def __cinit__(self):
        cdef ferry_why why
        check(ferry_bell_open(&self.handle, &why), &why)

    def close(self):
        """Frees it. Its agents are closed already."""
        ferry_bell_close(self.handle)
        self.handle = NULL

    def __dealloc__(self):
        ferry_bell_close(self.handle)


include "_agents.pxi"


include "_observer.pxi"


cdef class Hold:
    """Keeps a connection's region mapped for as long as a view of it lives."""

    cdef ferry_hold *handle

    def __dealloc__(self):
        ferry_release(self.handle)

    @staticmethod
    cdef Hold of(Agent agent):
        cdef Hold hold = Hold()
        hold.handle = ferry_agent_hold(agent.handle)
        if hold.handle is NULL:
            raise MemoryError()
        return hold


cdef class Env(Handle):
    """The environment's side of a channel.

    Args:
        address: Where to meet; FERRY_ADDRESS takes precedence. None: it alone.
        fields: The field table.
        observation: Template of the observation: nested dicts and tuples of field numbers.
        action: Template of the action.
        codecs: For fields whose values may travel in blobs, by number of the field.
        decode: As an agent's.
        encode: As an agent's.
        about: (format, bytes) told to agents: a map with "metadata", "spec" and "spaces".
        name: Shown to people; None: the address.
        max_bytes: Larger regions are refused; 0: the library's limit.
        num_rows: How many environments there are.
        trusted: Whether the agent is the process that has started this one.
        realtime: Whether it waits for nobody: `next` gives a STEP at once while an episode runs.
    """

    cdef ferry_env *handle
    cdef const ferry_turn *turn
    cdef Node observation
    cdef Node action_node
    cdef Extra extra
    cdef object decode
    cdef object encode
    cdef bint unpacked  # extra.incoming is of this turn

    def __init__(
        self, address, fields, observation, action, *, codecs, decode, encode, about=None, name=None, max_bytes=0,
        num_rows=1, trusted=False, realtime=False,
    ):
        cdef Form form = Form(fields, codecs)
        form.trusted = trusted
        self.label = label_of("the backend at", address)
        self.extra, self.decode, self.encode = form.extra, decode, encode
        self.observation = grow(observation, form, "observation", "", ValueError, False, False)
        self.action_node = grow(action, form, "action", "", ValueError, False, False)
        self.open(
            address_bytes(address), form.fields, about, None if name is None else name.encode(), max_bytes, num_rows,
            realtime,
        )

    def __dealloc__(self):
        ferry_env_close(self.handle)

    cdef int open(
        self, bytes address, tuple fields, tuple about, bytes name, uint64_t max_bytes, uint32_t num_rows, bint realtime
    ) except -1:
        cdef ferry_env_desc desc
        cdef ferry_why why
        cdef ferry_field *table = <ferry_field *>calloc(len(fields) + 1, sizeof(ferry_field))
        cdef list kept = []
        cdef Py_ssize_t i
        if table is NULL:
            raise MemoryError()
        try:
            for i in range(len(fields)):
                write_field(&table[i], fields[i], kept)
            memset(&desc, 0, sizeof(desc))
            desc.struct_size = sizeof(desc)
            if address is not None:
                desc.address = address
            if name is not None:
                desc.name = name
            desc.fields, desc.num_fields = table, <uint32_t>len(fields)
            desc.blob_format = FERRY_MSGPACK
            desc.takes_calls = 1
            desc.max_bytes = max_bytes
            desc.num_rows = num_rows
            desc.realtime = realtime
            set_blob(&desc.about, about)
            desc.log, desc.log_user = log_line, <void *>self
            return check(ferry_env_open(&desc, &self.handle, &why), &why)
        finally:
            free(table)

    cdef int look(self, int64_t timeout_ns) noexcept nogil:
        return ferry_env_wait(self.handle, timeout_ns, &self.turn)

    cdef void release(self) noexcept:
        self.turn = NULL
        ferry_env_close(self.handle)
        self.handle = NULL

    @property
    def is_at_rest(self):
        """Whether the action of a STEP is none that an agent has sent."""
        return self.turn is not NULL and self.turn.kind == FERRY_STEP and self.turn.action_ns == 0

    cdef str known(self):
        cdef ferry_why why
        if self.handle is NULL:
            return f"{self.label} is closed"
        ferry_env_why(self.handle, &why)
        return text_of(why.text)

    def next(self, timeout):
        """Waits for the agent's next turn.

        Args:
            timeout: Seconds, None for ever.

        Returns:
            STEP, RESET, CALL or LEFT; 0 after the time, or when `stop` was called.
        """
        self.enter()
        try:
            self.turn = NULL
            self.unpacked = False
            if self.wait(nanoseconds(timeout)) != 1:
                return 0
            if self.extra.outgoing:  # of an observation that was refused half written
                self.extra.outgoing = {}
            return self.turn.kind
        finally:
            self.leave()

    def rows(self):
        """The rows that a STEP or RESET is about."""
        cdef uint32_t i
        self.enter()
        try:
            if self.turn is NULL:
                raise FerryError(f"{self.label} has no such turn to look at")
            return [self.turn.rows[i] for i in range(self.turn.num_rows)]
        finally:
            self.leave()

    def stop(self):
        """Makes the wait under way, and every later one, end with 0. For any thread."""
        self.stopping = True

    def action(self, uint32_t row=0):
        """The action of a STEP for a row of it: Python's own values and arrays, the caller's to keep."""
        self.enter()
        try:
            self.expect(FERRY_STEP)
            if not self.unpacked:
                self.unpack()
            self.extra.row = row
            return self.action_node.read(self.turn)
        finally:
            self.extra.row = 0
            self.leave()

    cdef int unpack(self) except -1:
        """Takes what does not lie in the slot out of the blob."""
        if self.extra.incoming:  # of an earlier turn
            self.extra.incoming = {}
        if self.turn.blob.format == FERRY_VALUES:
            content = blob_of(&self.turn.blob)
            _nothing, self.extra.incoming = parts_of(self.decode(content[1], content[0]))
        self.unpacked = True
        return 0

    def seed(self, uint32_t row=0):
        """The seed that a RESET gives to a row of it, or None."""
        self.enter()
        try:
            self.expect(FERRY_RESET)
            return None if self.turn.seed[row] < 0 else self.turn.seed[row]
        finally:
            self.leave()

    def options(self):
        """The options of a RESET: (format, bytes) or None."""
        self.enter()
        try:
            self.expect(FERRY_RESET)
            return blob_of(&self.turn.blob)
        finally:
            self.leave()

    def called(self):
        """The request of a CALL: (format, bytes) or None."""
        self.enter()
        try:
            self.expect(FERRY_CALL)
            return blob_of(&self.turn.blob)
        finally:
            self.leave()

    def give(self, tuple value):
        """Answers a CALL with (format, bytes)."""
        cdef ferry_blob blob
        self.enter()
        try:
            self.expect(FERRY_CALL)
            set_blob(&blob, value)
            self.done(ferry_env_blob(self.handle, &blob))
            self.turn = NULL
            self.done(ferry_env_reply(self.handle))
        finally:
            self.leave()

    def reason(self):
        """Of a LEFT: the exception that says how the agent went; None if it said goodbye."""
        self.enter()
        try:
            self.expect(FERRY_LEFT)
            return None if self.turn.reason == FERRY_ECLOSED else exception(self.turn.reason, self.known())
        finally:
            self.leave()

    def put(self, uint32_t row, observation, double reward, bint terminated, bint truncated):
        """Writes a row's part of the answer.

        Args:
            row: One of `rows`.
            observation: Of the observation space. ValueError: it does not fit, and the turn is still to be answered.
            reward: 0.0 for a reset, as are the flags.
            terminated: Whether the episode reached an end.
            truncated: Whether it was cut short.
        """
        self.enter()
        try:
            if self.turn is NULL:
                raise FerryError(f"{self.label} has no turn to answer")
            self.extra.row = row
            self.observation.write(self.turn, observation)
            self.turn.reward[row] = reward
            self.turn.terminated[row] = terminated
            self.turn.truncated[row] = truncated
        finally:
            self.extra.row = 0
            self.leave()

    def reply(self, tuple info):
        """Answers the turn with what was put.

        Args:
            info: (format, bytes) or None. Of many rows a map from rows to infos.
        """
        cdef ferry_blob blob
        self.enter()
        try:
            if self.turn is NULL:
                raise FerryError(f"{self.label} has no turn to answer")
            if self.extra.outgoing:
                info = self.with_values(info)
            if info is not None:
                set_blob(&blob, info)
                self.done(ferry_env_blob(self.handle, &blob))
            self.turn = NULL
            self.done(ferry_env_reply(self.handle))
        finally:
            self.leave()

    cdef tuple with_values(self, tuple info):
        """An info's blob with the values that did not fit into the slot."""
        outgoing, self.extra.outgoing = self.extra.outgoing, {}
        # An array of two, the first of which is written already.
        return FERRY_VALUES, b"\x92" + (b"\xc0" if info is None else info[1]) + self.encode(outgoing, FERRY_MSGPACK)

    def refuse(self, tuple report):
        """Answers the turn with a failure; the agent must reset next.

        Args:
            report: (format, bytes) of a text, or of a map with "type", "text" and "traceback".
        """
        cdef ferry_blob blob
        self.enter()
        try:
            set_blob(&blob, report)
            self.done(ferry_env_blob(self.handle, &blob))
            self.turn = NULL
            self.done(ferry_env_fail(self.handle, NULL))
        finally:
            self.leave()

    cdef int expect(self, uint32_t kind) except -1:
        if self.turn is NULL or self.turn.kind != kind:
            raise FerryError(f"{self.label} has no such turn to look at")
        return 0

    cdef int done(self, int code) except -1:
        if code < 0:
            self.fail(code)
        return 0


include "_workers.pxi"


include "_relay.pxi"


cdef tuple parts_of(content):
    """The two parts of a blob in the format VALUES."""
    if not isinstance(content, list) or len(content) != 2 or not isinstance(content[1], dict):
        raise ValueError("it is not an array of a blob and a map of values")
    return content[0], content[1]


cdef object read_field(const ferry_field *field):
    """A field of a description, which C has checked."""
    cdef uint8_t dtype = field.dtype if field.dtype != FERRY_DEFAULT else DEFAULT_DTYPES.get(field.kind, FERRY_U8)
    cdef Py_ssize_t size_bytes = ferry_dtype_bytes(dtype)
    cdef int i
    shape = tuple([field.shape[i] for i in range(field.ndim)])
    for i in range(field.ndim):
        size_bytes *= field.shape[i]
    low = high = None
    if field.low_each is not NULL and field.high_each is not NULL and field.kind in (FERRY_BOX, FERRY_MULTI_DISCRETE):
        low = PyBytes_FromStringAndSize(<const char *>field.low_each, size_bytes)
        high = PyBytes_FromStringAndSize(<const char *>field.high_each, size_bytes)
    path = text_of(field.path)
    return Field(
        path, field.role, field.kind, dtype, shape, field.low, field.high, low, high, field.n, field.start,
        field.capacity,
    )


cdef int write_field(ferry_field *out, field, list kept) except -1:
    """Fills a zeroed field; kept receives the objects whose memory it points to."""
    cdef bytes path = field.path.encode()
    cdef int i
    if len(field.shape) > FERRY_MAX_NDIM:
        raise ValueError(f"the field {field.path!r} has {len(field.shape)} dimensions; {FERRY_MAX_NDIM} are possible")
    kept.append(path)
    kept.append(field)
    out.path = path
    out.role, out.kind, out.dtype, out.ndim = field.role, field.kind, field.dtype, len(field.shape)
    for i in range(out.ndim):
        out.shape[i] = field.shape[i]
    out.low, out.high, out.n, out.start = field.low, field.high, field.n, field.start
    out.capacity = field.capacity
    if field.low_each is not None:
        out.low_each = <const char *>(<bytes>field.low_each)
        out.high_each = <const char *>(<bytes>field.high_each)
    return 0
