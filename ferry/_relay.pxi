# An environment's side that another channel's environment answers: what stands between the two sides of a channel.


cdef class Relay(Env):
    """Hands each turn of its agent to the environment of another channel, and that one's answer back.

    The environment's description is shown as it is. It is asked for no autoreset: that is this side's affair.

    Args:
        address: Where to meet the agent.
        agent: The agent of the other channel, connected.
    """

    cdef Agent agent
    cdef Hold hold  # of the connection that it was made for
    cdef const ferry_turn *answer
    cdef uint64_t *row_bytes  # [field]
    cdef tuple fields
    cdef uint32_t num_rows

    def __init__(self, address, Agent agent):
        self.label = label_of("the proxy at", address)
        self.extra = Extra(0)
        self.agent = agent
        agent.enter()
        try:
            agent.turn()  # which raises if there is no connection
            self.hold = Hold.of(agent)
            self.open_like(address_bytes(address), ferry_agent_env(agent.handle))
        finally:
            agent.leave()

    def __dealloc__(self):
        free(self.row_bytes)

    cdef int open_like(self, bytes address, const ferry_env_desc *told) except -1:
        cdef ferry_env_desc desc = told[0]
        cdef ferry_why why
        cdef uint32_t i
        self.fields = tuple([read_field(&desc.fields[i]) for i in range(desc.num_fields)])
        self.row_bytes = <uint64_t *>calloc(desc.num_fields + 1, sizeof(uint64_t))
        if self.row_bytes is NULL:
            raise MemoryError()
        for i in range(desc.num_fields):
            self.row_bytes[i] = bytes_of(self.fields[i])
        desc.address = NULL if address is None else <const char *>address
        self.num_rows = desc.num_rows
        desc.max_bytes = UNLIMITED
        desc.log, desc.log_user = log_line, <void *>self
        return check(ferry_env_open(&desc, &self.handle, &why), &why)

    @property
    def number(self):
        """Of the turn under way. Where rows are reset by themselves, its STEP and its RESET have the same."""
        return 0 if self.turn is NULL else self.turn.number

    @property
    def lost(self):
        """Whether the environment that this was made for has gone. To be asked while it owes no answer."""
        cdef ferry_hold *hold
        cdef int rc
        self.agent.enter()
        try:
            rc = 0 if self.agent.handle is NULL else ferry_agent_connect(self.agent.handle, 0)
            if rc < 1:
                self.agent.lost()
                return True
            hold = ferry_agent_hold(self.agent.handle)
            ferry_release(hold)
            return hold is not self.hold.handle  # else it has been met anew just now
        finally:
            self.agent.leave()

    def gone(self):
        """Whether the agent has left in the middle of the turn, which then is a LEFT."""
        cdef const ferry_turn *turn = NULL
        cdef int rc
        self.enter()
        try:
            rc = ferry_env_wait(self.handle, 0, &turn)
            if rc < 0:
                self.fail(rc)
            if rc == 1:
                self.turn = turn
            return rc == 1
        finally:
            self.leave()

    def ask(self):
        """Hands the turn to the environment."""
        cdef ferry_turn *request
        cdef uint32_t k
        self.enter()
        self.agent.enter()
        try:
            self.expect_turn(0)
            request = self.agent.turn()
            self.answer = NULL
            request.kind, request.blob = self.turn.kind, self.turn.blob
            if self.turn.kind != FERRY_CALL:
                request.rows, request.num_rows = self.turn.rows, self.turn.num_rows
                for k in range(request.num_rows):
                    if self.turn.kind == FERRY_RESET:
                        request.seed[request.rows[k]] = self.turn.seed[request.rows[k]]
                    else:
                        self.copy_row(request, self.turn, request.rows[k], True)
            self.agent.send(self.turn.kind)
        finally:
            self.agent.leave()
            self.leave()

    def heard(self, timeout):
        """Waits for the environment's answer.

        Args:
            timeout: Seconds, None for ever.

        Returns:
            Whether it is there.
        """
        self.agent.enter()
        try:
            if self.agent.wait(nanoseconds(timeout)) != 1:
                return False
            self.agent.owed = 0
            self.answer = self.agent.answer
            return True
        except FerryError:
            self.agent.lost()
            raise
        finally:
            self.agent.leave()

    @property
    def has_failed(self):
        """Whether what was heard is a failure; `blob` says why."""
        self.expect_answer()
        return self.answer.status[0] != FERRY_ROW_OK

    @property
    def blob(self):
        """What was heard beside the fields: (format, bytes) or None."""
        self.expect_answer()
        return blob_of(&self.answer.blob)

    def take(self):
        """Makes what was heard the answer to the turn, but for the blob."""
        cdef uint32_t k, row
        self.enter()
        try:
            self.expect_turn(0)
            self.expect_answer()
            for k in range(self.turn.num_rows):
                row = self.turn.rows[k]
                self.turn.reward[row] = self.answer.reward[row]
                self.turn.terminated[row] = self.answer.terminated[row] != 0
                self.turn.truncated[row] = self.answer.truncated[row] != 0
                self.copy_row(self.turn, self.answer, row, False)
        finally:
            self.leave()

    cdef int expect_turn(self, uint32_t row) except -1:
        if self.turn is NULL or self.turn.kind == FERRY_LEFT or row >= self.num_rows:
            raise FerryError(f"{self.label} has no turn to answer")
        return 0

    cdef int expect_answer(self) except -1:
        if self.answer is NULL or not self.agent.connected:
            raise FerryError(f"{self.label} has no turn to answer")
        return 0

    cdef int copy_row(self, const ferry_turn *to, const ferry_turn *source, uint32_t row, bint action) except -1:
        """Copies a row's action, or its observation and infos."""
        cdef uint32_t i
        for i in range(to.num_fields):
            if (self.fields[i].role == FERRY_ACTION) != action:
                continue
            if self.row_bytes[i] > 0:
                memcpy(
                    <char *>to.data[i] + to.stride[i] * row, <const char *>source.data[i] + source.stride[i] * row,
                    self.row_bytes[i],
                )
            if to.present[i] is not NULL and not action:
                to.present[i][row] = source.present[i][row] != 0
        return 0

    def put_element(self, uint32_t index, uint32_t row, Py_ssize_t place, value):
        """Writes one element of a field into the answer.

        Args:
            index: Of the field: one without a capacity.
            row: Of the turn.
            place: Of the element, in C order.
            value: A NumPy scalar of the field's dtype.
        """
        cdef bytes content = value.tobytes()
        cdef uint64_t at = <uint64_t>place * <uint64_t>len(content)
        self.enter()
        try:
            self.expect_turn(row)
            if place < 0 or index >= self.turn.num_fields or at + len(content) > self.row_bytes[index]:
                raise ValueError(f"field {index} has no element {place} of {len(content)} bytes")
            at += self.turn.stride[index] * row
            memcpy(<char *>self.turn.data[index] + at, <const char *>content, len(content))
        finally:
            self.leave()

    def put_reward(self, uint32_t row, double reward):
        """Writes a row's reward into the answer."""
        self.enter()
        try:
            self.expect_turn(row)
            self.turn.reward[row] = reward
        finally:
            self.leave()


cdef uint64_t bytes_of(field) except? 0:
    """What a row of a field takes."""
    cdef uint64_t size_bytes = ferry_dtype_bytes(field.dtype)
    if field.kind in (FERRY_DICT, FERRY_TUPLE, FERRY_OTHER):
        return 0
    for length in field.shape:
        size_bytes *= length
    return size_bytes if field.capacity == 0 else sizeof(ferry_list) + size_bytes * <uint64_t>field.capacity
