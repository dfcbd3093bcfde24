# Many agents stepped as one: the channels of a vector environment.
#
# An exchange is one message to some or all of the environments, and their answers. What they say is gathered into one
# batch by a loop over the channels in C; Python is asked only about rows of which there is more to tell than numbers.


cdef class Exchange:
    """One round of messages: which channels take part, and where each has its rows in the batch.

    Attributes:
        count: Channels that take part.
        members: Their numbers.
        turns: Their requests, then their answers; NULL where there is none to look at.
        rows: How many rows each of them has.
        states: Of their rows.
        at: The number of their first row in the batch.
        total: Rows of all of them.
        incoming: Values from blobs, by number of the channel.
        outgoing: Values that are to go into blobs, by member.
        culprit: The member whose answer is being read.
    """

    cdef uint32_t count
    cdef uint32_t *members
    cdef const ferry_turn **turns
    cdef uint32_t *rows
    cdef uint8_t **states
    cdef Py_ssize_t *at
    cdef Py_ssize_t total
    cdef list incoming
    cdef list outgoing
    cdef uint32_t culprit

    def __cinit__(self, Py_ssize_t most, list incoming):
        self.incoming = incoming
        self.members = <uint32_t *>calloc(most + 1, sizeof(uint32_t))
        self.rows = <uint32_t *>calloc(most + 1, sizeof(uint32_t))
        self.turns = <const ferry_turn **>calloc(most + 1, sizeof(ferry_turn *))
        self.states = <uint8_t **>calloc(most + 1, sizeof(uint8_t *))
        self.at = <Py_ssize_t *>calloc(most + 1, sizeof(Py_ssize_t))
        if (
            self.members is NULL or self.rows is NULL or self.turns is NULL or self.states is NULL or self.at is NULL
        ):
            raise MemoryError()

    def __dealloc__(self):
        free(self.members)
        free(self.rows)
        free(<void *>self.turns)
        free(self.states)
        free(self.at)


cdef enum:  # what a row is in
    PLAYING
    ENDED  # its episode is over
    IDLE  # it must be reset: nobody has, or its environment has failed or gone since


cdef class Told:
    """What the blobs of an answer hold: infos by row, and values of fields; of the RESET, and of the STEP before it."""

    cdef dict infos
    cdef dict values
    cdef dict step_infos
    cdef dict step_values

    def __cinit__(self):
        self.infos, self.values, self.step_infos, self.step_values = {}, {}, {}, {}


cdef class Column(Array):
    """A field of all rows: one array, whose first dimension counts them."""

    cdef size_t row_bytes
    cdef object fixed  # the array to fill each time, or None

    cdef object gather(self, Exchange exchange):
        cdef object array
        cdef char *to
        cdef uint32_t i
        cdef size_t bytes
        cdef cnp.npy_intp shape[FERRY_MAX_NDIM + 1]
        if exchange.total == self.shape[0]:
            array = self.blank() if self.fixed is None else self.fixed
        else:
            memcpy(shape, self.shape, sizeof(shape[0]) * self.ndim)
            shape[0] = exchange.total
            array = cnp.PyArray_SimpleNew(self.ndim, shape, self.typenum)
        to = <char *>cnp.PyArray_DATA(array)
        if self.size_bytes > LARGE:
            with nogil:
                self.copy_out(exchange, to)
            return array
        self.copy_out(exchange, to)
        return array

    cdef void copy_out(self, Exchange exchange, char *to) noexcept nogil:
        cdef uint32_t i
        cdef size_t bytes
        for i in range(exchange.count):
            bytes = exchange.rows[i] * self.row_bytes
            if exchange.turns[i] is NULL:
                memset(to, 0, bytes)
            else:
                memcpy(to, exchange.turns[i].data[self.index], bytes)
            to += bytes

    cdef int scatter(self, Exchange exchange, object value) except -1:
        cdef const char *source
        cdef size_t bytes
        cdef uint32_t i
        cdef list wanted
        if exchange.total != self.shape[0]:
            wanted = [self.shape[i] for i in range(self.ndim)]
            wanted[0] = exchange.total
            value = self.conformed(value, tuple(wanted))
            if self.low is not None:
                self.check_within(value, self.low[:len(value)], self.high[:len(value)])
        else:
            if not (cnp.PyArray_CheckExact(value) and self.fits(<PyObject *>value)):
                value = self.converted(value)
            if self.low is not None:
                self.check_range(value)
        source = <const char *>cnp.PyArray_DATA(value)
        for i in range(exchange.count):
            bytes = exchange.rows[i] * self.row_bytes
            memcpy(exchange.turns[i].data[self.index], source, bytes)
            source += bytes
        return 0


cdef class Each(Node):
    """A part that has no array form: a tuple of the rows' values."""

    cdef Leaf leaf

    cdef object gather(self, Exchange exchange):
        cdef Extra extra = self.leaf.extra
        cdef list values = []
        cdef uint32_t i, row
        cdef bint there
        try:
            for i in range(exchange.count):
                exchange.culprit = i
                extra.incoming = exchange.incoming[exchange.members[i]]
                for row in range(exchange.rows[i]):
                    extra.row = row
                    there = exchange.turns[i] is not NULL and exchange.states[i][row] != IDLE
                    values.append(self.leaf.read(exchange.turns[i]) if there else None)
        except BackendError as error:
            error.row = extra.row
            raise
        finally:
            extra.row, extra.incoming = 0, {}
        return tuple(values)

    cdef int scatter(self, Exchange exchange, object value) except -1:
        cdef Extra extra = self.leaf.extra
        cdef uint32_t i, row
        cdef Py_ssize_t at = 0
        if not isinstance(value, (tuple, list, np.ndarray)):
            raise self.wrong(f"is of type {type(value).__name__}; a tuple of {exchange.total} is wanted")
        if len(value) != exchange.total:
            raise self.wrong(f"has {len(value)} elements; {exchange.total} are wanted, one for each row")
        try:
            for i in range(exchange.count):
                extra.outgoing = exchange.outgoing[i]
                for row in range(exchange.rows[i]):
                    extra.row = row
                    self.write_one(exchange.turns[i], value[at], at)
                    at += 1
        finally:
            extra.row = 0
            extra.outgoing = {}
        return 0

    cdef int write_one(self, const ferry_turn *turn, object value, Py_ssize_t at) except -1:
        try:
            self.leaf.write(turn, value)
        except InvalidAction as error:
            raise InvalidAction(f"row {at} of the batch: {error}") from None
        return 0


cdef class WholeView(View):
    """The field of all rows of one channel, without a copy."""

    cdef object gather(self, Exchange exchange):
        return self.read(exchange.turns[0])


def batched(field, num_rows):
    """The field that an array of all rows would have."""
    shape = (num_rows, *field.shape)
    if field.kind == FERRY_BOX and field.low_each is None:
        return field._replace(shape=shape)
    low, high = bounds_of(field)
    kind = FERRY_BOX if field.kind == FERRY_BOX else FERRY_MULTI_DISCRETE
    low, high = (np.broadcast_to(bound, shape).tobytes() for bound in (low, high))
    return field._replace(kind=kind, shape=shape, low_each=low, high_each=high)


cdef Node spread(Node node, Form form, uint32_t num_rows, bint bounds, bint view):
    """The tree of all rows, of the tree of one."""
    cdef Mapping mapping
    cdef Sequence sequence
    cdef Column column
    cdef WholeView whole
    cdef Each each
    cdef Leaf leaf
    if isinstance(node, Mapping):
        mapping = Mapping("", "", node.error)
        mapping.what = node.what
        mapping.keys = (<Mapping>node).keys
        mapping.nodes = [spread(part, form, num_rows, bounds, view) for part in (<Mapping>node).nodes]
        return mapping
    if isinstance(node, Sequence):
        sequence = Sequence("", "", node.error)
        sequence.what = node.what
        sequence.nodes = [spread(part, form, num_rows, bounds, view) for part in (<Sequence>node).nodes]
        return sequence
    leaf = node
    field = form.fields[leaf.index]
    if field.capacity or field.kind >= FERRY_DICT:
        each = Each("", "", node.error)
        each.what, each.leaf = node.what, leaf
        return each
    field = batched(field, num_rows)
    if view and form.owner is not None:
        whole = WholeView("", leaf.error, leaf.index, field, False, False, form.extra)
        whole.what, whole.owner, whole.views = leaf.what, form.owner, [None, None]
        return whole
    column = Column("", leaf.error, leaf.index, field, leaf.strict, bounds, form.extra)
    column.what = leaf.what
    column.row_bytes = column.size_bytes // num_rows if num_rows else 0
    return column


cdef bint any_each(Node node):
    """Whether parts of a tree of all rows may travel in blobs."""
    if isinstance(node, Mapping):
        return any([any_each(part) for part in (<Mapping>node).nodes])
    if isinstance(node, Sequence):
        return any([any_each(part) for part in (<Sequence>node).nodes])
    return isinstance(node, Each)


cdef class Agents:
    """The channels of a vector environment, alike but for the number of their rows.

    Args:
        agents: Each connected and bound. They share the bell, or there is one.
        rows: How many rows each has.
        bell: The bell.
        merge: Called with (number of rows, entries) where there is more to tell than numbers, gives the infos. An entry
            is (row, info) or (row, info, final observation, final info), in ascending order of rows.
    """

    cdef list agents
    cdef Bell bell
    cdef object merge
    cdef uint32_t count
    cdef uint32_t *first  # row of each channel's first
    cdef Exchange whole
    cdef Exchange some
    cdef const ferry_turn **last  # each channel's last answer, if it has reset on its connection
    cdef list kept  # values from blobs that belong to the last answers, by channel
    cdef list told  # what the blobs of the last answers hold, by channel: Told or None
    cdef ferry_agent **waiting
    cdef uint8_t *ready
    cdef bint hopeful  # as a Handle's
    cdef uint32_t hopeless
    cdef uint8_t *states  # [rows]
    cdef readonly bint busy
    cdef Form form  # what the trees were grown from
    cdef Node observation
    cdef Node action
    cdef list columns  # typed infos: (key, field number, Column)
    cdef Array reward
    cdef Array terminated
    cdef Array truncated
    cdef bint same_step
    cdef bint disabled
    cdef bint has_values  # parts of actions may travel in blobs
    cdef bint wants_incoming  # parts of observations may

    def __cinit__(self, agents, rows, bell, merge):
        cdef Py_ssize_t i, total = 0
        self.agents, self.bell, self.merge = list(agents), bell, merge
        self.count = len(self.agents)
        self.kept, self.told = [{}] * self.count, [None] * self.count
        self.whole, self.some = Exchange(self.count, self.kept), Exchange(self.count, self.kept)
        self.first = <uint32_t *>calloc(self.count + 1, sizeof(uint32_t))
        self.last = <const ferry_turn **>calloc(self.count + 1, sizeof(ferry_turn *))
        self.waiting = <ferry_agent **>calloc(self.count + 1, sizeof(ferry_agent *))
        self.ready = <uint8_t *>calloc(self.count + 1, 1)
        self.states = <uint8_t *>calloc(sum(rows) + 1, 1)
        if (
            self.first is NULL or self.last is NULL or self.waiting is NULL or self.ready is NULL
            or self.states is NULL
        ):
            raise MemoryError()
        for i in range(self.count):
            self.first[i] = <uint32_t>total
            self.whole.members[i] = <uint32_t>i
            self.whole.rows[i] = rows[i]
            self.whole.states[i] = self.states + total
            self.whole.at[i] = total
            total += rows[i]
        self.whole.count, self.whole.total = self.count, total
        memset(self.states, IDLE, total)
        self.bind()

    def __dealloc__(self):
        free(self.first)
        free(<void *>self.last)
        free(self.waiting)
        free(self.ready)
        free(self.states)

    cdef int bind(self) except -1:
        """Prepares the step path, after a connection was made anew too."""
        cdef Agent agent = self.agents[0]
        cdef Form form = agent.form
        cdef uint32_t total = <uint32_t>self.whole.total
        cdef Column column
        self.same_step = agent.autoreset == FERRY_AUTORESET_SAME_STEP
        self.disabled = agent.autoreset == FERRY_AUTORESET_DISABLED
        self.observation = spread(agent.single, form, total, False, self.count == 1)
        self.action = spread(agent.action, form, total, agent.bounds, False)
        self.has_values = any_each(self.action)
        self.wants_incoming = any_each(self.observation)
        self.form = form
        self.columns = []
        for key, index, node in agent.infos:
            field = batched(form.fields[index], total)
            column = Column("info", BackendError, index, field, False, False, form.extra)
            column.row_bytes = column.size_bytes // total
            self.columns.append((key, index, column))
        for name, code in (("reward", FERRY_F64), ("terminated", FERRY_BOOL), ("truncated", FERRY_BOOL)):
            field = Field(name, FERRY_INFO, FERRY_BOX, code, (total,))
            array = Array(name, BackendError, 0, field, False, False, form.extra)
            if name == "reward":
                self.reward = array
            elif name == "terminated":
                self.terminated = array
            else:
                self.truncated = array
        return 0

    def replace(self, number, Agent agent):
        """Channel number has another agent, connected to an environment like the one before, or about to be."""
        cdef uint32_t member = number
        self.last[member] = NULL
        self.agents[member] = agent
        memset(self.whole.states[member], IDLE, self.whole.rows[member])

    cdef Exchange among(self, object members):
        """The exchange with the channels of these numbers, None for all."""
        cdef Exchange some = self.some
        cdef uint32_t i = 0, member
        if self.busy:
            label = (<Agent>self.agents[0]).label
            raise FerryError(f"{label} is in use by another thread or call; a handle serves one at a time")
        if members is None:
            return self.whole
        some.total = 0
        for member in members:
            some.members[i] = member
            some.rows[i] = self.whole.rows[member]
            some.states[i] = self.whole.states[member]
            some.at[i] = some.total
            some.total += some.rows[i]
            i += 1
        some.count = i
        return some

    cdef int enter(self, Exchange exchange) except -1:
        cdef uint32_t i, entered = 0
        self.busy = True
        try:
            for i in range(exchange.count):
                (<Agent>self.agents[exchange.members[i]]).enter()
                entered += 1
        except BaseException:
            self.busy = False
            for i in range(entered):
                (<Agent>self.agents[exchange.members[i]]).leave()
            raise
        return 0

    cdef int leave(self, Exchange exchange) except -1:
        cdef uint32_t i
        self.busy = False
        for i in range(exchange.count):
            (<Agent>self.agents[exchange.members[i]]).leave()
        return 0

    def step(self, action, fresh=None):
        """`send` and `receive` for all channels.

        Args:
            action: Of the batched action space.
            fresh: By number of the channel, seeds: what has taken the place of a lost environment, and is reset
                instead.
        """
        cdef Exchange exchange = self.among(None)
        self.enter(exchange)
        try:
            self.send_steps(exchange, action, fresh)
            return self.receive_from(exchange, (<Agent>self.agents[0]).timeout_ns)
        finally:
            self.leave(exchange)

    # ---- Sending ----

    def send(self, action, members=None, fresh=None):
        """Sends an action to all rows of some channels, of all for None; `receive` gets the answers.

        Args:
            action: Of the batched action space, of as many rows.
            members: Numbers of channels, in the order of the rows.
            fresh: As of `step`.
        """
        cdef Exchange exchange = self.among(members)
        self.enter(exchange)
        try:
            self.send_steps(exchange, action, fresh)
        finally:
            self.leave(exchange)

    cdef int send_steps(self, Exchange exchange, object action, dict fresh) except -1:
        cdef ferry_turn *turn
        cdef Agent agent
        cdef uint32_t i
        cdef list said
        if fresh:
            self.bind_again()
        for i in range(exchange.count):
            agent = self.agents[exchange.members[i]]
            if agent.needs_reset and (fresh is None or exchange.members[i] not in fresh):
                raise ResetNeeded(agent.reset_text())
            exchange.turns[i] = agent.turn()
        self.check_states(exchange, fresh)
        if self.has_values:
            exchange.outgoing = [{} for _ in range(exchange.count)]
        self.action.scatter(exchange, action)
        said = self.said(exchange) if self.has_values else None
        for i in range(exchange.count):
            agent = self.agents[exchange.members[i]]
            if fresh is not None and exchange.members[i] in fresh:
                self.send_reset(exchange.members[i], range(exchange.rows[i]), fresh[exchange.members[i]], None)
                continue
            turn = <ferry_turn *>exchange.turns[i]
            if said is not None:
                set_blob(&turn.blob, said[i])
            turn.kind = FERRY_STEP
            agent.send(FERRY_STEP)
        return 0

    cdef int bind_again(self) except -1:
        """Binds if the first channel's connection is another."""
        return self.bind() if (<Agent>self.agents[0]).form is not self.form else 0

    cdef list said(self, Exchange exchange):
        """The blobs of all actions, before the first is sent: what cannot travel has been seen by nobody then."""
        cdef Agent agent
        cdef uint32_t i
        cdef list said = []
        for i in range(exchange.count):
            agent = self.agents[exchange.members[i]]
            agent.extra.outgoing = exchange.outgoing[i]
            said.append(agent.values() if exchange.outgoing[i] else None)
        return said

    cdef int check_states(self, Exchange exchange, dict fresh) except -1:
        cdef uint32_t i
        cdef bint idle = False, ended = False
        for i in range(exchange.count):
            if fresh is not None and exchange.members[i] in fresh:
                continue
            idle = idle or memchr(exchange.states[i], IDLE, exchange.rows[i]) is not NULL
            ended = ended or (self.disabled and memchr(exchange.states[i], ENDED, exchange.rows[i]) is not NULL)
        if idle:
            raise ResetNeeded(
                f"the rows {self.rows_in(exchange, IDLE)} have no episode under way; reset them before the next step"
            )
        if ended:
            raise ResetNeeded(
                f"the episodes of the rows {self.rows_in(exchange, ENDED)} have ended, and autoreset is disabled; "
                'reset them with options={"reset_mask": mask} before the next step'
            )
        return 0

    cdef list rows_in(self, Exchange exchange, uint8_t state):
        """The numbers of the rows that are in a state."""
        cdef uint32_t i, row
        cdef list found = []
        for i in range(exchange.count):
            for row in range(exchange.rows[i]):
                if exchange.states[i][row] == state:
                    found.append(self.first[exchange.members[i]] + row)
        return found

    def send_resets(self, seeds, options, mask):
        """Sends a reset to the channels of which rows are to be reset.

        Args:
            seeds: [rows] of int or None.
            options: (format, bytes) or None.
            mask: [rows] of bool, or None for all.

        Returns:
            Numbers of the channels.
        """
        cdef uint32_t number, first, count
        cdef list chosen = []
        self.enter(self.among(None))
        try:
            self.bind_again()
            for number in range(self.count):
                self.drain(number)
            for number in range(self.count):
                first, count = self.first[number], self.whole.rows[number]
                rows = range(count) if mask is None else np.flatnonzero(mask[first:first + count])
                if len(rows):
                    chosen.append(number)
                    self.send_reset(number, rows, seeds[first:first + count], options)
        finally:
            self.leave(self.whole)
        return chosen

    cdef int drain(self, uint32_t number) except -1:
        """Takes an answer that is still owed, and forgets all but where it has left the rows."""
        cdef Agent agent = self.agents[number]
        if agent.owed:
            try:
                self.take(agent, self.whole, number)
            except (BackendError, InvalidAction):
                pass
        if not agent.has_reset:
            memset(self.whole.states[number], IDLE, self.whole.rows[number])
        return 0

    cdef int send_reset(self, uint32_t number, rows, list seeds, tuple options) except -1:
        cdef Agent agent = self.agents[number]
        cdef ferry_turn *turn = agent.turn()
        cdef cnp.ndarray numbers = np.asarray(rows, np.uint32)
        cdef uint32_t row
        turn.rows, turn.num_rows = <const uint32_t *>cnp.PyArray_DATA(numbers), <uint32_t>len(numbers)
        for row in rows:
            seed = seeds[row]
            turn.seed[row] = -1 if seed is None else seed
        set_blob(&turn.blob, options)
        turn.kind = FERRY_RESET
        agent.send(FERRY_RESET)
        return 0

    # ---- Waiting ----

    def wait(self, members, at_least, timeout):
        """Waits until so many of the channels have an answer or an error to tell.

        Args:
            members: Numbers of channels; None for all.
            at_least: How many of them.
            timeout: Seconds, None for ever.

        Returns:
            The numbers of those that have, perhaps fewer after the time.
        """
        cdef Exchange exchange = self.among(members)
        self.enter(exchange)
        try:
            self.wait_for(exchange, at_least, nanoseconds(timeout))
            return [exchange.members[i] for i in range(exchange.count) if self.ready[i]]
        finally:
            self.leave(exchange)

    cdef int wait_for(self, Exchange exchange, uint32_t at_least, int64_t timeout_ns) except -1:
        """Whether so many are ready; `ready` says which, by place in the exchange."""
        cdef uint32_t i
        cdef int rc = 0
        cdef int look
        cdef Agent agent
        for i in range(exchange.count):
            agent = self.agents[exchange.members[i]]
            if agent.handle is NULL:
                raise PeerGoneError(f"{agent.label} is not connected; reset() connects again")
            self.waiting[i] = agent.handle
        for look in range(looks_after(&self.hopeful, &self.hopeless)):
            rc = ferry_agent_wait_any(self.bell.handle, self.waiting, exchange.count, at_least, 0, self.ready)
            if rc != 0 or timeout_ns == 0:
                break
        self.hopeful = rc != 0
        if rc == 0 and timeout_ns != 0:
            rc = self.sleep(exchange, at_least, timeout_ns)
        if rc < 0:
            raise exception(rc, "")
        return rc

    cdef int sleep(self, Exchange exchange, uint32_t at_least, int64_t timeout_ns) except? -1000:
        cdef int rc = 0
        cdef int64_t slice_ns
        cdef int64_t deadline_ns = time.monotonic_ns() + timeout_ns if timeout_ns > 0 else 0
        cdef uint32_t i
        cdef Agent agent
        while rc == 0:
            slice_ns = SLICE_NS
            if timeout_ns > 0:
                slice_ns = min(SLICE_NS, deadline_ns - <int64_t>time.monotonic_ns())
                if slice_ns <= 0:
                    break
            with nogil:
                rc = ferry_agent_wait_any(
                    self.bell.handle, self.waiting, exchange.count, at_least, slice_ns, self.ready
                )
            if rc == 0:
                PyErr_CheckSignals()
            for i in range(exchange.count):
                agent = self.agents[exchange.members[i]]
                if agent.closed:
                    raise FerryError(f"{agent.label} was closed while it waited")
                if agent.lines:
                    agent.tell()
        return rc

    def receive(self, members=None, timeout=None, is_reset=False):
        """Waits for the answers of some channels, of all for None.

        Args:
            members: Numbers of channels, in the order of the rows.
            is_reset: Whether they follow `send_resets`.
            timeout: Seconds, None for the time that answers may take.

        Returns:
            (errors, result). Errors by number of the channel; if there are any, result is None. Else result is what
            `step` or `reset` of a VectorEnv returns.

        Raises:
            FerryTimeoutError: Not all have answered; the answers stay owed.
        """
        cdef Exchange exchange = self.among(members)
        cdef Agent agent
        if exchange.count == 0:
            raise FerryError("there is nothing to wait for; send actions first")
        agent = self.agents[exchange.members[0]]
        self.enter(exchange)
        try:
            return self.receive_from(exchange, agent.timeout_ns if timeout is None else nanoseconds(timeout), is_reset)
        finally:
            self.leave(exchange)

    cdef tuple receive_from(self, Exchange exchange, int64_t timeout_ns, bint is_reset=False):
        cdef Exchange seen
        cdef Agent agent
        cdef uint32_t i
        cdef dict errors = None
        if not self.wait_for(exchange, exchange.count, timeout_ns):
            self.tell_late(exchange)
        for i in range(exchange.count):
            agent = self.agents[exchange.members[i]]
            try:
                self.take(agent, exchange, i)
            except (FerryError, InvalidAction) as error:
                errors = errors or {}
                errors[exchange.members[i]] = error
        if errors is not None:
            return errors, None
        seen = self.seen(exchange) if is_reset else exchange
        try:
            return None, self.result(exchange, seen, is_reset, None)
        except BackendError as error:  # of an observation that cannot be read
            self.idle(seen, seen.culprit)
            return {seen.members[seen.culprit]: error}, None

    def owing(self):
        """The numbers of the channels that owe an answer."""
        return [i for i in range(self.count) if (<Agent>self.agents[i]).owed]

    def give_back(self, members, errors):
        """After `receive` with errors: makes the other channels' answers owed again, though they are here.

        Returns:
            The numbers of these channels.
        """
        cdef list others = [member for member in members if member not in errors]
        cdef uint32_t member
        cdef Agent agent
        for member in others:
            agent = self.agents[member]
            agent.owed, agent.arrived = self.last[member].kind, True
        return others

    def observe(self):
        """The observation of all rows, as they are."""
        return self.observation.gather(self.all_last())

    def result_of_resets(self, members):
        """What `receive` would give after `send_resets`, once more."""
        cdef Exchange exchange = self.among(members)
        cdef uint32_t i
        for i in range(exchange.count):
            exchange.turns[i] = self.last[exchange.members[i]]
        return self.result(exchange, self.seen(exchange), True, None)

    def result_despite(self, members, lost):
        """The result of a step, after `receive` has told of lost environments: their rows end truncated.

        Args:
            members: As of `receive`.
            lost: By number of the channel, the info of all its rows.
        """
        cdef Exchange exchange = self.among(members)
        cdef uint32_t i
        for i in range(exchange.count):
            if exchange.members[i] in lost:
                exchange.turns[i] = self.last_of(exchange.members[i])
                memset(exchange.states[i], ENDED, exchange.rows[i])
        return self.result(exchange, exchange, False, lost)

    cdef int tell_late(self, Exchange exchange) except -1:
        late = [exchange.members[i] for i in range(exchange.count) if not self.ready[i]]
        rest = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
        known = (<Agent>self.agents[late[0]]).known()
        raise FerryTimeoutError(
            f"{known}{rest}; wait again, or reset() starts afresh; a longer timeout, or "
            "FERRY_TIMEOUT=0 for a debugger, gives it more time"
        )

    cdef int take(self, Agent agent, Exchange exchange, uint32_t i) except -1:
        """Takes a member's answer, and keeps book of its rows."""
        cdef const ferry_turn *answer
        if not agent.owed:
            raise FerryError(f"{agent.label} owes no answer; there is nothing to wait for")
        self.told[exchange.members[i]] = None
        try:
            agent.receive()
            agent.owed, agent.arrived = 0, False
            answer = agent.answer
            if answer.status[0] != FERRY_ROW_OK:
                agent.refused(answer, answer.kind)
            if answer.blob.format != FERRY_NONE or answer.step_blob.format != FERRY_NONE:
                self.told[exchange.members[i]] = self.told_by(agent, answer, exchange.rows[i])
        except FerryTimeoutError:
            raise
        except FerryError:
            self.idle(exchange, i)
            raise
        exchange.turns[i] = self.last[exchange.members[i]] = answer
        if answer.kind == FERRY_RESET:
            agent.needs_reset, agent.has_reset = False, True
        self.keep_book(exchange, i)
        return 0

    cdef int idle(self, Exchange exchange, uint32_t i) except -1:
        """Whatever a member's rows were in, they must be reset."""
        (<Agent>self.agents[exchange.members[i]]).needs_reset = True
        memset(exchange.states[i], IDLE, exchange.rows[i])
        return 0

    cdef int keep_book(self, Exchange exchange, uint32_t i) except -1:
        """Notes in what the rows of an answer are now, and which values belong to it."""
        cdef const ferry_turn *answer = exchange.turns[i]
        cdef const uint8_t *ends = answer.terminated
        cdef const uint8_t *cuts = answer.truncated
        cdef uint8_t *states = exchange.states[i]
        cdef bint is_step = answer.kind == FERRY_STEP
        cdef uint32_t k, row, rows = exchange.rows[i]
        cdef Told told
        if answer.num_rows == rows:
            for row in range(rows):
                states[row] = is_step and (ends[row] | cuts[row]) != 0
        else:
            for k in range(answer.num_rows):
                row = answer.rows[k]
                states[row] = is_step and (ends[row] | cuts[row]) != 0
        if self.wants_incoming:
            told = self.told[exchange.members[i]]
            values = {} if told is None else {**told.step_values, **told.values}
            if answer.num_rows < exchange.rows[i]:
                values = {**self.kept[exchange.members[i]], **values}
            self.kept[exchange.members[i]] = values
        return 0

    cdef Told told_by(self, Agent agent, const ferry_turn *answer, uint32_t num_rows):
        """What the blobs of an answer hold."""
        cdef Told told = Told()
        told.infos, told.values = self.infos_of(agent, &answer.blob, num_rows)
        told.step_infos, told.step_values = self.infos_of(agent, &answer.step_blob, num_rows)
        return told

    # ---- Results ----

    cdef const ferry_turn *last_of(self, uint32_t number) noexcept:
        """A channel's last answer with an observation, NULL if there is none (any more)."""
        cdef Agent agent = self.agents[number]
        return self.last[number] if agent.has_reset and agent.handle is not NULL else NULL

    cdef Exchange all_last(self):
        """All rows, as they were seen last."""
        cdef uint32_t i
        for i in range(self.count):
            self.whole.turns[i] = self.last_of(i)
        return self.whole

    cdef Exchange seen(self, Exchange exchange):
        """The exchange whose observations a reset returns: of all rows, those that were not reset as they were."""
        cdef uint32_t i
        if exchange is self.whole:
            return exchange
        for i in range(exchange.count):
            exchange.at[i] = self.whole.at[exchange.members[i]]
        return self.all_last()

    cdef bint is_lost(self, Exchange exchange, uint32_t i, dict lost) except -1:
        return lost is not None and exchange.members[i] in lost

    cdef object result(self, Exchange exchange, Exchange seen, bint is_reset, dict lost):
        cdef object infos = self.infos(exchange, seen, is_reset, lost)
        if is_reset:
            return self.observation.gather(seen), infos
        reward, terminated, truncated = self.numbers(exchange, lost)
        return self.observation.gather(exchange), reward, terminated, truncated, infos

    cdef tuple numbers(self, Exchange exchange, dict lost):
        """(rewards, terminations, truncations) of an exchange's rows."""
        cdef object reward, terminated, truncated
        cdef double *to
        cdef cnp.npy_bool *ends
        cdef cnp.npy_bool *cuts
        cdef const ferry_turn *answer
        cdef uint32_t i, row
        if exchange.total == self.reward.shape[0]:
            reward, terminated, truncated = self.reward.blank(), self.terminated.blank(), self.truncated.blank()
        else:
            reward, terminated, truncated = (
                np.empty(exchange.total, np.float64), np.empty(exchange.total, bool), np.empty(exchange.total, bool)
            )
        to = <double *>cnp.PyArray_DATA(reward)
        ends = <cnp.npy_bool *>cnp.PyArray_DATA(terminated)
        cuts = <cnp.npy_bool *>cnp.PyArray_DATA(truncated)
        for i in range(exchange.count):
            answer = exchange.turns[i]
            if self.is_lost(exchange, i, lost):
                memset(to, 0, exchange.rows[i] * sizeof(double))
                memset(ends, 0, exchange.rows[i])
                memset(cuts, 1, exchange.rows[i])
            else:
                memcpy(to, answer.reward, exchange.rows[i] * sizeof(double))
                for row in range(exchange.rows[i]):
                    ends[row], cuts[row] = answer.terminated[row] != 0, answer.truncated[row] != 0
            to += exchange.rows[i]
            ends += exchange.rows[i]
            cuts += exchange.rows[i]
        return reward, terminated, truncated

    cdef object infos(self, Exchange exchange, Exchange seen, bint is_reset, dict lost):
        """The infos of all rows that are seen."""
        cdef const ferry_turn *answer
        cdef uint32_t i, row
        cdef bint more = False
        cdef dict infos = {}
        if lost is not None:
            return self.merge(exchange.total, self.entries(exchange, exchange, is_reset, lost), infos)
        for i in range(exchange.count):
            more = more or self.told[exchange.members[i]] is not None
        if self.same_step and not is_reset and not more:
            for i in range(exchange.count):
                answer = exchange.turns[i]
                for row in range(exchange.rows[i]):
                    if answer.terminated[row] or answer.truncated[row]:
                        more = True
        for key, index, column in self.columns:
            self.add_typed(infos, exchange, seen, key, index, column)
        if not more:
            return infos
        return self.merge(seen.total, self.entries(exchange, seen, is_reset, None), infos)

    cdef int add_typed(
        self, dict infos, Exchange exchange, Exchange seen, key, uint32_t index, Column column
    ) except -1:
        """Adds a typed info: an array, and a mask of the rows that have it."""
        cdef cnp.npy_bool *at
        cdef uint32_t i, row
        cdef bint any_present = False
        mask = np.zeros(seen.total, bool)
        for i in range(exchange.count):
            at = <cnp.npy_bool *>cnp.PyArray_DATA(mask) + exchange.at[i]
            for row in range(exchange.rows[i]):
                at[row] = exchange.turns[i].present[index][row] != 0
                any_present = any_present or at[row]
        if any_present:
            array = column.gather(seen)
            array[~mask] = 0
            infos[key], infos["_" + key] = array, mask
        return 0

    cdef list entries(self, Exchange exchange, Exchange seen, bint is_reset, dict lost):
        """What there is to tell of single rows, in ascending order."""
        cdef uint32_t i, row
        cdef list entries = []
        for i in range(exchange.count):
            seen.culprit = i  # nothing of a reset's is read here; of a step, what is seen is the exchange
            if self.is_lost(exchange, i, lost):
                info = lost[exchange.members[i]]
                for row in range(exchange.rows[i]):
                    entries.append((exchange.at[i] + row, info, *self.end_of_lost(exchange, i, row, info)))
            else:
                self.add_entries(entries, exchange, i, is_reset)
        return entries

    cdef tuple end_of_lost(self, Exchange exchange, uint32_t i, uint32_t row, dict info):
        """The last that is known of a row, where its end is to be told."""
        cdef uint32_t member = exchange.members[i]
        if not self.same_step or exchange.turns[i] is NULL:
            return ()
        return self.row_of(self.agents[member], exchange.turns[i], row, False, self.kept[member]), info

    cdef int add_entries(self, list entries, Exchange exchange, uint32_t i, bint is_reset) except -1:
        """Adds the entries of a member's rows."""
        cdef const ferry_turn *answer = exchange.turns[i]
        cdef Agent agent = self.agents[exchange.members[i]]
        cdef Told told = self.told[exchange.members[i]]
        cdef Py_ssize_t at = exchange.at[i]
        cdef bint with_finals = self.same_step and not is_reset
        cdef uint32_t row
        if told is None and not with_finals:
            return 0
        told = told or Told()
        for row in range(exchange.rows[i]):
            info, step_info = told.infos.get(row, {}), told.step_infos.get(row, {})
            if with_finals and (answer.terminated[row] or answer.truncated[row]):
                final_info = {**self.typed_finals(agent, answer, row), **step_info}
                entries.append((at + row, info, self.row_of(agent, answer, row, True, told.step_values), final_info))
            elif info or step_info:
                entries.append((at + row, info or step_info))
        return 0

    cdef object row_of(self, Agent agent, const ferry_turn *answer, uint32_t row, bint final, dict values):
        """A row's observation, or the one at the end of its episode."""
        cdef Extra extra = agent.extra
        extra.final, extra.row, extra.incoming = final, row, values
        try:
            return agent.single.read(answer)
        except BackendError as error:
            error.row = row
            raise
        finally:
            extra.final, extra.row, extra.incoming = False, 0, {}

    cdef dict typed_finals(self, Agent agent, const ferry_turn *answer, uint32_t row):
        cdef Extra extra = agent.extra
        cdef dict info = {}
        extra.final, extra.row = True, row
        try:
            for key, index, node in agent.infos:
                if answer.final_present[<uint32_t>index][row]:
                    info[key] = (<Node>node).read(answer)
        finally:
            extra.final, extra.row = False, 0
        return info

    cdef tuple infos_of(self, Agent agent, const ferry_blob *blob, uint32_t num_rows):
        """(infos by row, values of fields) of a blob."""
        cdef dict values = {}
        if blob.format == FERRY_NONE:
            return {}, values
        content = blob_of(blob)
        try:
            told = agent.decode(content[1], content[0])
            if content[0] == FERRY_VALUES:
                told, values = parts_of(told)
            if told is None:
                return {}, values
            if num_rows == 1:
                told = {0: told}
            told = {int(row): info for row, info in told.items()}
            if not all([isinstance(info, dict) for info in told.values()]):
                raise ValueError("it is not a map from rows to maps")
        except (ValueError, AttributeError, TypeError, OverflowError) as error:
            raise BackendError.of_report(agent.name, f"its info cannot be read: {error}") from None
        return told, values
