# The observer: snapshots of a channel that others use, as Python values.


cdef class Observer(Handle):
    """A look at a channel that others use.

    Args:
        address: Where an environment serves, or None for FERRY_ADDRESS.
        decode: As an agent's.
        max_bytes: More is not mapped; 0: the library's limit.
    """

    cdef ferry_observer *handle
    cdef const ferry_snapshot *shot
    cdef bytes address
    cdef object decode
    cdef bint attaching  # what look() does: get in, or wait for a message
    cdef bint seen  # a message came with the getting in, and has not been handed out
    cdef Node observation
    cdef Node action
    cdef list infos
    cdef Extra extra

    def __init__(self, address, *, decode, max_bytes=0):
        cdef ferry_observer_desc desc
        cdef ferry_why why
        self.label = label_of("the observer of", address)
        self.address = address_bytes(address)
        self.decode = decode
        memset(&desc, 0, sizeof(desc))
        desc.struct_size = sizeof(desc)
        if self.address is not None:
            desc.address = self.address
        desc.max_bytes = max_bytes
        desc.log, desc.log_user = log_line, <void *>self
        check(ferry_observer_open(&desc, &self.handle, &why), &why)

    def __dealloc__(self):
        ferry_observer_close(self.handle)

    cdef int look(self, int64_t timeout_ns) noexcept nogil:
        cdef int rc = ferry_observer_snapshot(self.handle, timeout_ns, &self.shot)
        if not self.attaching:
            return rc
        self.seen = rc > 0
        return 1 if rc == 0 and ferry_observer_env(self.handle) is not NULL else rc

    cdef void release(self) noexcept:
        ferry_observer_close(self.handle)
        self.handle = NULL

    cdef str known(self):
        cdef ferry_why why
        if self.handle is NULL:
            return f"{self.label} is closed"
        ferry_observer_why(self.handle, &why)
        return text_of(why.text)

    def attach(self, timeout):
        """Waits, seconds or None for ever, until an environment that an agent plays with shows itself.

        Returns:
            None if there was none in time; else (name, fields, blob or None, number of rows), as `Agent.describe`.
        """
        cdef const ferry_env_desc *desc
        self.enter()
        try:
            self.attaching = True
            try:
                if not self.wait(nanoseconds(timeout)):
                    return None
            finally:
                self.attaching = False
            desc = ferry_observer_env(self.handle)
            fields = tuple([read_field(&desc.fields[i]) for i in range(desc.num_fields)])
            return text_of(desc.name), fields, blob_of(&desc.about), desc.num_rows
        finally:
            self.leave()

    def bind(self, fields, observation, action, codecs):
        """Prepares for the environment that was met, as `Agent.bind`."""
        cdef Form form = Form(fields, codecs)
        self.extra = form.extra
        self.observation = grow(observation, form, "observation", "", ValueError, False, False)
        self.action = grow(action, form, "action", "", ValueError, False, False)
        self.infos = []
        for i, field in enumerate(form.fields):
            if field.role == FERRY_INFO:
                if field.shape or field.capacity:
                    node = leaf_of(i, field, "info", ValueError, False, False, None, form.extra)
                else:
                    node = Scalar("info", ValueError, i, field, False, form.extra)
                self.infos.append((field.path, i, node))

    def next(self, timeout):
        """Waits for a message that is newer than the last.

        Returns:
            None if there was none in time; else (kind, number, seconds on the monotonic clock, rows that the turn is
            about, episodes finished, sum of their returns, and for each row of the environment (observation, action,
            reward, terminated, truncated, info, episode, return so far)). What cannot be read is None.
        """
        cdef const ferry_snapshot *shot
        self.enter()
        try:
            if not self.seen and not self.wait(nanoseconds(timeout)):
                return None
            self.seen = False
            shot = self.shot
            rows = self.rows(shot)
            about = [shot.turn.rows[i] for i in range(shot.turn.num_rows)]
            return (
                shot.turn.kind, shot.turn.number, shot.time_ns * 1e-9, about, shot.finished, shot.finished_return, rows
            )
        finally:
            self.leave()

    cdef list rows(self, const ferry_snapshot *shot):
        cdef const ferry_turn *turn = shot.turn
        cdef const ferry_env_desc *desc = ferry_observer_env(self.handle)
        cdef uint32_t row
        cdef list found = []
        told, self.extra.incoming = self.told(turn)
        for row in range(desc.num_rows):
            self.extra.row = row
            info = told if desc.num_rows == 1 else told.get(row, told.get(str(row)))
            info = dict(info) if isinstance(info, dict) else {}
            for key, index, node in self.infos:
                if turn.present[<uint32_t>index][row]:
                    info[key] = read_or_none(<Node>node, turn)
            found.append((
                read_or_none(self.observation, turn),
                None if turn.kind == FERRY_RESET else read_or_none(self.action, turn),
                turn.reward[row], turn.terminated[row] != 0, turn.truncated[row] != 0, info,
                turn.episode[row], shot.returns[row],
            ))
        return found

    cdef tuple told(self, const ferry_turn *turn):
        """The info, and the values that do not lie in the slot, as far as they can be read."""
        content = blob_of(&turn.blob)
        if content is None:
            return {}, {}
        try:
            info, values = self.decode(content[1], content[0]), {}
            if content[0] == FERRY_VALUES:
                info, values = parts_of(info)
        except ValueError:
            return {}, {}
        return info if isinstance(info, dict) else {}, values


cdef object read_or_none(Node node, const ferry_turn *turn):
    """A value; None where part of it travelled by a way that observers do not see, or is not what it should be."""
    try:
        return node.read(turn)
    except ValueError:
        return None
