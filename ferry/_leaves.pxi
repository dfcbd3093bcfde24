# Values in and out of a turn: a tree that mirrors a space, grown once for each connection.
#
# Every node can read its part of a turn as a Python value, and write one into it. This is the step path: it speaks the
# C API of CPython and NumPy where that saves a microsecond, and falls back to plain Python for values to convert.

ctypedef fused checked_integer:
    int8_t
    int64_t

cdef extern from *:
    """
    /* True when nobody but the caller's one reference can see the object, so that its memory may be used again. Where
     * reference counts do not say so (free threading, PyPy) it is never true. */
    static inline int ferry__unshared(PyObject *object) {
    #if defined(Py_GIL_DISABLED) || defined(PYPY_VERSION)
        (void)object;
        return 0;
    #else
        PyObject **weak = (PyObject **)((char *)object + Py_TYPE(object)->tp_weaklistoffset);
        return Py_REFCNT(object) == 1 && (Py_TYPE(object)->tp_weaklistoffset <= 0 || *weak == NULL);
    #endif
    }
    """
    bint ferry__unshared(PyObject *object) noexcept

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype dtype, object owner)


cdef class Node:
    """A part of a space.

    Attributes:
        what: How errors call it: "action", "observation at 'camera/rgb'".
        error: The class of these errors.
    """

    cdef readonly str what
    cdef readonly object error

    def __init__(self, str role, str path, error):
        self.what = f"{role} at {path!r}" if path else role
        self.error = error

    cdef object read(self, const ferry_turn *turn):
        raise NotImplementedError

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        raise NotImplementedError

    cdef object gather(self, Exchange exchange):
        """The value of all rows of an exchange, as the batched space has it."""
        raise NotImplementedError

    cdef int scatter(self, Exchange exchange, object value) except -1:
        """Writes a value of the batched space into the turns of an exchange."""
        raise NotImplementedError

    cdef object wrong(self, str text):
        return self.error(f"{self.what} {text}")


cdef class Mapping(Node):
    """A Dict: a fresh dict each time, in the order of the space."""

    cdef tuple keys
    cdef list nodes

    cdef object read(self, const ferry_turn *turn):
        cdef dict value = {}
        cdef Py_ssize_t i
        for i in range(len(self.keys)):
            value[self.keys[i]] = (<Node>self.nodes[i]).read(turn)
        return value

    cdef object gather(self, Exchange exchange):
        cdef dict value = {}
        cdef Py_ssize_t i
        for i in range(len(self.keys)):
            value[self.keys[i]] = (<Node>self.nodes[i]).gather(exchange)
        return value

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        cdef Py_ssize_t i
        self.check(value)
        for i in range(len(self.keys)):
            (<Node>self.nodes[i]).write(turn, value[self.keys[i]])
        return 0

    cdef int scatter(self, Exchange exchange, object value) except -1:
        cdef Py_ssize_t i
        self.check(value)
        for i in range(len(self.keys)):
            (<Node>self.nodes[i]).scatter(exchange, value[self.keys[i]])
        return 0

    cdef int check(self, object value) except -1:
        if not isinstance(value, collections.abc.Mapping):
            raise self.wrong(f"is of type {type(value).__name__}; a dict with the keys {list(self.keys)} is wanted")
        if len(value) != len(self.keys) or any(key not in value for key in self.keys):
            raise self.wrong(f"has the keys {list(value)}; {list(self.keys)} are wanted")
        return 0


cdef class Sequence(Node):
    """A Tuple."""

    cdef list nodes

    cdef object read(self, const ferry_turn *turn):
        return tuple([(<Node>node).read(turn) for node in self.nodes])

    cdef object gather(self, Exchange exchange):
        return tuple([(<Node>node).gather(exchange) for node in self.nodes])

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        cdef Py_ssize_t i
        self.check(value)
        for i in range(len(self.nodes)):
            (<Node>self.nodes[i]).write(turn, value[i])
        return 0

    cdef int scatter(self, Exchange exchange, object value) except -1:
        cdef Py_ssize_t i
        self.check(value)
        for i in range(len(self.nodes)):
            (<Node>self.nodes[i]).scatter(exchange, value[i])
        return 0

    cdef int check(self, object value) except -1:
        if not isinstance(value, (tuple, list)):
            raise self.wrong(f"is of type {type(value).__name__}; a tuple of {len(self.nodes)} is wanted")
        if len(value) != len(self.nodes):
            raise self.wrong(f"has {len(value)} elements; {len(self.nodes)} are wanted")
        return 0


cdef class Extra:
    """What a turn's leaves have in common: the row that is looked at, and the values that do not lie in the slot.

    Attributes:
        row: Of which row values are read and written.
        final: Whether they are those at the end of the row's episode.
        incoming: Values that came in the blob, by `key`.
        outgoing: Values that are to go into the blob.
    """

    cdef uint32_t num_fields
    cdef uint32_t row
    cdef bint final
    cdef dict incoming
    cdef dict outgoing

    def __init__(self, num_fields):
        self.num_fields = num_fields
        self.incoming, self.outgoing = {}, {}

    cdef object key(self, uint32_t index):
        """What a value in the blob is called: the number of the field, counted on over the rows."""
        return index + <uint64_t>self.num_fields * self.row


cdef class Leaf(Node):
    """A field.

    Attributes:
        strict: Values must lie in the range of the space; else any that the dtype holds will do.
    """

    cdef Extra extra
    cdef uint32_t index
    cdef cnp.dtype dtype
    cdef int typenum
    cdef bint strict
    cdef bint told

    def __init__(self, str role, error, uint32_t index, field, bint strict, Extra extra):
        super().__init__(role, field.path, error)
        self.extra = extra
        self.index = index
        self.dtype = np.dtype(DTYPES[field.dtype])
        self.typenum = self.dtype.num
        self.strict = strict

    cdef inline void *place(self, const ferry_turn *turn) noexcept:
        """Where the row's value lies."""
        cdef Extra extra = self.extra
        cdef void *first = turn.final_data[self.index] if extra.final else turn.data[self.index]
        return <char *>first + turn.stride[self.index] * extra.row

    cdef int tell_cast(self, object source) except -1:
        """Says once that an environment's values have another dtype than its space."""
        if not self.told and not self.strict:
            self.told = True
            logger.warning(
                "%s is of dtype %s, the space says %s; it is cast at every step (this is said once)",
                self.what, source, self.dtype,
            )
        return 0


cdef class Scalar(Leaf):
    """A NumPy scalar: how infos without dimensions are read."""

    cdef object read(self, const ferry_turn *turn):
        return PyArray_Scalar(self.place(turn), self.dtype, None)


cdef class Number(Scalar):
    """A Discrete: an integer scalar of the space's dtype."""

    cdef int64_t low
    cdef int64_t high

    def __init__(self, str role, error, uint32_t index, field, bint strict, Extra extra):
        super().__init__(role, error, index, field, strict, extra)
        if strict:
            self.low, self.high = field.start, field.start + field.n - 1
        else:
            info = np.iinfo(self.dtype)
            self.low, self.high = int(info.min), min(int(info.max), int(np.iinfo(np.int64).max))

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        cdef void *place = self.place(turn)
        cdef int overflow = 0
        cdef int64_t number = 0
        if type(value) is int64:
            cnp.PyArray_ScalarAsCtype(value, &number)
        else:
            if type(value) is not int:
                value = self.integer(value)
            number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow or number < self.low or number > self.high:
            raise self.wrong(f"is {value}; {self.low} to {self.high} are allowed")
        if self.typenum == cnp.NPY_INT64:
            (<int64_t *>place)[0] = number
        elif self.dtype.itemsize == 8:
            (<uint64_t *>place)[0] = <uint64_t>number
        elif self.dtype.itemsize == 4:
            (<uint32_t *>place)[0] = <uint32_t>number
        elif self.dtype.itemsize == 2:
            (<uint16_t *>place)[0] = <uint16_t>number
        else:
            (<uint8_t *>place)[0] = <uint8_t>number
        return 0

    cdef object integer(self, object value):
        """An int of anything that is one integer; never of a float."""
        if isinstance(value, (np.ndarray, np.generic)):
            if value.shape != ():
                raise self.wrong(f"has shape {value.shape}; a single integer is wanted")
            if value.dtype.kind not in "iub":
                raise self.wrong(f"is of dtype {value.dtype}; an integer is wanted")
            return int(value)
        try:
            return operator.index(value)
        except TypeError:
            raise self.wrong(f"is of type {type(value).__name__}; an integer is wanted") from None


cdef enum:
    POOL = 8  # arrays kept for a leaf, so that as many steps may be in somebody's hands before new memory is asked for
    POOL_LARGE = 4  # the same for leaves beyond LARGE bytes
    LARGE = 1 << 20


cdef class Array(Leaf):
    """A Box, MultiDiscrete or MultiBinary: an array of its own for each turn.

    The memory of an array that nobody holds any more is used again: its pages and cache lines are warm, so that a fresh
    copy costs little more than the memcpy. An array that anything else refers to, weakly too, or whose shape, dtype or
    flags were changed, is left alone.
    """

    cdef int ndim
    cdef cnp.npy_intp shape[FERRY_MAX_NDIM + 1]  # of a batch there is one more
    cdef size_t size_bytes
    cdef cnp.ndarray low
    cdef cnp.ndarray high
    cdef PyObject *pool[POOL]
    cdef int pool_size
    cdef int oldest

    def __init__(self, str role, error, uint32_t index, field, bint strict, bint bounds, Extra extra):
        super().__init__(role, error, index, field, strict, extra)
        self.ndim = len(field.shape)
        self.size_bytes = self.dtype.itemsize
        for i, length in enumerate(field.shape):
            self.shape[i] = length
            self.size_bytes *= length
        self.pool_size = POOL if self.size_bytes <= LARGE else POOL_LARGE
        if strict and (bounds or field.kind != FERRY_BOX):
            self.low, self.high = bounds_of(field)

    def __dealloc__(self):
        cdef int i
        for i in range(POOL):
            Py_XDECREF(self.pool[i])

    cdef bint fits(self, PyObject *array) noexcept:
        """Whether an array is one of this field's shape and dtype, whose bytes lie in order."""
        cdef int i
        if (
            not cnp.PyArray_CHKFLAGS(<cnp.ndarray>array, cnp.NPY_ARRAY_CARRAY_RO)
            or cnp.PyArray_TYPE(<cnp.ndarray>array) != self.typenum
            or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>array)
            or cnp.PyArray_NDIM(<cnp.ndarray>array) != self.ndim
        ):
            return False
        for i in range(self.ndim):
            if cnp.PyArray_DIMS(<cnp.ndarray>array)[i] != self.shape[i]:
                return False
        return True

    cdef object blank(self):
        """An array to fill: a recycled one, else a new one, which takes the place of one that is held or spoilt."""
        cdef PyObject *array
        cdef int i
        # From the beginning, so that two arrays suffice while a step's is dropped for the next's: few bytes stay warm.
        for i in range(self.pool_size):
            array = self.pool[i]
            if array is NULL:
                break
            if (
                ferry__unshared(array)
                and cnp.PyArray_FLAGS(<cnp.ndarray>array) & POOLED == POOLED
                and self.fits(array)
            ):
                return <object>array
        else:
            i = self.oldest
            self.oldest = self.oldest + 1 if self.oldest + 1 < self.pool_size else 0
        fresh = cnp.PyArray_SimpleNew(self.ndim, self.shape, self.typenum)
        Py_INCREF(fresh)
        Py_XDECREF(self.pool[i])
        self.pool[i] = <PyObject *>fresh
        return fresh

    cdef object read(self, const ferry_turn *turn):
        cdef object array = self.blank()
        memcpy(cnp.PyArray_DATA(array), self.place(turn), self.size_bytes)
        return array

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        if not (cnp.PyArray_CheckExact(value) and self.fits(<PyObject *>value)):
            value = self.converted(value)
        if self.low is not None:
            self.check_range(value)
        memcpy(self.place(turn), cnp.PyArray_DATA(value), self.size_bytes)
        return 0

    cdef object converted(self, object value):
        """An array that fits, of anything that means one."""
        return self.conformed(value, tuple([self.shape[i] for i in range(self.ndim)]))

    cdef object conformed(self, object value, tuple shape):
        """An array of the field's dtype and of the shape, of anything that means one."""
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise self.wrong(f"does not make an array: {error}") from None
        if array.dtype.kind not in "biuf":
            raise self.wrong(f"is of type {type(value).__name__} and dtype {array.dtype}; {self.dtype} is wanted")
        if array.shape != shape:
            raise self.wrong(f"has shape {array.shape}; {shape} is wanted")
        if array.dtype != self.dtype:
            if not self.holds(array):
                raise self.wrong(f"is of dtype {array.dtype} and cannot be cast to {self.dtype} without loss")
            if hasattr(value, "dtype"):
                self.tell_cast(array.dtype)
        return array.astype(self.dtype, order="C", subok=False)

    cdef bint holds(self, object array) except -1:
        """Whether casting keeps the kind of number, and integers their values. Floats may lose precision."""
        target, source = self.dtype.kind, array.dtype.kind
        if target == "f":
            return True
        if source == "f" or target == "b":
            return False
        if source == "b" or array.size == 0:
            return True
        info = np.iinfo(self.dtype)
        return info.min <= int(array.min()) and int(array.max()) <= info.max

    cdef int check_range(self, cnp.ndarray array) except -1:
        return self.check_within(array, self.low, self.high)

    cdef int check_within(self, cnp.ndarray array, cnp.ndarray low, cnp.ndarray high) except -1:
        """Raises unless low <= array <= high, all contiguous and of one shape."""
        if self.typenum == cnp.NPY_INT64:
            if inside[int64_t](array, low, high):
                return 0
        elif self.typenum == cnp.NPY_INT8:
            if inside[int8_t](array, low, high):
                return 0
        allowed = (array >= low) & (array <= high)
        if not allowed.all():
            place = tuple(map(int, np.argwhere(~allowed)[0]))
            where = f" at index {place if len(place) > 1 else place[0]}" if place else ""
            raise self.wrong(f"is {array[place]}{where}; {low[place]} to {high[place]} are allowed")
        return 0


# Of a list that does not come as one array: each is an object of a hundred bytes.
cdef enum:
    MOST_ELEMENTS = 1 << 23


cdef class List(Array):
    """A Sequence of Boxes, Discretes, MultiDiscretes or MultiBinaries: a tuple, or one array where the space stacks."""

    cdef uint32_t capacity
    cdef bint stack
    cdef bint scalars  # the elements are NumPy's scalars, not arrays

    def __init__(self, str role, error, uint32_t index, field, bint strict, bint bounds, codec, Extra extra):
        super().__init__(role, error, index, field, strict, bounds, extra)
        self.capacity = field.capacity
        self.stack = codec is not None and codec.space.stack
        self.scalars = field.kind == FERRY_DISCRETE
        if field.kind != FERRY_BOX:  # also what arrives in blobs, which C does not look into, may be indexed with
            self.low, self.high = bounds_of(field)

    cdef tuple shape_of(self, Py_ssize_t count):
        return (count, *[self.shape[i] for i in range(self.ndim)])

    cdef object read(self, const ferry_turn *turn):
        cdef const ferry_list *place = <const ferry_list *>self.place(turn)
        cdef uint32_t count = (<const volatile uint32_t *>&place.count)[0]
        cdef cnp.ndarray array
        if count == FERRY_IN_BLOB:
            value = self.extra.incoming.get(self.extra.key(self.index))
            if not isinstance(value, np.ndarray):
                raise self.wrong("is said to lie in the blob, and no array is there")
            array = self.conformed(value, self.shape_of(len(value) if value.ndim else -1))
            self.check_count(len(array))
            self.check_range(array)
        elif count > self.capacity:
            raise self.wrong(f"has {count} elements; there is room for {self.capacity}")
        else:
            array = np.empty(self.shape_of(count), self.dtype)
            memcpy(cnp.PyArray_DATA(array), place + 1, count * self.size_bytes)
        if self.stack:
            return array
        return tuple(array) if self.scalars else tuple([array[i, ...] for i in range(len(array))])

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        cdef ferry_list *place = <ferry_list *>self.place(turn)
        cdef cnp.ndarray array
        if not isinstance(value, (np.ndarray, tuple, list)) or (isinstance(value, np.ndarray) and value.ndim == 0):
            wanted = "an array of stacked elements" if self.stack else "a tuple of elements"
            raise self.wrong(f"is of type {type(value).__name__}; {wanted} is wanted")
        array = np.empty(self.shape_of(0), self.dtype)
        if len(value) > 0:
            array = self.conformed(value, self.shape_of(len(value)))
        if self.strict and self.low is not None:
            self.check_range(array)
        self.check_count(len(array))
        if <size_t>len(array) > self.capacity:
            self.extra.outgoing[self.extra.key(self.index)] = array
            place.count = FERRY_IN_BLOB
        else:
            memcpy(place + 1, cnp.PyArray_DATA(array), len(array) * self.size_bytes)
            place.count = <uint32_t>len(array)
        return 0

    cdef int check_count(self, Py_ssize_t count) except -1:
        """More elements than memory has room for, as Python's objects, fit into a blob; without bytes, any number."""
        cdef size_t most = self.capacity if self.size_bytes == 0 else <size_t>-1 if self.stack else MOST_ELEMENTS
        if <size_t>count > most:
            raise self.wrong(f"has {count} elements; there is room for {most}")
        return 0

    cdef int check_range(self, cnp.ndarray array) except -1:
        if self.low is None:
            return 0
        allowed = (array >= self.low) & (array <= self.high)
        if not allowed.all():
            place = tuple(map(int, np.argwhere(~allowed)[0]))
            low, high = (np.broadcast_to(bound, (<object>array).shape)[place] for bound in (self.low, self.high))
            raise self.wrong(f"is {array[place]} at index {place[0]}; {low} to {high} are allowed")
        return 0


cdef class Text(Leaf):
    """A Text: a str."""

    cdef uint32_t capacity
    cdef object text_space
    cdef bint guarded  # what is read is an action of a peer's

    def __init__(self, str role, error, uint32_t index, field, bint strict, codec, Extra extra):
        super().__init__(role, error, index, field, strict, extra)
        self.capacity = field.capacity
        self.text_space = None if codec is None else codec.space
        self.guarded = field.role == FERRY_ACTION and self.text_space is not None

    cdef object read(self, const ferry_turn *turn):
        value = self.text(<const ferry_list *>self.place(turn))
        if self.guarded and not self.text_space.contains(value):
            raise self.wrong(f"is {value[:80]!r}, which is not in {self.text_space}")
        return value

    cdef str text(self, const ferry_list *place):
        cdef uint32_t count = (<const volatile uint32_t *>&place.count)[0]
        if count == FERRY_IN_BLOB:
            value = self.extra.incoming.get(self.extra.key(self.index))
            if type(value) is not str:
                raise self.wrong("is said to lie in the blob, and no text is there")
            return value
        if count > self.capacity:
            raise self.wrong(f"has {count} bytes; there is room for {self.capacity}")
        try:
            return PyBytes_FromStringAndSize(<const char *>(place + 1), count).decode()
        except UnicodeDecodeError as error:
            raise self.wrong(f"is not UTF-8: {error}") from None

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        cdef ferry_list *place = <ferry_list *>self.place(turn)
        cdef bytes text
        if not isinstance(value, str):
            raise self.wrong(f"is of type {type(value).__name__}; a str is wanted")
        if self.strict and self.text_space is not None and not self.text_space.contains(value):
            raise self.wrong(f"is {value[:80]!r}, which is not in {self.text_space}")
        try:
            text = value.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(f"cannot be written as UTF-8: {error}") from None
        if <size_t>len(text) > self.capacity:
            self.extra.outgoing[self.extra.key(self.index)] = str(value)
            place.count = FERRY_IN_BLOB
        else:
            memcpy(place + 1, <const char *>text, len(text))
            place.count = <uint32_t>len(text)
        return 0


cdef class Other(Leaf):
    """A space without a field of its own: its values are made plain data, and travel in the blob."""

    cdef object codec
    cdef bint guarded  # what is read is an action of a peer's

    def __init__(self, str role, error, uint32_t index, field, bint strict, codec, Extra extra):
        super().__init__(role, error, index, field, strict, extra)
        self.codec = codec
        self.guarded = field.role == FERRY_ACTION

    cdef object read(self, const ferry_turn *turn):
        key = self.extra.key(self.index)
        if key not in self.extra.incoming:
            raise self.wrong("should be in the turn's blob, and is not")
        try:
            value = self.codec.decode(self.extra.incoming[key])
            if self.guarded and not self.codec.space.contains(value):
                raise ValueError("the space does not contain it")
            return value
        except Exception as error:
            raise self.wrong(f"is no value of {self.codec.space}: {error}") from error

    cdef int write(self, const ferry_turn *turn, object value) except -1:
        try:
            if self.strict and not self.codec.space.contains(value):
                raise ValueError("the space does not contain it")
            self.extra.outgoing[self.extra.key(self.index)] = self.codec.encode(value)
        except Exception as error:
            raise self.wrong(f"is no value of {self.codec.space}: {error}") from error
        return 0


cdef bint inside(cnp.ndarray array, cnp.ndarray low, cnp.ndarray high, checked_integer *type_only=NULL) noexcept:
    """Whether low <= array <= high, all contiguous, of one shape and of dtype checked_integer."""
    cdef checked_integer *value = <checked_integer *>cnp.PyArray_DATA(array)
    cdef checked_integer *least = <checked_integer *>cnp.PyArray_DATA(low)
    cdef checked_integer *most = <checked_integer *>cnp.PyArray_DATA(high)
    cdef cnp.npy_intp i
    for i in range(cnp.PyArray_SIZE(array)):
        if value[i] < least[i] or value[i] > most[i]:
            return False
    return True


cdef class View(Array):
    """The same, without a copy: read-only arrays that lie in the region, one for each of its alternating buffers."""

    cdef object owner
    cdef void *place[2]
    cdef list views

    cdef object read(self, const ferry_turn *turn):
        cdef void *place = turn.data[self.index]
        cdef int i
        for i in range(2):
            if self.place[i] == place:
                view = self.views[i]
                if self.fits(<PyObject *>view):
                    return view
        i = 0 if self.place[0] is NULL or self.place[0] == place else 1
        view = cnp.PyArray_SimpleNewFromData(self.ndim, self.shape, self.typenum, place)
        cnp.PyArray_CLEARFLAGS(view, cnp.NPY_ARRAY_WRITEABLE)
        cnp.set_array_base(view, self.owner)
        self.place[i], self.views[i] = place, view
        return view


def bounds_of(field):
    """Lower and upper bounds of a field: two arrays of its shape and dtype.

    Args:
        field: Of kind BOX, DISCRETE, MULTI_DISCRETE or MULTI_BINARY.
    """
    dtype = np.dtype(DTYPES[field.dtype])
    if field.kind == FERRY_DISCRETE:
        return np.array(field.start, dtype), np.array(field.start + field.n - 1, dtype)
    if field.low_each is not None:
        return tuple([np.frombuffer(each, dtype).reshape(field.shape) for each in (field.low_each, field.high_each)])
    low, high = field.low, field.high
    if field.kind == FERRY_MULTI_BINARY:
        low, high = 0, 1
    elif field.kind == FERRY_BOX and low == 0 and high == 0:
        if dtype.kind == "f":
            low, high = -np.inf, np.inf
        elif dtype.kind == "b":
            low, high = False, True
        else:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return tuple([np.full(field.shape, bound, dtype) for bound in (low, high)])


cdef Node leaf_of(uint32_t index, field, str role, object error, bint strict, bint bounds, codec, Extra extra):
    """The node of a field, but for views."""
    if field.kind == FERRY_STRING:
        return Text(role, error, index, field, strict, codec, extra)
    if field.kind == FERRY_OTHER:
        return Other(role, error, index, field, strict, codec, extra)
    if field.capacity:
        return List(role, error, index, field, strict, bounds, codec, extra)
    if field.kind == FERRY_DISCRETE:
        return Number(role, error, index, field, strict, extra)
    return Array(role, error, index, field, strict, bounds, extra)


cdef class Form:
    """What the trees of a channel are grown from.

    Attributes:
        fields: The field table.
        codecs: What is known of the spaces whose values may travel in blobs, by number of the field.
        owner: What keeps views alive, or None: arrays are copied.
        trusted: Whether the agent is the process that has started this one. Then observations are cast without a word,
            and actions without dimensions are scalars.
    """

    cdef tuple fields
    cdef dict codecs
    cdef object owner
    cdef bint trusted
    cdef Extra extra

    def __init__(self, fields, codecs, owner=None):
        self.fields, self.codecs, self.owner = tuple(fields), codecs, owner
        self.extra = Extra(len(self.fields))


cdef Node grow(template, Form form, str role, str path, object error, bint strict, bint bounds):
    """The tree for a template: nested dicts and tuples of field numbers."""
    cdef Mapping mapping
    cdef Sequence sequence
    cdef Node node
    cdef View view
    if isinstance(template, dict):
        mapping = Mapping(role, path, error)
        mapping.keys = tuple(template)
        mapping.nodes = [
            grow(part, form, role, f"{path}/{key}" if path else key, error, strict, bounds)
            for key, part in template.items()
        ]
        return mapping
    if isinstance(template, tuple):
        sequence = Sequence(role, path, error)
        sequence.nodes = [
            grow(part, form, role, f"{path}#{i}", error, strict, bounds) for i, part in enumerate(template)
        ]
        return sequence
    field = form.fields[template]
    if form.trusted and field.kind == FERRY_BOX and field.role == FERRY_ACTION and not field.shape:
        return Scalar(role, error, template, field, strict, form.extra)
    node = leaf_of(template, field, role, error, strict, bounds, form.codecs.get(template), form.extra)
    (<Leaf>node).told = form.trusted
    if form.owner is None or type(node) is not Array or (<Array>node).size_bytes == 0:
        return node
    view = View(role, error, template, field, strict, bounds, form.extra)
    view.owner, view.views = form.owner, [None, None]
    return view
